"""Where a run's time went, and what its trials would have cost without kept trainings, as the report tells it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gentune.bench.runs.records import Record
from gentune.reports.budget_plots import budget_plots
from gentune.reports.moves import moves
from gentune.reports.times import costs, times

CONTENT: dict[str, Any] = {
    "rows": [{"family": "toy"}],
    "objective": ["fid"],
    "budget": {"kind": "trainings", "amount": 4.0},
}


def trial(number: int, value: float, **fields: Any) -> Record:
    known: dict[str, Any] = {
        "role": "trial",
        "family": "toy",
        "number": number,
        "seed": number,
        "split": "validation",
        "state": "complete",
        "params": {"rate": 0.1 * (number + 1)},
        "objectives": (value,),
        "cost": 1.0,
        "operations": {"train": 90.0, "sample": 10.0},
        "seconds": {"train": 9.0, "kept": 0.0, "sample": 1.0, "measure": 2.0},
    }
    return Record(**{**known, **fields})


RESAMPLED = trial(1, 4.0, move="resample", parent=0, cost=0.1, operations={"train": 0.0, "sample": 10.0})
RECORDS = [
    trial(0, 5.0),
    replace(RESAMPLED, seconds={"train": 0.0, "kept": 9.0, "sample": 1.0, "measure": 2.0}),
    trial(
        2,
        30.0,
        state="stopped",
        fidelity=0.125,
        cost=0.225,
        operations={"train": 11.25, "sample": 10.0, "score": 1.25},
        seconds={"train": 1.0, "kept": 0.0, "sample": 1.0, "score": 0.5, "measure": 2.0},
    ),
    trial(0, 5.5, role="final", split="test"),
]


def test_each_second_is_counted_where_it_was_spent() -> None:
    found = times(RECORDS, {"overhead": {"propose": 3.0, "store": 0.5}})
    assert found["trials"] == [
        ("training", 10.0, True),  # without what was kept
        ("sampling", 3.0, True),
        ("intermediate scores", 0.5, True),
        ("scoring", 6.0, False),
    ]
    assert found["driver"] == [("proposals", 3.0, False), ("the Optuna store", 0.5, False)]
    assert [(what, seconds) for what, seconds, _ in found["finals"]] == [
        ("training", 9.0),
        ("sampling", 1.0),
        ("scoring", 2.0),
    ]
    assert not any(counted for _, _, counted in found["finals"])
    assert found["outside"] == pytest.approx((6.0 + 3.5) / (13.5 + 6.0 + 3.5))
    assert found["choice"] == []
    retrained = times([trial(0, 5.0, role="choice", trial=0), *RECORDS], {})
    assert retrained["choice"] == [("training", 9.0, False), ("sampling", 1.0, False), ("scoring", 2.0, False)]
    assert (retrained["finals"], retrained["trials"]) == (found["finals"], found["trials"])
    assert times([], {})["outside"] == 0.0


def test_the_whole_cost_stands_next_to_the_budget() -> None:
    """Two settings that differ in sampling alone: the second retraining of each seed pays for its samples."""
    shared = {"train": 0.0, "kept": 9.0, "sample": 1.0, "measure": 2.0}
    choices = [trial(0, 5.0, role="choice", trial=0), trial(0, 4.0, role="choice", trial=1, seconds=shared)]
    others = [trial(0, 5.0, role="default", split="test"), trial(0, 5.0, role="reference", family="gaussian")]
    (row,) = costs([*RECORDS, *choices, *others], {**CONTENT, "repeats": 2})
    assert row == {
        "family": "toy",
        "budget": 8.0,
        "tuning": pytest.approx(1.325),
        "choice": pytest.approx(1.1),
        "test": pytest.approx(2.0),
        "total": pytest.approx(4.425),
    }


def test_stopped_trials_are_told_apart() -> None:
    (row,) = moves(RECORDS, CONTENT)
    assert {k: row[k] for k in ("trials", "train", "partial", "stopped", "resample", "continue")} == {
        "trials": 3,
        "train": 2,
        "partial": 0,
        "stopped": 1,
        "resample": 1,
        "continue": 0,
    }
    assert row["spent"] == pytest.approx(1.325)
    assert row["without_reuse"] == pytest.approx(1.325 + 0.9)


def test_score_against_cost_is_drawn_with_and_without_what_was_kept() -> None:
    ((family, figure),) = budget_plots(CONTENT, RECORDS, {"toy": ("#000000", "circle")})
    assert family == "toy"
    lines = {trace["name"]: trace for trace in figure["data"] if trace.get("mode") == "lines"}
    assert lines["best so far"]["x"] == pytest.approx([1.0, 1.1, 1.325, 1.325])
    assert lines["without reuse"]["x"] == pytest.approx([1.0, 2.0, 2.225, 2.225])
    assert lines["without reuse"]["y"] == lines["best so far"]["y"] == [5.0, 4.0, 4.0, 4.0]
    unshared = [replace(r, move="train", parent=None, cost=1.0, operations={"train": 90.0}) for r in RECORDS[:2]]
    ((_, plain),) = budget_plots(CONTENT, unshared, {"toy": ("#000000", "circle")})
    assert "without reuse" not in {trace.get("name") for trace in plain["data"]}
