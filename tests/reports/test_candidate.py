"""Moderated variances and the tests against a candidate: closed forms, independent computations, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from gentune.reports.candidate import claims, hochberg, look_level, one_sided, spreads
from gentune.reports.moderation import fit_prior, moderated, outlying, trigamma_inverse


def test_trigamma_inverse_inverts() -> None:
    y = np.array([0.05, 0.3, 1.0, 7.0, 1e4])
    assert trigamma_inverse(special.polygamma(1, y)) == pytest.approx(y, rel=1e-9)


def test_the_prior_is_what_the_moments_of_log_variances_say() -> None:
    variances, d = np.array([0.01, 0.03, 0.2, 0.5, 0.04]), 4.0
    s0, d0 = (float(v) for v in fit_prior(variances, d))
    # log s^2 is log s0^2 plus the logarithm of an F variable: its two first moments, by a root finder of another kind.
    logs = np.log(variances)
    gap = float(np.var(logs, ddof=1) - special.polygamma(1, d / 2))
    found = optimize.brentq(lambda x: float(special.polygamma(1, x / 2)) - gap, 1e-3, 1e3)
    assert d0 == pytest.approx(found, rel=1e-6)
    of_f = special.digamma(d / 2) - math.log(d / 2) - special.digamma(found / 2) + math.log(found / 2)
    assert math.log(s0) == pytest.approx(float(np.mean(logs)) - of_f, rel=1e-6)


def test_a_prior_is_found_again_from_many_families() -> None:
    rng = np.random.default_rng(0)
    true = 0.02 * 6.0 / rng.chisquare(6.0, size=20_000)
    s0, d0 = fit_prior(true * rng.chisquare(4, size=20_000) / 4, 4.0)
    assert float(s0) == pytest.approx(0.02, rel=0.03)
    assert float(d0) == pytest.approx(6.0, rel=0.06)


def test_variances_that_differ_by_chance_are_pooled() -> None:
    variances = np.array([0.9, 1.0, 1.1, 1.0])
    found, freedom = moderated(variances, 4.0)
    assert found == pytest.approx(np.ones(4)) and freedom == pytest.approx(np.full(4, 16.0))


def test_moderation_draws_towards_the_prior_by_freedom() -> None:
    variances = np.array([0.01, 0.03, 0.2, 0.5, 0.04])
    s0, d0 = (float(v) for v in fit_prior(variances, 4.0))
    found, freedom = moderated(variances, 4.0)
    assert found == pytest.approx((d0 * s0 + 4.0 * variances) / (d0 + 4.0))
    assert freedom == pytest.approx(np.full(5, d0 + 4.0))
    stacked, _ = moderated(np.stack([variances, 3 * variances]), 4.0)
    assert stacked == pytest.approx(np.stack([found, 3 * found])), "boards do not mix, and units do not matter"


def test_an_outlying_variance_is_kept() -> None:
    variances = np.array([1.0, 1.2, 0.8, 1.1, 0.9, 1.0, 60.0])
    assert outlying(variances, 4.0).tolist() == [False] * 6 + [True]
    found, freedom = moderated(variances, 4.0)
    assert (found[-1], freedom[-1]) == (60.0, 4.0) and freedom[0] > 4.0


def test_a_family_without_spread_does_no_harm() -> None:
    found, _ = moderated(np.array([0.0, 1.0, 1.2, 0.9, 1.1]), 4.0)
    assert np.isfinite(found).all() and found[0] > 0


def test_hochberg_worked_example() -> None:
    # From the largest: .04 x 1, .03 x 2 but no more than that, .01 x 3, .005 x 4.
    assert hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert hochberg([[0.5, 0.9], [0.02, 0.024]]) == pytest.approx(np.array([[0.9, 0.9], [0.024, 0.024]]))


def test_few_finals_are_tested_by_welch() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(6, 3)) * np.array([1, 2, 3, 1, 5, 1])[:, None]
    counts = np.full(6, 3.0)
    found = one_sided(values.mean(1), *spreads(values.var(1, ddof=1), counts), counts)
    wanted = [stats.ttest_ind(values[0], v, equal_var=False, alternative="less").pvalue for v in values[1:]]
    assert found == pytest.approx(wanted)


def test_levels_of_all_looks_stay_below_five_percent() -> None:
    assert [look_level(j) for j in (1, 2, 3)] == [0.025, 0.0125, 0.00625]
    assert sum(look_level(j) for j in range(1, 30)) < 0.05


def test_claims_name_who_is_worse_and_who_cannot_be_excluded() -> None:
    groups = {"a": [1.0, 1.1, 0.9], "b": [1.05, 0.95, 1.2], "c": [5.0, 5.2, 4.9], "single": [0.1]}
    found = claims(groups, "a", log_scale=True)
    assert found is not None
    assert (found.better_than, found.not_excluded, found.ahead) == (("c",), ("b",), ())
    assert set(found.p_values) == {"b", "c"} and found.level == 0.025 and not found.moderated
    assert found.detectable is not None and 0 < found.detectable < 1
    needed = found.seeds_needed["b"]
    assert set(found.seeds_needed) == {"b"} and (needed is None or needed > 3)
    other = claims(groups, "c", log_scale=True)
    assert other is not None and other.ahead == ("a", "b") and other.better_than == () and not other.seeds_needed
    assert claims(groups, "single") is None and claims({"a": [1.0, 2.0]}, "a") is None
    upwards = claims(groups, "c", lower_is_better=False, log_scale=True)
    assert upwards is not None and upwards.better_than == ("a", "b")


def test_a_zero_takes_its_own_pairs_off_the_log_scale() -> None:
    groups = {"a": [1.0, 1.1, 0.9], "b": [50.0, 20.0, 110.0], "c": [0.0, 300.0, 400.0]}
    with_zero, without = (claims(g, "a", log_scale=True) for g in (groups, {k: groups[k] for k in "ab"}))
    assert with_zero is not None and without is not None
    raw = stats.ttest_ind(groups["a"], groups["c"], equal_var=False, alternative="less").pvalue
    on_logs = stats.ttest_ind(np.log(groups["a"]), np.log(groups["b"]), equal_var=False, alternative="less").pvalue
    assert without.p_values["b"] == pytest.approx(on_logs)
    assert with_zero.p_values == pytest.approx({"b": min(2 * on_logs, raw), "c": raw})


def test_values_that_are_all_the_same_are_compared_by_themselves() -> None:
    found = claims({"a": [2.0, 2.0], "b": [2.0, 2.0 + 1e-15], "c": [2.1, 2.1]}, "a")
    assert found is not None and found.better_than == ("c",)


def test_a_gap_is_relative_to_no_value_that_is_closer_to_zero() -> None:
    """MMD of samples that are as good as real ones: its estimates lie on both sides of zero."""
    near = claims({"a": [1e-4, -3e-4, 2.2e-4], "b": [2e-4, -1e-4, 4e-4]}, "a")
    assert near is not None and near.detectable is None
    assert near.detectable_difference is not None and 1e-4 < near.detectable_difference < 1e-2
    far = claims({"a": [1.0001, 0.9997, 1.00022], "b": [1.0002, 0.9999, 1.0004]}, "a")
    assert far is not None and far.detectable_difference == pytest.approx(near.detectable_difference)
    assert far.detectable is not None and 0 < far.detectable < 0.01
    on_logs = claims({"a": [1.0, 2.0], "b": [3.0, 4.0]}, "a", log_scale=True)
    assert on_logs is not None and on_logs.detectable_difference is None


def test_the_detectable_gap_is_found_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    counts = np.full(8, 5.0)
    said = []
    for _ in range(40):
        groups = {str(i): [math.exp(v) for v in 0.12 * rng.normal(size=5)] for i in range(8)}
        found = claims(groups, "0", log_scale=True)
        assert found is not None and found.detectable is not None
        said.append(found.detectable)
    gap = -math.log1p(-float(np.mean(said)))
    finals = 0.12 * rng.normal(size=(2000, 8, 5))
    finals[:, 1] += gap
    p = one_sided(finals.mean(-1), *spreads(finals.var(-1, ddof=1), counts), counts)[:, 0]
    assert np.mean(p < look_level(1) / 7) == pytest.approx(0.8, abs=0.06)
