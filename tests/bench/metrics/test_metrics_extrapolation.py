"""FID's bias and its extrapolation, the sliced Wasserstein distance, the classifier two-sample test."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from gentune.bench.metrics import MetricValue, UndefinedError
from gentune.bench.metrics.extrapolation import fd_infinity
from gentune.bench.metrics.fidelity import fid
from gentune.bench.metrics.frechet import frechet
from gentune.bench.metrics.sliced import sliced_wasserstein
from gentune.bench.metrics.two_sample import c2st

SEEDED: list[Callable[[Tensor, Tensor, int], MetricValue]] = [fd_infinity, sliced_wasserstein, c2st]


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# FID's bias


@pytest.mark.parametrize("n", [250, 500, 1_000])
def test_the_bias_of_fid_at_three_sizes(n: int) -> None:
    """(d² + d)/2n from the covariances and 2d/n from the means, within the sampling error of 100 repetitions."""
    d = 16
    scores = [fid(normal(n, d, 2 * i), normal(n, d, 2 * i + 1)).value for i in range(100)]
    expected = (d**2 + d) / (2 * n) + 2 * d / n
    assert abs(np.mean(scores) - expected) < 3 * np.std(scores) / math.sqrt(100)


def test_the_fast_distance_is_fid() -> None:
    x, y = normal(200, 7, 1) @ normal(7, 7, 2), normal(150, 7, 3) @ normal(7, 7, 4) + 1
    assert frechet(x, y).value == pytest.approx(fid(x, y).value, rel=1e-9)


def test_the_influence_of_an_example_is_what_its_weight_does() -> None:
    """Against the distance computed without each example."""
    x, y = 1.3 * normal(300, 4, 5) + 0.3, normal(250, 4, 6)
    found = frechet(x, y)
    without = torch.tensor([frechet(torch.cat([x[:i], x[i + 1 :]]), y).value for i in range(300)], dtype=torch.float64)
    estimate = -299 * (without - without.mean())  # pseudo-values
    assert torch.corrcoef(torch.stack([estimate, found.of_generated]))[0, 1] > 0.999
    assert float(found.of_generated.var()) == pytest.approx(float(estimate.var()), rel=0.05)
    without = torch.tensor([frechet(x, torch.cat([y[:i], y[i + 1 :]])).value for i in range(250)], dtype=torch.float64)
    estimate = -249 * (without - without.mean())
    assert torch.corrcoef(torch.stack([estimate, found.of_real]))[0, 1] > 0.999


def test_influence_where_one_side_has_collapsed() -> None:
    """One sample repeated has no covariance to invert; a line of samples has a singular one."""
    y = normal(100, 3, 7)
    for x in (torch.zeros(100, 3, dtype=torch.float64), normal(100, 1, 8) @ normal(1, 3, 9)):
        found = frechet(x, y)
        assert found.value == pytest.approx(fid(x, y).value, rel=1e-6)
        assert found.of_generated.isfinite().all() and found.of_real.isfinite().all()


# FD∞


def test_fd_infinity_takes_the_bias_off() -> None:
    """Two equal normal laws: FID scores .32 on average, and FD∞ none but for its own error."""
    d, n = 16, 600
    pairs = [(normal(n, d, 2 * i), normal(n, d, 2 * i + 1)) for i in range(40)]
    scores = [fd_infinity(x, y, 0).value for x, y in pairs]
    bias = np.mean([fid(x, y).value for x, y in pairs])
    assert abs(np.mean(scores)) < 3 * np.std(scores) / math.sqrt(40) < 0.1 * bias
    assert min(scores) < 0 < max(scores)


def test_fd_infinity_takes_the_bias_of_unequal_counts_off() -> None:
    d = 8
    pairs = [(normal(1_200, d, 2 * i), normal(300, d, 2 * i + 1)) for i in range(40)]
    scores = [fd_infinity(x, y, 0).value for x, y in pairs]
    bias = np.mean([fid(x, y).value for x, y in pairs])
    assert abs(np.mean(scores)) < 3 * np.std(scores) / math.sqrt(40) < 0.25 * bias


def test_fd_infinity_of_known_laws() -> None:
    """N(0, I) against N(m, s² I): |m|² + d (s - 1)²."""
    d, n = 4, 1_000
    expected = d * 0.3**2 + d * 0.5**2
    scores = [fd_infinity(1.5 * normal(n, d, 2 * i) + 0.3, normal(n, d, 2 * i + 1), 0).value for i in range(40)]
    assert abs(np.mean(scores) - expected) < 3 * np.std(scores) / math.sqrt(40)


def test_fd_infinity_by_its_definition() -> None:
    """The intercept of a plain regression of the mean FID of disjoint parts on 1/size."""
    x, y = normal(240, 3, 1) + 0.5, normal(240, 3, 2)
    generator = torch.Generator().manual_seed(5)
    order_x, order_y = torch.randperm(240, generator=generator), torch.randperm(240, generator=generator)
    sizes = [240 // k for k in range(1, 6)]
    means = [
        np.mean([fid(x[i], y[j]).value for i, j in zip(order_x.split(s), order_y.split(s), strict=True)]) for s in sizes
    ]
    slope_and_intercept = np.polyfit(1 / np.array(sizes), means, 1)
    assert fd_infinity(x, y, 5).value == pytest.approx(slope_and_intercept[1], rel=1e-6)


def test_fd_infinity_needs_samples_for_its_dimensions() -> None:
    with pytest.raises(UndefinedError, match="at least 128 samples of either side in 32 dimensions, got 127"):
        fd_infinity(normal(127, 32, 1), normal(127, 32, 2), 0)
    assert math.isfinite(fd_infinity(normal(128, 32, 1), normal(128, 32, 2), 0).value)


# Sliced Wasserstein


@pytest.mark.parametrize("n", [80, 210, 7])
def test_sliced_wasserstein_in_one_dimension_agrees_with_scipy(n: int) -> None:
    x, y = normal(n, 1, 1), 2 * normal(80, 1, 2) + 1
    expected = wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert sliced_wasserstein(x, y, 0).value == pytest.approx(expected, rel=1e-12)


def test_sliced_wasserstein_of_a_shift() -> None:
    """|δ| E|cos| over directions: |δ| Γ(d/2) / (√π Γ((d+1)/2)); 500 directions give it to 3%."""
    y = normal(100, 5, 1)
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0, 0.0], dtype=torch.float64)
    expected = 5 * math.gamma(2.5) / (math.sqrt(math.pi) * math.gamma(3))
    spread = math.sqrt(25 / 5 - expected**2)  # over directions, E cos² = 1/d
    assert abs(sliced_wasserstein(y + shift, y, 0).value - expected) < 3 * spread / math.sqrt(500)
    assert sliced_wasserstein(y[torch.randperm(100)], y, 0).value == pytest.approx(0.0, abs=1e-12)


def test_sliced_wasserstein_is_the_mean_over_directions() -> None:
    x, y = normal(50, 3, 3), normal(50, 3, 4) + 0.5
    generator = torch.Generator().manual_seed(2)
    directions = torch.randn(3, 500, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=0)
    expected = np.mean([wasserstein_distance((x @ v).numpy(), (y @ v).numpy()) for v in directions.T])
    assert sliced_wasserstein(x, y, 2).value == pytest.approx(expected, rel=1e-9)


# C2ST


@pytest.mark.slow
def test_c2st_of_equal_laws_is_a_half() -> None:
    scores = [c2st(normal(150, 6, 2 * i), normal(150, 6, 2 * i + 1), i) for i in range(30)]
    assert abs(np.mean([s.value for s in scores]) - 0.5) < 0.015
    inside = [s.low <= 0.5 <= s.high for s in scores if s.low is not None and s.high is not None]
    assert len(inside) == 30 and np.mean(inside) >= 0.9


@pytest.mark.parametrize("case", ["shift", "narrow", "dependent", "dropped mode", "collapse", "far"])
def test_c2st_sees_what_differs(case: str) -> None:
    n, d = 300, 4
    x, y = normal(n, d, 1), normal(n, d, 2)
    centres = 5 * normal(8, d, 3)
    real = centres[torch.arange(n) % 8] + normal(n, d, 4) if case == "dropped mode" else y
    generated = {
        "shift": x + torch.tensor([1.0, 0.0, 0.0, 0.0]),
        "narrow": 0.6 * x,
        "dependent": torch.cat([x[:, :1], 0.8 * x[:, :1] + 0.6 * x[:, 1:2], x[:, 2:]], dim=1),
        "dropped mode": centres[torch.arange(n) % 4] + x,
        "collapse": x[:1].repeat(n, 1),
        "far": x + 100,
    }[case]
    result = c2st(generated, real, 0)
    assert result.low is not None and result.low > 0.5
    if case in ("collapse", "far"):
        assert result.value > 0.95


def test_c2st_of_wide_features() -> None:
    """Beyond some hundred columns another solver takes over."""
    x, y, z = (normal(100, 600, seed) for seed in (1, 2, 3))
    assert c2st(x, y, 0).value < 0.65
    assert c2st(x, z + 0.3, 0).value > 0.9


def test_c2st_ignores_dead_columns() -> None:
    """Constant over both sides: standardising them would divide zero by zero. Alive on one side: the best clue."""
    x, y = normal(100, 3, 1), normal(100, 3, 2)
    dead = torch.full((100, 2), 7.0, dtype=torch.float64)
    assert c2st(torch.cat([x, dead], dim=1), torch.cat([y, dead], dim=1), 0) == c2st(x, y, 0)
    assert c2st(torch.cat([x, dead], dim=1), torch.cat([y, dead + normal(100, 2, 3)], dim=1), 0).value > 0.8


def test_c2st_does_not_depend_on_units() -> None:
    x, y = normal(100, 3, 1), 0.7 * normal(100, 3, 2)
    units = torch.tensor([1.0, 1e3, 1e-3], dtype=torch.float64)
    assert c2st(x * units + 5, y * units + 5, 0).value == pytest.approx(c2st(x, y, 0).value, abs=0.011)


# What all three share


@pytest.mark.parametrize("metric", SEEDED)
def test_collapse_scores_worse_than_the_equal_law(metric: Callable[[Tensor, Tensor, int], MetricValue]) -> None:
    x, y = normal(200, 4, 1), normal(200, 4, 2)
    assert metric(x, y, 0).value < metric(x[:1].repeat(200, 1), y, 0).value
    assert metric(x, y, 0).value < metric(x + 2, y, 0).value


@pytest.mark.parametrize("metric", SEEDED)
def test_the_seed_decides(metric: Callable[[Tensor, Tensor, int], MetricValue]) -> None:
    x, y = normal(120, 4, 1), normal(150, 4, 2)
    assert metric(x, y, 3) == metric(x, y, 3)
    assert metric(x, y, 2**47).value != metric(x, y, 4).value


@pytest.mark.parametrize("metric", SEEDED)
def test_what_cannot_be_measured_is_undefined(metric: Callable[[Tensor, Tensor, int], MetricValue]) -> None:
    x, y = normal(60, 3, 1), normal(60, 3, 2)
    with pytest.raises(UndefinedError, match="at least"):
        metric(x[:1], y[:1], 0)
    with pytest.raises(UndefinedError, match="not finite"):
        metric(x * math.nan, y, 0)
    with pytest.raises(UndefinedError, match="all real features are equal"):
        metric(x, torch.ones_like(y), 0)
    with pytest.raises(ValueError, match="wanted"):
        metric(x[:, :2], y, 0)
