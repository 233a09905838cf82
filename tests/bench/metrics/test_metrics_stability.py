"""Stability and energy: intervals, orientation, edges."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.stats import binomtest

from gentune.bench.metrics import CostReport, UndefinedError
from gentune.bench.metrics.cost import energy
from gentune.bench.metrics.stability import failure_rate, seed_spread, setting_sensitivity


@pytest.mark.parametrize(("failed", "n"), [(0, 6), (1, 6), (3, 40), (6, 6)])
def test_failure_rate_has_clopper_and_pearsons_interval(failed: int, n: int) -> None:
    result = failure_rate(["failed"] * failed + ["complete"] * (n - failed))
    oracle = binomtest(failed, n).proportion_ci(0.95, method="exact")
    assert result.value == failed / n
    assert (result.low, result.high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


def test_stopped_trials_are_no_failures() -> None:
    assert failure_rate(["failed", "complete", "stopped", "stopped"]).value == 0.5
    with pytest.raises(UndefinedError, match="no trial"):
        failure_rate(["stopped"])


def test_seed_spread_is_the_deviation_over_seeds() -> None:
    values = [10.0, 12.0, 17.0]
    result = seed_spread(values)
    assert result.value == pytest.approx(np.std(values, ddof=1))
    # χ² with 2 degrees of freedom is exponential: its quantiles are -2 log(1 - q)
    bounds = [result.value * math.sqrt(2 / (-2 * math.log(1 - q))) for q in (0.975, 0.025)]
    assert (result.low, result.high) == pytest.approx(tuple(bounds), rel=1e-9)
    assert seed_spread([v * 3 - 100 for v in values]).value == pytest.approx(3 * result.value)
    assert seed_spread([1e8 + v for v in values]).value == pytest.approx(result.value, rel=1e-7)


def test_the_interval_of_seed_spread_covers() -> None:
    """Of 1,000 samples of five normal values, 95% of the intervals hold the deviation: within 3 standard errors."""
    draw = random.Random(0)
    hits = 0
    for _ in range(1_000):
        result = seed_spread([draw.gauss(0, 2) for _ in range(5)])
        assert result.low is not None and result.high is not None
        hits += result.low < 2 < result.high
    assert hits == pytest.approx(950, abs=3 * math.sqrt(1_000 * 0.95 * 0.05))


def test_setting_sensitivity_is_the_interquartile_range() -> None:
    draw = random.Random(1)
    for n in (4, 5, 6, 7, 30):
        values = [draw.gauss(0, 1) for _ in range(n)]
        low, high = np.quantile(values, [0.25, 0.75])
        assert setting_sensitivity(values).value == pytest.approx(high - low, rel=1e-12)


def test_settings_that_matter_more_score_higher_and_one_outlier_does_not() -> None:
    calm, touchy = [10.0, 11.0, 10.5, 12.0, 11.5, 10.2], [10.0, 40.0, 25.0, 90.0, 60.0, 12.0]
    assert setting_sensitivity(calm).value < setting_sensitivity(touchy).value
    assert setting_sensitivity([*calm, 1e6]).value < 2 * setting_sensitivity(calm).value
    assert setting_sensitivity([5.0] * 4).value == 0.0


def test_too_few_or_broken_values_are_undefined() -> None:
    with pytest.raises(UndefinedError, match="at least 2 values, got 1"):
        seed_spread([1.0])
    with pytest.raises(UndefinedError, match="at least 4 values, got 3"):
        setting_sensitivity([1.0, 2.0, 3.0])
    with pytest.raises(UndefinedError, match="1 of 3 values are not finite"):
        seed_spread([1.0, math.inf, 2.0])


def test_energy_is_reported_only_where_the_device_tells_it() -> None:
    silent = CostReport(1.0, 1.0, 10, 100, None, 1e6)
    with pytest.raises(UndefinedError, match="energy"):
        energy(silent)
    assert energy(CostReport(1.0, 1.0, 10, 100, None, 1e6, energy=250.0)).value == 250.0
