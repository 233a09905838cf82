"""Naive Bayes: scikit-learn's classifiers, sums to one, classes as Bayes' rule has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.neighbors import KernelDensity as Kernels

from gentune.bench.data import load
from gentune.models import Batch, ConditionSpec, DataSpec
from gentune.models.classical.naive_bayes import CONDITIONALS, NaiveBayes

PAIR = DataSpec("pair", "image", (1, 1, 2), levels=4, condition=ConditionSpec("label", classes=3))
SPACE = DataSpec("space", "vector", (3,), condition=ConditionSpec("label", classes=3))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _every_pair() -> torch.Tensor:
    levels = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    return PAIR.from_levels(levels).view(16, 1, 1, 2)


def _points(n: int = 150) -> Batch:
    """Three unequal classes with deviations of their own."""
    y = torch.arange(n) % 6 // 2 * (torch.arange(n) % 5 > 0)
    x = torch.randn(n, 3, generator=_generator(1)) * (0.5 + 0.3 * y[:, None]) + y[:, None]
    return Batch(x, y)


def _fitted(spec: DataSpec, data: Batch, **settings: Any) -> NaiveBayes:
    model = NaiveBayes(spec, **settings)
    model.fit(data, _generator())
    return model


def test_gaussian_is_scikit_learns() -> None:
    data = _points()
    x, y = data.x.double().numpy(), data.condition.numpy()  # type: ignore[union-attr]
    reference = GaussianNB(var_smoothing=1e-3).fit(x, y)
    model = _fitted(SPACE, data, conditionals="gaussian", regularisation=reference.epsilon_)
    points = torch.randn(40, 3, generator=_generator(2)) * 2
    expected = reference.predict_joint_log_proba(points.double().numpy())
    assert model.log_likelihood(Batch(points)).log_prob.numpy() == pytest.approx(np.logaddexp.reduce(expected, axis=1))
    assert model.classify(points).numpy() == pytest.approx(reference.predict_log_proba(points.double().numpy()))


@pytest.mark.parametrize("pseudocount", [0.1, 1.0])
def test_histogram_is_scikit_learns_on_digits(pseudocount: float) -> None:
    data = load("digits")
    train, test = data.splits["train"].all(), data.splits["test"].all()
    reference = CategoricalNB(alpha=pseudocount, min_categories=17)
    levels = {name: data.spec.to_levels(examples.x[:]).flatten(1).numpy() for name, examples in data.splits.items()}
    reference.fit(levels["train"], train.condition.numpy())  # type: ignore[union-attr]
    model = _fitted(data.spec, train, pseudocount=pseudocount)
    joint = reference.predict_joint_log_proba(levels["test"])
    assert model.log_likelihood(Batch(test.x)).log_prob.numpy() == pytest.approx(np.logaddexp.reduce(joint, axis=1))
    assert model.classify(test.x).numpy() == pytest.approx(reference.predict_log_proba(levels["test"]), abs=1e-6)
    assert test.condition is not None
    accuracy = float((model.classify(test.x).argmax(1) == test.condition).double().mean())
    assert accuracy == reference.score(levels["test"], test.condition.numpy())


def test_kernels_are_products_of_scikit_learns() -> None:
    data = _points()
    assert data.condition is not None
    model = _fitted(SPACE, data, conditionals="kernel_density", bandwidth=0.4)
    points = torch.randn(20, 3, generator=_generator(2)) * 2
    for c in range(3):
        mine = data.x[data.condition == c].double().numpy()
        expected = sum(
            Kernels(bandwidth=0.4).fit(mine[:, [d]]).score_samples(points[:, [d]].double().numpy()) for d in range(3)
        )
        given = model.log_likelihood(Batch(points, torch.full((20,), c))).log_prob
        assert given.numpy() == pytest.approx(np.asarray(expected), abs=1e-6)


@pytest.mark.parametrize("conditionals", CONDITIONALS)
def test_probabilities_of_all_images_sum_to_one(conditionals: str) -> None:
    rows = torch.tensor([0, 0, 3, 5, 6, 10, 15, 15])
    data = Batch(_every_pair()[rows], torch.tensor([0, 1, 2, 0, 0, 1, 2, 2]))
    model = _fitted(PAIR, data, conditionals=conditionals, regularisation=1e-6)
    assert float(model.log_likelihood(Batch(_every_pair())).log_prob.exp().sum()) == pytest.approx(1.0)
    for c in range(3):
        given = model.log_likelihood(Batch(_every_pair(), torch.full((16,), c))).log_prob
        assert float(given.exp().sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("conditionals", CONDITIONALS)
@pytest.mark.parametrize("spec", [PAIR, SPACE], ids=lambda s: s.name)
def test_joint_law_and_classifier_are_one(conditionals: str, spec: DataSpec) -> None:
    data = _points()
    if spec is PAIR:
        data = Batch(PAIR.to_lattice(data.x[:, :2] / 3).view(-1, 1, 1, 2), data.condition)
    assert data.condition is not None
    model = _fitted(spec, data, conditionals=conditionals)
    x = data.x[:30]
    prior = torch.bincount(data.condition).double().log() - np.log(len(data))
    given = torch.stack([model.log_likelihood(Batch(x, torch.full((30,), c))).log_prob for c in range(3)], dim=1)
    joint = prior + given
    assert model.log_likelihood(Batch(x)).log_prob.numpy() == pytest.approx(joint.logsumexp(1).numpy())
    assert model.classify(x).numpy() == pytest.approx(joint.log_softmax(1).numpy(), abs=1e-9)


@pytest.mark.parametrize("conditionals", CONDITIONALS)
def test_images_of_a_class_are_drawn_by_its_law(conditionals: str) -> None:
    x = _every_pair()[torch.tensor([0, 3, 5, 5, 10, 15])]
    model = _fitted(PAIR, Batch(x, torch.tensor([0, 0, 1, 1, 2, 2])), conditionals=conditionals)
    drawn = model.sample(20_000, condition=torch.zeros(20_000, dtype=torch.int64), generator=_generator(1))
    levels = PAIR.to_levels(drawn).flatten(1)
    shares = torch.bincount(levels[:, 0] * 4 + levels[:, 1], minlength=16).double() / 20_000
    expected = model.log_likelihood(Batch(_every_pair(), torch.zeros(16, dtype=torch.int64))).log_prob.exp()
    assert shares.numpy() == pytest.approx(expected.numpy(), abs=0.015)


@pytest.mark.parametrize("conditionals", CONDITIONALS)
def test_vectors_of_a_class_are_drawn_by_its_law(conditionals: str) -> None:
    data = _points()
    assert data.condition is not None
    model = _fitted(SPACE, data, conditionals=conditionals, pseudocount=1e-3)
    drawn = model.sample(20_000, condition=torch.full((20_000,), 2), generator=_generator(1))
    mine = data.x[data.condition == 2]
    assert drawn.mean(0).numpy() == pytest.approx(mine.mean(0).numpy(), abs=0.05)
    assert drawn.std(0).numpy() == pytest.approx(mine.std(0).numpy(), rel=0.1)
    correlations = torch.corrcoef(drawn.T) - torch.eye(3)
    assert float(correlations.abs().max()) < 0.03  # coordinates are independent given the class


def test_classes_are_drawn_by_their_frequency() -> None:
    data = Batch(torch.tensor([[-9.0] * 3, [0.0] * 3, [0.0] * 3, [9.0] * 3]), torch.tensor([0, 1, 1, 2]))
    drawn = _fitted(SPACE, data, conditionals="gaussian").sample(20_000, generator=_generator())
    assert float((drawn[:, 0].abs() < 4).double().mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("conditionals", CONDITIONALS)
@pytest.mark.parametrize("spec", [PAIR, SPACE], ids=lambda s: s.name)
def test_a_class_without_examples_is_never_drawn_and_spoils_nothing(conditionals: str, spec: DataSpec) -> None:
    x = _every_pair()[::2] if spec is PAIR else _points().x[:8]
    model = _fitted(spec, Batch(x, torch.tensor([0, 2] * 4)), conditionals=conditionals)
    assert torch.isfinite(model.log_likelihood(Batch(x)).log_prob).all()
    assert torch.isfinite(model.log_likelihood(Batch(x, torch.ones(8, dtype=torch.int64))).log_prob).all()
    assert float(model.classify(x)[:, 1].exp().max()) == 0.0
    assert all(t.isfinite().all() for t in model.state_dict().values())


def test_without_labels_there_is_one_class() -> None:
    spec = DataSpec("space", "vector", (3,))
    model = _fitted(spec, Batch(_points().x))
    assert model.classify(torch.zeros(4, 3)).numpy() == pytest.approx(0.0)
    assert model.sample(5, generator=_generator()).shape == (5, 3)


def test_labels_that_are_not_there_are_missed() -> None:
    with pytest.raises(ValueError, match="data 'space' has 3 classes; naive_bayes was given no labels"):
        _fitted(SPACE, Batch(_points().x))


def test_unknown_conditionals_are_refused() -> None:
    with pytest.raises(ValueError, match="'bernoulli'; wanted one of gaussian, histogram, kernel_density"):
        NaiveBayes(SPACE, conditionals="bernoulli")
