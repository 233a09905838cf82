"""The classifier two-sample test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .alignment import wilson_interval
from .base import MetricValue, UndefinedError
from .features import checked_pair, equal_counts

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_FOLDS = 5
_LANDMARKS = 100  # of each scale
_SCALES = (1.0, 8.0)  # kernels exp(-c |x - y|² / 2d): the whole cloud, and detail within it
_LEAST = 20
_NARROW = 500  # columns up to which Newton's steps, of columns² · rows each, are the cheaper way


def c2st(generated_features: Tensor, real_features: Tensor, seed: int) -> MetricValue:
    """Share of examples that a classifier, trained on others, puts on the right side; lower is better.

    0.5: not to be told apart; 1: always. Logistic regression on the standardised features and on Gaussian kernels
    to 100 training examples at each of two scales (Nyström), which sees means, spreads, dependence and dropped modes;
    five stratified folds, by seed. Columns that are constant over both sides are dropped before standardising. Of
    unequal counts the larger side is subsampled, so that guessing scores 0.5. The interval is Wilson's at 1/2.25 of the
    2n answers: folds share most of their training examples, so that the answers' mean varies more than independent
    ones would; 1/k + 1/(k - 1) takes the place of 1/k for k folds.

    References: Lopez-Paz & Oquab, arXiv:1610.06545, section 3; Williams & Seeger, NeurIPS 13 (2000), 682-688;
        Nadeau & Bengio, doi:10.1023/A:1024068626366, section 3 (the folds' dependence).
    """
    from sklearn.model_selection import StratifiedKFold

    x, y = checked_pair(generated_features, real_features, at_least=_LEAST)
    x, y = equal_counts(x, y, seed)
    both = torch.cat([x, y])  # (2n, d)
    both = both[:, (both != both[0]).any(0)]
    if not both.shape[1]:
        raise UndefinedError("all features are constant")
    values = ((both - both.mean(0)) / both.std(0)).numpy()
    is_real = torch.arange(len(both)).ge(len(x)).numpy()
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed % 2**32)
    right = sum(
        _right(values[train], is_real[train], values[test], is_real[test], seed % 2**32)
        for train, test in folds.split(values, is_real)
    )
    share = right / len(both)
    worth = len(both) / (1 + _FOLDS / (_FOLDS - 1))
    low, high = wilson_interval(share * worth, worth)
    return MetricValue(share, low, high)


def _right(train: Array, train_labels: Array, test: Array, test_labels: Array, seed: int) -> int:
    import numpy as np
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression

    kernels = [
        Nystroem(gamma=c / (2 * train.shape[1]), n_components=min(_LANDMARKS, len(train)), random_state=seed).fit(train)
        for c in _SCALES
    ]
    inputs = [np.hstack([part, *(kernel.transform(part) for kernel in kernels)]) for part in (train, test)]
    # Kernels are alike, which takes L-BFGS hundreds of steps, Newton's method five. Wide features are soon separated.
    solver = "newton-cholesky" if inputs[0].shape[1] <= _NARROW else "lbfgs"
    classifier = LogisticRegression(C=10.0, solver=solver, max_iter=2_000).fit(inputs[0], train_labels)
    return int((classifier.predict(inputs[1]) == test_labels).sum())
