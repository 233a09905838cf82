"""What the densities share: completion of missing entries against numerical integration, and the moments of a fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gentune.bench.data import load
from gentune.models import Batch, ConditionSpec, DataSpec, GenerativeModel
from gentune.models.classical.densities import condition_gaussian, from_values, moments, to_values
from gentune.models.classical.gaussian import Gaussian
from gentune.models.classical.gaussian_mixture import GaussianMixture
from gentune.models.classical.histogram import Histogram
from gentune.models.classical.kernel_density import KernelDensity
from gentune.models.classical.naive_bayes import NaiveBayes
from gentune.models.classical.pca import ProbabilisticPCA
from gentune.models.likelihoods import dequantise

PLANE = DataSpec("plane", "vector", (2,))
LABELLED_PLANE = DataSpec("plane", "vector", (2,), condition=ConditionSpec("label", classes=2))
DIGITS = load("digits").spec

MAKERS: dict[str, Callable[[], GenerativeModel]] = {
    "gaussian-full": lambda: Gaussian(PLANE),
    "gaussian-diag": lambda: Gaussian(PLANE, covariance="diag"),
    "mixture-full": lambda: GaussianMixture(PLANE, components=3),
    "mixture-diag": lambda: GaussianMixture(PLANE, components=3, covariance="diag"),
    "mixture-tied": lambda: GaussianMixture(PLANE, components=3, covariance="tied"),
    "pca": lambda: ProbabilisticPCA(PLANE, latent_dim=1),
    "kernels": lambda: KernelDensity(PLANE, bandwidth=0.3),
    "joint-histogram": lambda: Histogram(PLANE, bins=12, pseudocount=0.5),
    "bayes-gaussian": lambda: NaiveBayes(LABELLED_PLANE, conditionals="gaussian"),
    "bayes-histogram": lambda: NaiveBayes(LABELLED_PLANE, conditionals="histogram", bins=8),
    "bayes-kernels": lambda: NaiveBayes(LABELLED_PLANE, conditionals="kernel_density", bandwidth=0.3),
}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _moons(n: int = 120) -> Batch:
    """Two bent, unequal groups, so that the conditional expectation is no straight line."""
    t = 3.0 * torch.rand(n, generator=_generator(1))
    y = (torch.arange(n) % 3 == 0).long()
    x = torch.stack([t.cos() + y, t.sin() * (1 - 2 * y) + 0.5 * y], dim=1)
    return Batch(x + 0.2 * torch.randn(n, 2, generator=_generator(2)), y)


@pytest.mark.parametrize("name", MAKERS)
def test_completion_is_the_conditional_expectation(name: str) -> None:
    model = MAKERS[name]()
    model.stages()[0].fit(_moons(), _generator())  # type: ignore[misc]
    x = _moons().x[:6]
    for column in (0, 1):
        missing = torch.zeros_like(x, dtype=torch.bool)
        missing[:, column] = True
        completed = model.impute(Batch(x), missing, _generator())  # type: ignore[operator]
        assert torch.equal(completed[~missing], x[~missing])
        grid = torch.linspace(-12.0, 12.0, 24_001)
        for row, filled in zip(x, completed, strict=True):
            points = row.repeat(len(grid), 1)
            points[:, column] = grid
            density = model.log_likelihood(Batch(points)).log_prob.double().exp()  # type: ignore[operator]
            expected = float((density * grid.double()).sum() / density.sum())
            assert float(filled[column]) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_with_everything_missing_completion_is_the_mean(name: str) -> None:
    model = MAKERS[name]()
    model.stages()[0].fit(_moons(), _generator())  # type: ignore[misc]
    x = torch.zeros(3, 2)
    completed = model.impute(Batch(x), torch.ones_like(x, dtype=torch.bool), _generator())  # type: ignore[operator]
    mean = model.sample(40_000, generator=_generator(3)).mean(0)
    assert completed[0].numpy() == pytest.approx(mean.numpy(), abs=0.04)
    assert torch.equal(completed[0], completed[1])


def test_conditioning_has_the_observed_entries_density() -> None:
    torch.manual_seed(0)
    A = torch.randn(4, 4, dtype=torch.float64)
    mean, covariance = torch.randn(4, dtype=torch.float64), A @ A.T + torch.eye(4)
    v = torch.randn(8, 4, dtype=torch.float64)
    missing = torch.tensor([[False, True, False, True]]).repeat(8, 1)
    _, log_density = condition_gaussian(v, missing, mean, covariance)
    marginal = torch.distributions.MultivariateNormal(mean[[0, 2]], covariance[[0, 2]][:, [0, 2]])
    assert log_density.numpy() == pytest.approx(marginal.log_prob(v[:, [0, 2]]).numpy())


def test_many_rows_are_conditioned_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    v = torch.randn(50, 3, dtype=torch.float64, generator=_generator())
    missing = torch.rand(50, 3, generator=_generator()) < 0.5
    mean, covariance = torch.ones(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64) + 0.5
    whole = condition_gaussian(v, missing, mean, covariance)
    monkeypatch.setattr("gentune.models.classical.densities._CELLS", 70)
    for a, b in zip(whole, condition_gaussian(v, missing, mean, covariance), strict=True):
        assert torch.allclose(a, b)


def test_moments_of_images_are_those_of_dequantised_values() -> None:
    x = load("digits").splits["train"].x[:200]
    mean, covariance = moments(x, DIGITS)
    drawn = torch.cat([dequantise(x, DIGITS, _generator(seed)).flatten(1).double() for seed in range(200)])
    assert mean.numpy() == pytest.approx(drawn.mean(0).numpy(), abs=2e-3)
    assert covariance.numpy() == pytest.approx(torch.cov(drawn.T, correction=0).numpy(), abs=1e-3)
    assert float(covariance.diagonal().min()) >= 1 / (12 * 17**2)  # a pixel that is always white still has the noise's


def test_values_and_examples_map_into_one_another() -> None:
    x = load("digits").splits["train"].x[:10]
    v = to_values(x, DIGITS)
    assert float(v.min()) == pytest.approx(0.5 / 17)
    assert float(v.max()) == pytest.approx(16.5 / 17)
    assert torch.allclose(from_values(v, DIGITS), x, atol=1e-6)


@pytest.mark.parametrize("make", [Gaussian, ProbabilisticPCA, KernelDensity, Histogram, NaiveBayes])
def test_half_of_an_image_is_completed_better_than_by_the_mean(make: type[GenerativeModel]) -> None:
    data = load("digits")
    model, train, x = make(data.spec), data.splits["train"].all(), data.splits["test"].x[:60]
    model.stages()[0].fit(train, _generator())  # type: ignore[misc]
    missing = torch.zeros_like(x, dtype=torch.bool)
    missing[..., 4:] = True
    completed = model.impute(Batch(x), missing, _generator())  # type: ignore[operator]
    assert torch.equal(completed[~missing], x[~missing])
    assert completed.dtype == torch.float32
    assert float(completed.abs().max()) <= 1.0
    error, baseline = (
        float((guess - x)[missing].square().mean()) for guess in (completed, train.x.mean(0).expand_as(x))
    )
    if make is Histogram:  # coordinates are independent: the mean is all that it knows
        assert error == pytest.approx(baseline, rel=0.01)
    else:
        assert error < 0.85 * baseline
