"""Utility of synthetic data and codes: classifiers trained on them and tested on real examples.

The classifiers are fixed, so that figures compare:
    linear   multinomial logistic regression, C = 0.1, at most 500 steps of L-BFGS, on examples minus the train mean
             over one root-mean-square deviation of all coordinates (single ones may be constant; codes, whose
             units differ, are divided by their own deviations first)
    network  one hidden layer of 64, Adam, learning rate 1e-3, batches of at most 200
Where few real examples are wanted, they are FEW_PER_CLASS a class, drawn DRAWS times by seed; the figure is the mean
over draws, and its interval covers both the draws and the test examples, but not another training of the generator.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.base import Batch
from .alignment import wilson_interval
from .base import MetricValue, UndefinedError
from .features import subset
from .means import crossed_interval, paired_ratio_interval

FEW_PER_CLASS = 10
DRAWS = 5
_INVERSE_PENALTY, _MOST_ITERATIONS = 0.1, 500
_HIDDEN, _PRETRAINING_EPOCHS, _FEW_EPOCHS = 64, 50, 100

_TRAINING = "real training"
_AT_A_TIME = 1_000  # test examples that are in memory

_Array = NDArray[np.float64]
_Labels = NDArray[np.int64]


class Labelled(Protocol):
    """Real examples with labels (n,), of which an index gives some: a batch, or what lies in a file."""

    @property
    def labels(self) -> Tensor | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor | slice, /) -> Batch: ...


def task_accuracy(synthetic: Labelled, real_test: Labelled) -> MetricValue:
    """Accuracy on real examples of the linear classifier trained on synthetic ones; higher is better.

    Classes that the synthetic examples lack are never predicted. The 95% interval is Wilson's.

    References: Ravuri and Vinyals, arXiv:1905.10887, section 3.
    """
    hits = _linear_hits(_examples(synthetic, "synthetic"), _test_examples(real_test))
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return MetricValue(float(hits.mean()), low, high)


def task_accuracy_ratio(synthetic: Labelled, real_train: Labelled, real_test: Labelled, seed: int) -> MetricValue:
    """`task_accuracy` over that of the same classifier trained on as many real examples; higher is better.

    The larger training set is subsampled by seed. The 95% interval covers the test examples.

    References: Ravuri and Vinyals, arXiv:1905.10887, section 3.
    """
    size = min(len(synthetic), len(real_train))
    synthetic, real_train = (
        batch if len(batch) == size else batch[subset(len(batch), size, seed)] for batch in (synthetic, real_train)
    )
    test = _test_examples(real_test)
    from_synthetic = _linear_hits(_examples(synthetic, "synthetic"), test)
    from_real = _linear_hits(_examples(real_train, _TRAINING), test)
    if not from_real.any():
        raise UndefinedError("the classifier trained on real examples is never right")
    return paired_ratio_interval(torch.from_numpy(from_synthetic > 0), torch.from_numpy(from_real > 0))


def augmentation_gain(synthetic: Labelled, real_train: Labelled, real_test: Labelled, seed: int) -> MetricValue:
    """Accuracy with few real and all synthetic examples minus that with the few real alone, in percentage points.

    The linear classifier; every example has the same weight. Higher is better, and it may be negative.

    References: Azizi et al., arXiv:2304.08466, section 4.
    """
    x, y = _examples(synthetic, "synthetic")
    test = _test_examples(real_test)

    def difference(few: tuple[_Array, _Labels], _: int) -> _Array:
        both = np.concatenate([few[0], x]), np.concatenate([few[1], y])
        return 100.0 * (_linear_hits(both, test) - _linear_hits(few, test))

    return crossed_interval(_over_draws(real_train, difference, seed), lowest=-100.0, highest=100.0)


def transfer_accuracy(synthetic: Labelled, real_train: Labelled, real_test: Labelled, seed: int) -> MetricValue:
    """Accuracy on real examples of the network trained on synthetic ones and then on few real ones.

    50 epochs, then 100; inputs are scaled by the synthetic examples' mean and deviation throughout. Higher is better.

    References: Besnier et al., arXiv:1911.02888, for training on generated and then on real examples.
    """
    from sklearn.neural_network import MLPClassifier

    x, y = _examples(synthetic, "synthetic")
    test = _test_examples(real_test)
    mean, scale = _location_and_scale(x)
    classes = np.unique(np.concatenate([y, _labels(real_train, _TRAINING), test.y]))

    def hits(few: tuple[_Array, _Labels], network_seed: int) -> _Array:
        network = MLPClassifier((_HIDDEN,), random_state=network_seed)
        for data, epochs in (((x, y), _PRETRAINING_EPOCHS), (few, _FEW_EPOCHS)):
            for _ in range(epochs):
                network.partial_fit((data[0] - mean) / scale, data[1], classes=classes)
        return test.hits(lambda part: network.predict((part - mean) / scale))

    return crossed_interval(_over_draws(real_train, hits, seed), lowest=0.0, highest=1.0)


def bayes_accuracy(class_log_likelihoods: Tensor, class_labels: Tensor) -> MetricValue:
    """Accuracy of argmax over y of log p(x|y), the Bayes classifier under a uniform prior; higher is better.

    A class may be impossible (-inf). Ties share the hit, so that a model that ignores the class scores 1/classes.
    The 95% interval is Wilson's.

    References: Ng and Jordan, NeurIPS 2001; Li et al., arXiv:2303.16203, for diffusion models.
    """
    scores = class_log_likelihoods.detach().to("cpu", torch.float64)  # (n, classes)
    labels = class_labels.detach().to("cpu", torch.int64)  # (n,)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"class log-likelihoods of shape {tuple(scores.shape)} and labels of shape {tuple(labels.shape)}; "
            "wanted (n, classes) and (n,)"
        )
    n, classes = scores.shape
    if classes < 2:
        raise UndefinedError("needs at least 2 classes")
    if n < 1:
        raise UndefinedError("needs at least 1 example, got 0")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(f"labels from {int(labels.min())} to {int(labels.max())}; wanted 0 to {classes - 1}")
    if scores.isnan().any() or scores.isposinf().any():
        raise UndefinedError("class log-likelihoods are not finite")
    best = scores == scores.max(dim=1, keepdim=True).values  # (n, classes)
    share = best.double() / best.sum(dim=1, keepdim=True)
    hits = float(share.gather(1, labels[:, None]).sum())
    low, high = wilson_interval(hits, n)
    return MetricValue(hits / n, low, high)


def linear_probe(
    train_codes: Tensor, train_labels: Tensor, test_codes: Tensor, test_labels: Tensor, seed: int
) -> MetricValue:
    """Accuracy on test codes of the linear classifier trained on few labelled codes of each class.

    Codes (n, c), (m, c), both real examples' codes; labels (n,), (m,). Higher is better.

    References: Alain and Bengio, arXiv:1610.01644.
    """
    x, _ = _examples(Batch(train_codes, train_labels), "train codes")
    if train_codes.shape[1] != test_codes.shape[1]:
        raise ValueError(f"train codes of {train_codes.shape[1]} coordinates, test codes of {test_codes.shape[1]}")
    deviation = x.std(axis=0)
    if not (deviation > 0.0).any():
        raise UndefinedError("all train codes are equal")
    deviation[deviation == 0.0] = 1.0
    train, test = (
        Batch(codes.detach().to("cpu", torch.float64) / torch.from_numpy(deviation), labels)
        for codes, labels in ((train_codes, train_labels), (test_codes, test_labels))
    )
    examples = _test_examples(test, "test codes")
    return crossed_interval(
        _over_draws(train, lambda few, _: _linear_hits(few, examples), seed), lowest=0.0, highest=1.0
    )


def _over_draws(real: Labelled, figure: Callable[[tuple[_Array, _Labels], int], _Array], seed: int) -> Tensor:
    """`figure` of the test examples for every draw of few real examples, (draws, examples)."""
    return torch.from_numpy(np.stack([figure(few, number) for few, number in _draws(real, seed)]))


def _draws(real: Labelled, seed: int) -> Iterator[tuple[tuple[_Array, _Labels], int]]:
    """DRAWS times FEW_PER_CLASS examples a class, and a seed of its own for what is trained on them."""
    y = _labels(real, _TRAINING)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise UndefinedError("needs real training examples of at least 2 classes")
    if counts.min() < FEW_PER_CLASS:
        raise UndefinedError(
            f"needs at least {FEW_PER_CLASS} real training examples a class, got {counts.min()} of class "
            f"{classes[counts.argmin()]}"
        )
    for sequence in np.random.SeedSequence(seed).spawn(DRAWS):
        generator = np.random.default_rng(sequence)
        rows = [generator.choice(np.flatnonzero(y == c), FEW_PER_CLASS, replace=False) for c in classes]
        index = np.concatenate(rows)
        yield _examples(real[torch.from_numpy(index)], _TRAINING), int(generator.integers(2**31))


def _linear_hits(train: tuple[_Array, _Labels], test: _Test) -> _Array:
    """1 where the linear classifier is right and 0 where not, of the test examples (n,)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    x, y = train
    if x.shape[1] != test.values:
        raise ValueError(f"training examples of {x.shape[1]} values, test examples of {test.values}")
    if (y == y[0]).all():  # nothing to learn but the one answer
        return np.asarray(test.y == y[0], dtype=np.float64)
    mean, scale = _location_and_scale(x)
    classifier = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of steps is part of the definition
        classifier.fit((x - mean) / scale, y)
    return test.hits(lambda part: classifier.predict((part - mean) / scale))


def _location_and_scale(x: _Array) -> tuple[_Array, float]:
    scale = float(np.sqrt(x.var(axis=0).mean()))
    return x.mean(axis=0), scale if scale > 0.0 else 1.0


@dataclass(frozen=True)
class _Test:
    """Examples of at least two classes y (n,) on which classifiers are tested, some at a time."""

    rows: Labelled
    y: _Labels
    what: str

    @property
    def values(self) -> int:
        """Of each example."""
        return self.rows[:1].x.flatten(1).shape[1]

    def hits(self, predict: Callable[[_Array], _Labels]) -> _Array:
        """1 where the prediction for examples (m, D) is right and 0 where not, (n,)."""
        parts = (self.rows[start : start + _AT_A_TIME] for start in range(0, len(self.rows), _AT_A_TIME))
        predicted = np.concatenate([predict(_examples(part, self.what)[0]) for part in parts])
        return np.asarray(predicted == self.y, dtype=np.float64)


def _test_examples(rows: Labelled, what: str = "real test examples") -> _Test:
    y = _labels(rows, what)
    if (y == y[0]).all():
        raise UndefinedError(f"needs {what} of at least 2 classes")
    return _Test(rows, y, what)


def _labels(rows: Labelled, what: str) -> _Labels:
    if rows.labels is None:
        raise UndefinedError(f"the {what} have no class labels")
    if len(rows.labels) != len(rows):
        raise ValueError(f"{len(rows)} {what} and {len(rows.labels)} labels")
    if not len(rows):
        raise UndefinedError(f"there are no {what}")
    return rows.labels.detach().to("cpu", torch.int64).numpy()


def _examples(rows: Labelled, what: str) -> tuple[_Array, _Labels]:
    """Examples (n, D) and labels (n,), all in memory."""
    y = _labels(rows, what)
    x = rows[:].x.detach().to("cpu", torch.float64).flatten(1)
    if not x.isfinite().all():
        raise UndefinedError(f"the {what} are not finite")
    return x.numpy(), y
