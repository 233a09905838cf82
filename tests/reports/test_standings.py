"""Intervals, tests and ranks against SciPy, worked examples and simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from gentune.bench.runs.records import Record
from gentune.reports.finals import Finals, card, name_candidate, natural_range
from gentune.reports.inference import (
    compare,
    difference_p_value,
    holm,
    pooled_variance,
    ranks,
    spread_estimate,
    t_interval,
)
from gentune.reports.standings import compute_standings, metric_order


def test_t_interval_is_scipys() -> None:
    values = [41.0, 44.5, 39.2, 46.1]
    wanted = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx(wanted)
    assert t_interval([3.0]) is None


def test_holm_worked_example() -> None:
    # Ordered: 4 x .005, 3 x .01, 2 x .03, and .04 raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_pooled_variance_is_the_weighted_mean_of_variances() -> None:
    groups = [[1.0, 2.0, 3.0], [11.0, 13.0], [5.0]]
    assert pooled_variance(groups) == pytest.approx(((2 * 1.0 + 1 * 2.0) / 3, 3.0))


@pytest.mark.parametrize(
    "groups",
    [
        [[1.0, 2.0, 3.0]],  # one group alone
        [[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]],  # no variance
        [[1.0, 2.0, 3.0, 2.5], [100.0, 300.0, 500.0, 50.0]],  # unequal by Bartlett's test
    ],
)
def test_variance_is_not_pooled_where_that_is_unsound(groups: list[list[float]]) -> None:
    assert pooled_variance(groups) is None


def test_two_groups_agree_with_scipys_t_tests() -> None:
    a, b = [1.0, 1.4, 0.9, 1.2], [1.9, 1.5, 1.8]
    assert difference_p_value(a, b) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert difference_p_value(a, b, pooled_variance([a, b])) == pytest.approx(stats.ttest_ind(a, b).pvalue)
    assert difference_p_value(a, [1.0]) is None


def test_groups_without_variance_are_compared_by_their_values() -> None:
    assert difference_p_value([2.0, 2.0], [2.0, 2.0 + 1e-15]) == 1.0
    assert difference_p_value([2.0, 2.0], [2.1, 2.1]) == 0.0


def test_interval_on_the_log_scale_is_a_factor_around_the_mean() -> None:
    values = [40.0, 50.0, 44.0]
    found = compare({"a": values}, log_scale=True).estimates["a"]
    half = stats.t.ppf(0.975, 2) * stats.sem(np.log(values))
    assert found.value == pytest.approx(np.mean(values))
    assert found.low == pytest.approx(found.value * math.exp(-half))
    assert found.high == pytest.approx(found.value * math.exp(half))
    assert not compare({"a": [1.0, -1.0]}, log_scale=True).log_scale


def test_single_repetitions_have_no_interval_and_are_not_separable() -> None:
    result = compare({"a": [1.0], "b": [100.0], "c": []})
    assert set(result.estimates) == {"a", "b"}
    assert result.estimates["a"].low is None
    assert not result.separable("a", "b")
    assert {name: (r.rank, r.low, r.high) for name, r in ranks(result.better).items()} == {
        "a": (1, 1, 2),
        "b": (1, 1, 2),
    }


def test_ranks_count_who_is_significantly_better() -> None:
    groups = {"a": [1.0, 1.1, 0.9], "b": [1.05, 0.95, 1.1], "c": [5.0, 5.1, 4.9]}
    low = compare(groups)
    assert low.pooled and low.separable("a", "c") and not low.separable("a", "b")
    assert {n: (r.rank, r.low, r.high) for n, r in ranks(low.better).items()} == {
        "a": (1, 1, 2),
        "b": (1, 1, 2),
        "c": (3, 3, 3),
    }
    assert low.leaders() == {"a", "b"}
    assert compare(groups, lower_is_better=False).leaders() == {"c"}


@pytest.mark.parametrize("deviations", [(1, 1, 1, 1, 1), (1, 1, 1, 3, 3)])
def test_equal_means_are_rarely_separated(deviations: tuple[float, ...]) -> None:
    rng = np.random.default_rng(7)
    draws, wrong = 400, 0
    for _ in range(draws):
        groups = {str(i): (s * rng.normal(size=3)).tolist() for i, s in enumerate(deviations)}
        wrong += any(compare(groups).better.values())
    # Deviations that differ are the harder case: pooling them would separate too often.
    assert wrong / draws <= 0.05


def test_clear_differences_are_found() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(100):
        groups = {str(i): (6.0 * i + rng.normal(size=3)).tolist() for i in range(4)}
        found += sorted(r.rank for r in ranks(compare(groups).better).values()) == [1, 2, 3, 4]
    assert found > 80


def test_spread() -> None:
    spread = spread_estimate([[1.0, 3.0], [10.0, 14.0], [7.0]])
    assert spread is not None and spread.value == pytest.approx(math.sqrt((2.0 + 8.0) / 2))
    assert spread.low is not None and spread.high is not None and spread.low < spread.value < spread.high
    assert spread_estimate([[1.0]]) is None


def test_intervals_end_where_the_metric_does() -> None:
    values = [0.9, 0.97, 0.99]
    free, bounded = (compare({"a": values}, within=natural_range(m)).estimates["a"] for m in ("density", "recall"))
    assert free.high is not None and free.high > 1
    assert (bounded.value, bounded.low, bounded.high) == (free.value, free.low, 1.0)
    beyond = compare({"a": [1.2, 1.3]}, within=(0.0, 1.0)).estimates["a"]
    assert beyond.high == beyond.value, "a value is never outside its interval"


def test_distances_and_costs_alone_are_compared_on_logarithms() -> None:
    assert card("fid").log_scale and card("samples_per_second").log_scale
    assert not any(card(m).log_scale for m in ("kid", "mmd", "bits_per_dim", "precision", "no_such_metric"))


def test_cost_metrics_come_last_even_as_objectives() -> None:
    names = metric_order(["train_seconds", "recall", "mine", "fid", "failure_rate"], ["recall", "train_seconds"])
    assert names == ["recall", "fid", "mine", "failure_rate", "train_seconds"]


def _final(family: str, number: int, value: float, **changes: object) -> Record:
    content: dict[str, object] = {
        "role": "final",
        "family": family,
        "number": number,
        "seed": number,
        "split": "test",
        "state": "complete",
        "params": {},
        "metrics": {"fid": {"value": value, "low": value - 1, "high": value + 1}},
    }
    return Record(**{**content, **changes})  # type: ignore[arg-type]


def test_repeats_are_the_independent_values() -> None:
    values = {0: (10.0, 12.0), 1: (20.0, 22.0), 2: (30.0, 34.0)}
    records = [_final("a", n, v, repeat=r) for r, pair in values.items() for n, v in enumerate(pair)]
    (row,) = compute_standings(records, ["a"], ["fid"], repeats=3).rows
    means = [11.0, 21.0, 32.0]
    half = stats.t.ppf(0.975, 2) * stats.sem(np.log(means))
    assert row.primary.metrics["fid"].n == 3
    assert row.primary.metrics["fid"].value == pytest.approx(np.mean(means))
    assert row.primary.metrics["fid"].high == pytest.approx(np.mean(means) * math.exp(half))
    # The spread over seeds is within repeats, not between them.
    assert row.primary.metrics["seed_spread"].value == pytest.approx(math.sqrt((2.0 + 2.0 + 8.0) / 3))


def test_failed_finals_are_counted_and_further_incumbents_are_not_ranked() -> None:
    records = [_final("a", n, v) for n, v in enumerate((10.0, 11.0))]
    records.append(_final("a", 2, 0.0, state="failed", metrics={}, reason="out of memory"))
    records += [_final("a", n, v, incumbent=1) for n, v in enumerate((50.0, 51.0))]
    records += [_final("b", n, v) for n, v in enumerate((30.0, 32.0))]
    rows = compute_standings(records, ["a", "b"], ["fid", "recall"], repeats=1).rows
    # With the worst value of the board, 32, for the one that failed, a is no longer told from b.
    assert [(r.family, r.incumbent, r.rank.rank if r.rank else None) for r in rows] == [
        ("a", 0, 1),
        ("b", 0, 1),
        ("a", 1, None),
    ]
    assert (rows[0].finals, rows[0].failed_finals) == (2, 1)
    assert rows[0].primary.metrics["fid"].value == pytest.approx((10 + 11 + 32) / 3)
    assert rows[0].not_separable_from == ("b",)


def test_a_family_with_one_surviving_final_is_not_ranked() -> None:
    failed: dict[str, object] = {"state": "failed", "metrics": {}, "reason": "diverged: loss is NaN"}
    records = [_final("a", n, v) for n, v in enumerate((30.0, 31.0))] + [
        _final("b", n, v) for n, v in enumerate((40.0, 42.0))
    ]
    records += [_final("c", 0, 1.0), _final("c", 1, 0.0, **failed), _final("d", 0, 0.0, **failed)]
    rows = {r.family: r for r in compute_standings(records, list("abcd"), ["fid"], repeats=1).rows}
    assert list(rows) == ["c", "a", "b", "d"], "by mean, the failed final of c counted as 42; d has none"
    assert [rows[f].rank is None for f in "abcd"] == [False, False, True, True]
    assert rows["b"].rank is not None and rows["b"].rank.high == 2, "c and d take no place"


def _choice(family: str, number: int, value: float, trial: int = 3, **changes: object) -> Record:
    return _final(family, number, value, role="choice", split="validation", trial=trial, **changes)


def _board(**values: Sequence[float]) -> list[Record]:
    return [_final(f, n, v, trial=3) for f, found in values.items() for n, v in enumerate(found)]


def test_the_candidate_is_the_best_on_validation_by_its_chosen_setting() -> None:
    records = _board(a=(20.0, 21.0), b=(10.0, 11.0), c=(5.0, 5.5))
    records += [_choice("a", 0, 9.0), _choice("a", 1, 11.0), _choice("a", 0, 1.0, trial=0)]  # 0: not chosen
    records += [_choice("b", 0, 12.0), _choice("b", 1, 13.0), _choice("c", 0, 11.0), _choice("c", 1, 14.0)]
    finals = Finals.of(records, list("abc"), by_repeat=False)
    assert name_candidate(records, finals, "fid") == "a"
    assert name_candidate(records, finals, "fid", barred={"a"}) == "b"
    assert name_candidate(records, finals, "recall") is None
    failed = [_choice("a", 2, 0.0, state="failed", metrics={})]  # counts as 14, the worst of all
    assert name_candidate(records + failed, finals, "fid") == "a"
    assert name_candidate(records + failed * 4, finals, "fid") == "b"
    trials = [_final(f, 3, v, role="trial") for f, v in (("a", 3.0), ("b", 2.0), ("c", 4.0))]
    assert name_candidate(trials + records, finals, "fid") == "a"
    without = [r for r in records if r.role != "choice" or r.family != "c"]
    assert name_candidate(trials + without, finals, "fid") == "b", "all by their trials where one has no other"


def test_the_named_family_is_not_the_leader_where_another_is_lower_on_the_test() -> None:
    records = _board(a=(20.0, 21.0, 20.5), b=(10.0, 11.0, 10.2), c=(90.0, 91.0, 95.0))
    records += [_choice("a", 0, 9.0), _choice("b", 0, 12.0), _choice("c", 0, 13.0)]
    found = compute_standings(records, list("abc"), ["fid"], repeats=1)
    assert [r.family for r in found.rows] == ["b", "a", "c"]
    row = next(r for r in found.rows if r.candidate)
    assert (row.family, row.better_than, row.not_excluded) == ("a", ("c",), ("b",))
    assert found.claims is not None and found.claims.ahead == ("b",)


def test_ratios_are_of_families_that_left_their_default() -> None:
    records = _board(a=(10.0, 11.0, 10.5), b=(4.0, 5.0, 4.5))
    records += [_final("c", n, v, trial=0) for n, v in enumerate((7.0, 8.0))]
    records += [_final("a", n, v, role="default") for n, v in enumerate((20.0, 22.0, 21.0))]
    records += [_final("b", n, v, role="default") for n, v in enumerate((4.0, 5.0, 4.5))]
    found = compute_standings(records, list("abc"), ["fid"], repeats=1)
    ratios = {r.family: r.tuned_against_default for r in found.rows}
    assert ratios["c"] is None and ratios["a"] is not None and ratios["b"] is not None
    assert ratios["a"].ratio == pytest.approx(0.5, rel=1e-3)
    assert ratios["b"].ratio == pytest.approx(1.0)
    assert ratios["a"].low is not None and ratios["a"].high is not None
    a = np.log([10.0, 11.0, 10.5]), np.log([20.0, 22.0, 21.0])
    wanted = stats.ttest_ind(*a, equal_var=False).confidence_interval(0.95)
    assert np.log([ratios["a"].low, ratios["a"].high]) == pytest.approx([wanted.low, wanted.high])
    assert found.tuned_against_default is not None
    assert found.tuned_against_default.ratio == pytest.approx(math.sqrt(ratios["a"].ratio))


def test_tuned_is_tested_against_default() -> None:
    records = [_final("a", n, v) for n, v in enumerate((10.0, 11.0, 10.5))]
    records += [_final("b", n, v) for n, v in enumerate((10.0, 11.0, 10.5))]
    records += [_final("a", n, v, role="default") for n, v in enumerate((30.0, 31.0, 33.0))]
    records += [_final("b", n, v, role="default") for n, v in enumerate((10.0, 11.0, 10.5))]
    rows = {r.family: r for r in compute_standings(records, ["a", "b", "c"], ["fid"], repeats=1).rows}
    assert rows["a"].against_default == "better"
    assert rows["b"].against_default == "not separable"
    assert rows["c"].against_default is None and rows["c"].rank is None


def test_where_the_default_won_its_finals_are_shown_on_both_sides() -> None:
    records = [_final("a", n, v, trial=0) for n, v in enumerate((10.0, 11.0, 10.5))]
    records += [_final("b", n, v, trial=4) for n, v in enumerate((20.0, 21.0, 20.5))]
    rows = {r.family: r for r in compute_standings(records, ["a", "b"], ["fid"], repeats=1).rows}
    assert rows["a"].against_default == "the default"
    assert rows["a"].default.metrics["fid"] == rows["a"].primary.metrics["fid"]
    assert "seed_spread" not in rows["a"].default.metrics
    assert rows["b"].against_default is None
    assert not rows["b"].default.metrics


def test_a_default_that_won_one_repeat_of_two_is_told_by_that_one() -> None:
    records = [_final("a", n, v, trial=0) for n, v in enumerate((10.0, 12.0))]
    records += [_final("a", n, v, trial=3, repeat=1) for n, v in enumerate((30.0, 32.0))]
    (row,) = compute_standings(records, ["a"], ["fid"], repeats=2).rows
    assert row.primary.metrics["fid"].value == pytest.approx(21.0)
    assert row.default.metrics["fid"].value == pytest.approx(11.0)
