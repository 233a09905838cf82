"""Intervals over examples: the jackknife against its definition, and how often the intervals hold the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gentune.bench.metrics import METRICS, MetricValue
from gentune.bench.metrics.extrapolation import fd_infinity
from gentune.bench.metrics.fidelity import (
    fid,
    inception_score,
    kid,
    precision,
    precision_left_out,
    recall,
    recall_left_out,
    squared_kernel_distance,
)
from gentune.bench.metrics.intervals import LeftOut, jackknife, jackknife_share, variance_of_influence
from gentune.bench.metrics.manifold import coverage, density, density_and_coverage
from gentune.bench.metrics.mmd import mmd, squared_mmd

Metric = Callable[[Tensor, Tensor], MetricValue]


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kid_of_all(x: Tensor, y: Tensor) -> MetricValue:
    return kid(x, y, 0)


def extrapolated(x: Tensor, y: Tensor) -> MetricValue:
    return fd_infinity(x, y, 0)


ON_FEATURES: list[Metric] = [fid, kid_of_all, mmd, precision, recall, density, coverage, extrapolated]


def without(z: Tensor, i: int) -> Tensor:
    return torch.cat([z[:i], z[i + 1 :]])


# The jackknife


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x, y = normal(30, 1, 1)[:, 0], normal(50, 1, 2)[:, 0]
    difference = LeftOut(
        float(x.mean() - y.mean()),
        torch.stack([without(x, i).mean() - y.mean() for i in range(30)]),
        torch.stack([x.mean() - without(y, i).mean() for i in range(50)]),
    )
    expected = float(x.var() / 30 + y.var() / 50)
    assert difference.variance == pytest.approx(expected)
    assert variance_of_influence(x, y) == pytest.approx(expected)
    result = jackknife(difference)
    assert result.low is not None and result.high is not None
    assert result.high - result.low == pytest.approx(2 * 1.959964 * math.sqrt(expected), rel=1e-6)
    assert jackknife(difference, lowest=difference.value).low == difference.value


def test_the_jackknife_of_a_share_is_wilsons_interval() -> None:
    """Independent hits are worth their own count: p(1 - p)/v is n - 1."""
    hits = (torch.arange(40) < 31).double()
    left_out = torch.stack([without(hits, i).mean() for i in range(40)])
    figure = LeftOut(31 / 40, left_out, torch.full((40,), 31 / 40, dtype=torch.float64))
    result = jackknife_share(figure, 40)
    n, p, z = 39, 31 / 40, 1.959964
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert result.low == pytest.approx((centre - half) / (1 + z * z / n), abs=1e-6)
    assert result.high == pytest.approx((centre + half) / (1 + z * z / n), abs=1e-6)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_a_share_of_none_or_all_keeps_a_width(p: float) -> None:
    same = torch.full((40,), p, dtype=torch.float64)
    result = jackknife_share(LeftOut(p, same, same), 40)
    assert result.low is not None and result.high is not None
    assert result.low <= p <= result.high
    assert result.high - result.low == pytest.approx(1.959964**2 / (40 + 1.959964**2), rel=1e-6)


def test_few_examples_get_no_interval() -> None:
    few, enough = normal(19, 2, 1), normal(20, 2, 2)
    for metric in (fid, kid_of_all, mmd, precision, recall, density, coverage):
        assert metric(few, normal(19, 2, 3)).low is None
        assert metric(enough, normal(20, 2, 4)).low is not None
    assert inception_score(normal(19, 3, 5).softmax(1), 0).low is None
    assert inception_score(normal(20, 3, 5).softmax(1), 0).low is not None


# Leave-one-out values equal direct computation without the example


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage", "kid"])
def test_leaving_an_example_out_is_computing_without_it(name: str, repeats: bool) -> None:
    """With repeated examples too, where distances and radii tie."""
    x, y = normal(31, 3, 1), 1.3 * normal(31, 3, 2)
    if repeats:
        x, y = x.round(), y.round()
    whole: dict[str, Callable[[Tensor, Tensor], LeftOut]] = {
        "precision": precision_left_out,
        "recall": recall_left_out,
        "kid": squared_kernel_distance,
        "density": lambda a, b: density_and_coverage(a, b).density,
        "coverage": lambda a, b: density_and_coverage(a, b).coverage,
    }
    found = whole[name](x, y)
    direct = whole[name] if name not in ("density", "coverage") else _by_definition(name)
    expected = [direct(without(x, i), y).value for i in range(31)]
    np.testing.assert_allclose(found.without_generated.numpy(), expected, rtol=1e-9, atol=1e-12)
    expected = [direct(x, without(y, i)).value for i in range(31)]
    np.testing.assert_allclose(found.without_real.numpy(), expected, rtol=1e-9, atol=1e-12)


def _by_definition(name: str) -> Callable[[Tensor, Tensor], LeftOut]:
    """Density and coverage for unequal counts, which the metrics refuse."""

    def figure(x: Tensor, y: Tensor) -> LeftOut:
        radius = (y[:, None] - y[None]).square().sum(-1).sqrt().sort(dim=1).values[:, 5:6]
        gap = (y[:, None] - x[None]).square().sum(-1).sqrt()
        inside = (gap < radius) | (gap == 0)
        value = inside.double().sum() / (5 * len(x)) if name == "density" else inside.any(1).double().mean()
        return LeftOut(float(value), x[:0, 0], y[:0, 0])

    return figure


def test_mmd_without_an_example_at_the_same_bandwidths(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(25, 2, 1), normal(30, 2, 2) + 0.4
    monkeypatch.setattr("gentune.bench.metrics.mmd.median_distance", lambda _: 1.3)
    monkeypatch.setattr("gentune.bench.metrics.kernel_sums._BLOCK", 7 * 30)
    found = squared_mmd(x, y)
    expected = [squared_mmd(without(x, i), y).value for i in range(25)]
    np.testing.assert_allclose(found.without_generated.numpy(), expected, rtol=1e-9, atol=1e-12)
    expected = [squared_mmd(x, without(y, i)).value for i in range(30)]
    np.testing.assert_allclose(found.without_real.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_the_interval_of_the_inception_score_is_the_jackknifes() -> None:
    p = (2 * normal(200, 5, 1)).softmax(1)
    result = inception_score(p, 0)
    logs = torch.tensor([math.log(inception_score(without(p, i), 0).value) for i in range(200)], dtype=torch.float64)
    deviation = math.sqrt(199 / 200 * float((logs - logs.mean()).square().sum()))
    assert result.high is not None
    assert math.log(result.high / result.value) / 1.959964 == pytest.approx(deviation, rel=0.03)


# What intervals are for


@pytest.mark.parametrize("metric", ON_FEATURES)
def test_more_examples_make_narrower_intervals(metric: Metric) -> None:
    widths = []
    for n in (100, 900):
        result = metric(0.8 * normal(n, 3, 1) + 0.5, normal(n, 3, 2))
        assert result.low is not None and result.high is not None
        assert result.low <= result.value <= result.high
        widths.append(result.high - result.low)
    assert widths[1] < 0.5 * widths[0]


@pytest.mark.parametrize("metric", [fid, kid_of_all, mmd, recall, coverage])
def test_a_collapse_is_beyond_the_floors_interval(metric: Metric) -> None:
    """A third of the law is missing; the floor is what the law scores against itself."""
    real, floor = normal(400, 4, 1), metric(normal(400, 4, 2), normal(400, 4, 1))
    collapsed = normal(1_000, 4, 3)
    collapsed = collapsed[collapsed[:, 0] < 0.4][:400]
    result = metric(collapsed, real)
    assert floor.low is not None and floor.high is not None and len(collapsed) == 400
    name = "kid" if metric is kid_of_all else metric.__name__
    assert result.value > floor.high if METRICS[name].direction == "lower" else result.value < floor.low


@pytest.mark.parametrize("metric", [fid, kid_of_all, mmd, density])
def test_the_generated_sides_error_is_the_spread_over_samples_of_one_model(metric: Metric) -> None:
    """Against the same real examples: the interval, which holds their luck as well, is wider."""
    real = normal(150, 3, 0)
    results = [metric(1.3 * normal(150, 3, seed) + 0.4, real) for seed in range(1, 81)]
    told = [r.generated_error for r in results if r.generated_error is not None]
    assert len(told) == 80
    assert np.mean(told) == pytest.approx(np.std([r.value for r in results], ddof=1), rel=0.3)
    assert all(r.generated_error < r.standard_error for r in results if r.generated_error is not None)


def test_models_are_compared_by_the_error_that_their_samples_make() -> None:
    """Held-out examples are the same for all models, so likelihoods compare without error."""
    both = MetricValue(3.0, 1.04, 4.96)
    assert METRICS["fid"].error_between_models(MetricValue(3.0, 1.04, 4.96, 0.7)) == 0.7
    assert METRICS["fid"].error_between_models(both) == pytest.approx(1.0, rel=1e-4)
    assert METRICS["fid"].error_between_models(MetricValue(3.0)) == 0.0
    assert METRICS["nll"].error_between_models(both) == 0.0


def _coverage(metric: Metric, laws: Callable[[int], tuple[Tensor, Tensor]], repetitions: int) -> float:
    """How often the interval holds the figure's expectation, itself the mean over the repetitions."""
    results = [metric(*laws(i)) for i in range(repetitions)]
    expectation = np.mean([r.value for r in results])
    return float(np.mean([r.low <= expectation <= r.high for r in results if r.low is not None and r.high is not None]))


@pytest.mark.slow
@pytest.mark.parametrize("metric", ON_FEATURES)
@pytest.mark.parametrize("case", ["equal", "wider", "narrower"])
def test_intervals_hold_the_expectation(metric: Metric, case: str) -> None:
    """95% intervals over 250 pairs of samples from normal laws; three deviations of the count allow .909."""
    scale = {"equal": 1.0, "wider": 1.2, "narrower": 0.7}[case]
    shift = 0.3 if case == "wider" else 0.0

    def laws(i: int) -> tuple[Tensor, Tensor]:
        return scale * normal(200, 8, 2 * i) + shift, normal(200, 8, 2 * i + 1)

    assert _coverage(metric, laws, 250) >= 0.909


@pytest.mark.slow
def test_the_interval_of_the_inception_score_holds_its_expectation() -> None:
    results = [inception_score((3 * normal(200, 10, i)).softmax(1), 0) for i in range(250)]
    expectation = np.mean([r.value for r in results])
    inside = [r.low <= expectation <= r.high for r in results if r.low is not None and r.high is not None]
    assert np.mean(inside) >= 0.909
