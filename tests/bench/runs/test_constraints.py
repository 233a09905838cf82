"""Constraints: how they are written, how far records are beyond them, and the guards that hold by default."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from gentune.bench.errors import UsageError
from gentune.bench.runs.constraints import Constraint, constraints_in_force, metrics_in_force, parse_constraint
from gentune.bench.runs.records import Figure, Record, Role


def record(role: Role = "trial", family: str = "toy", split: str = "validation", **metrics: Figure | float) -> Record:
    figures: Mapping[str, Figure] = {
        name: {"value": figure, "low": None, "high": None} if isinstance(figure, (int, float)) else figure
        for name, figure in metrics.items()
    }
    return Record(role=role, family=family, number=0, seed=0, split=split, state="complete", params={}, metrics=figures)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fid <= 3", "fid <= 3"),
        (" fid<=3.0 ", "fid <= 3"),
        ("kid >= -1e-3", "kid >= -0.001"),
        ("coverage>=.123456789", "coverage >= 0.123456789"),
        ("parameters <= 12345678", "parameters <= 12345678.0"),
    ],
)
def test_a_constraint_reads_as_it_is_shown(text: str, shown: str) -> None:
    constraint = parse_constraint(text)
    assert str(constraint) == shown
    assert parse_constraint(shown) == constraint


@pytest.mark.parametrize(
    "text",
    ["fid", "fid < 3", "fid <= ", "<= 3", "fid = 3", "3 >= fid", "fid <= x", "fid <= nan", "fid <= inf", "f <= 1 2"],
)
def test_other_text_is_refused_with_what_was_wanted(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_constraint(text)
    assert str(error.value) == f"wanted METRIC <= X or METRIC >= X, not {text!r}"


@pytest.mark.parametrize("factor", [1.0, 1e-9, 1e9])
def test_the_excess_has_a_sign_and_no_unit(factor: float) -> None:
    upper = Constraint("m", "<=", 2.0 * factor)
    lower = Constraint("m", ">=", 2.0 * factor)
    for figure in (0.0, 1.0, 2.0, 4.0, 3_521.0):
        excess = upper.excess([record(m=figure * factor)])
        assert excess is not None
        assert excess == pytest.approx(math.tanh(0.5 * math.log(figure / 2.0)) if figure else -1.0)
        assert excess == -(lower.excess([record(m=figure * factor)]) or 0.0)
        assert (excess > 0) == (figure > 2.0)


@pytest.mark.parametrize("limit", [-3.0, 0.0])
def test_figures_and_limits_of_zero_and_below_are_compared(limit: float) -> None:
    upper = Constraint("m", "<=", limit)
    found = [upper.excess([record(m=limit + step)]) for step in (-2.0, 0.0, 2.0, 10.0)]
    assert found == sorted(found, key=lambda e: -2.0 if e is None else e)
    assert found[0] is not None
    assert found[0] < 0 == found[1]
    assert all(e is not None and 0 < e <= 1 for e in found[2:])


def test_an_interval_is_judged_by_its_end_and_several_records_by_their_mean() -> None:
    guard = Constraint("authenticity", ">=", 0.4, end="high")
    wide, none = {"value": 0.3, "low": 0.1, "high": 0.5}, {"value": 0.2, "low": None, "high": None}
    assert guard.figure([record(authenticity=wide)]) == 0.5
    assert guard.figure([record(authenticity=none)]) == 0.2, "without an interval the value itself"
    assert guard.figure([record(authenticity=wide), record(), record(authenticity=none)]) == pytest.approx(0.35)
    assert (guard.excess([record(authenticity=wide), record(authenticity=none)]) or 0.0) > 0
    assert guard.excess([record(fid=1.0)]) is None
    assert guard.excess([]) is None


FLOOR = record("reference", "floor", "validation", authenticity=0.6, coverage=0.9)
OTHERS = [
    record("reference", "floor", "test", authenticity=0.1, coverage=0.1),
    record("reference", "gaussian", "validation", authenticity=0.1, coverage=0.1),
    record("trial", "floor", "validation", authenticity=0.1, coverage=0.1),
]


def test_guards_take_their_limits_from_the_data_and_the_floor_on_validation() -> None:
    guards = constraints_in_force(None, "image", 17, [*OTHERS, FLOOR])
    assert [(g.metric, g.relation, g.end) for g in guards] == [
        ("bits_per_dim", "<=", "value"),
        ("authenticity", ">=", "high"),
        ("coverage", ">=", "high"),
    ]
    assert [g.limit for g in guards] == pytest.approx([math.log2(17), 0.3, 0.45])
    assert all(g.basis for g in guards)


def test_the_users_constraints_join_the_guards_and_an_empty_list_drops_them() -> None:
    own = constraints_in_force(("fid <= 3",), "vector", None, [FLOOR])
    assert [str(c) for c in own] == ["authenticity >= 0.3", "coverage >= 0.45", "fid <= 3"]
    assert constraints_in_force((), "image", 17, [FLOOR]) == ()
    assert [c.metric for c in constraints_in_force(None, "image", 17, OTHERS)] == ["bits_per_dim"]
    assert constraints_in_force(None, "sequence", None, []) == ()


def test_what_has_to_be_measured_is_what_may_be_in_force() -> None:
    assert metrics_in_force(None, has_evaluators=True) == ("authenticity", "coverage")
    assert metrics_in_force(("fid <= 3", "coverage >= 0.5"), has_evaluators=True) == ("authenticity", "coverage", "fid")
    assert metrics_in_force(("nll <= 3",), has_evaluators=False) == ("nll",)
    assert metrics_in_force((), has_evaluators=True) == ()
