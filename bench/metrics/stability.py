"""Stability of a family's score: failures, spread over seeds, sensitivity to settings. Free of torch.

Spreads are in the unit of the objective: families are compared on one objective and one data set, and a spread
relative to the score means nothing for objectives that are differences or logarithms and may be 0 or negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .base import MetricValue, UndefinedError

_FAILED, _COUNTED = "failed", ("complete", "failed")
_FEWEST_TRIALS = 4  # quartiles of fewer are the extremes


def failure_rate(states: Sequence[str]) -> MetricValue:
    """Share of "failed" among trials that are "complete" or "failed"; lower is better.

    Trials that were "stopped" by a deadline or a person are left out: nobody knows how they would have ended. The 95%
    interval is Clopper and Pearson's, which holds at any count. Undefined without a trial that ended.

    References: Clopper and Pearson, doi:10.1093/biomet/26.4.404.
    """
    from scipy.stats import beta

    ended = [state for state in states if state in _COUNTED]
    n, failed = len(ended), ended.count(_FAILED)
    if n < 1:
        raise UndefinedError("no trial has ended")
    low = 0.0 if failed == 0 else float(beta.ppf(0.025, failed, n - failed + 1))
    high = 1.0 if failed == n else float(beta.ppf(0.975, failed + 1, n - failed))
    return MetricValue(failed / n, low, high)


def seed_spread(final_values: Sequence[float]) -> MetricValue:
    """s = √(Σ (v - v̄)² / (R - 1)) of R re-trainings, in the objective's unit; lower is better.

    The 95% interval is s √((R - 1)/χ²) at the 97.5% and 2.5% quantiles of chi squared with R - 1 degrees of freedom,
    for normal scores: at three seeds it spans a factor of 12. Undefined for fewer than 2 values.

    References: Bouthillier et al., arXiv:2103.03098 (seeds as a source of variance).
    """
    from scipy.stats import chi2

    values = _finite(final_values, at_least=2)
    freedom = len(values) - 1
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / freedom)
    low, high = (spread * math.sqrt(freedom / float(chi2.ppf(q, freedom))) for q in (0.975, 0.025))
    return MetricValue(spread, low, high)


def setting_sensitivity(trial_values: Sequence[float]) -> MetricValue:
    """Q₃ - Q₁ of the scores of a study's completed trials, in the objective's unit; lower is better.

    How much is won or lost by the choice among the settings that the study tried. Quartiles, since a few settings that
    nearly diverge would decide a standard deviation. Tuning gathers trials around the best, so that families compare
    only under one engine and budget. Undefined for fewer than 4 values.

    References: Probst et al., arXiv:1802.09596 (tunability); Lucic et al., arXiv:1711.10337 (spread over
        settings within a budget).
    """
    values = sorted(_finite(trial_values, at_least=_FEWEST_TRIALS))
    return MetricValue(_quantile(values, 0.75) - _quantile(values, 0.25))


def _quantile(ordered: list[float], q: float) -> float:
    """Linear between order statistics at (n - 1) q."""
    place = (len(ordered) - 1) * q
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _finite(values: Sequence[float], *, at_least: int) -> list[float]:
    found = [float(v) for v in values]
    if len(found) < at_least:
        raise UndefinedError(f"needs at least {at_least} values, got {len(found)}")
    bad = sum(not math.isfinite(v) for v in found)
    if bad:
        raise UndefinedError(f"{bad} of {len(found)} values are not finite")
    return found
