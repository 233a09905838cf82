"""What the reuse of trainings has saved: trainings, continuations and resampled trials of each family's studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..bench.budget.kinds import Budget, budget_of
from ..bench.runs.records import Record


def moves(records: Sequence[Record], content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a family whose trials started from kept trainings, or trained in part; costs in the budget's unit.

    trials, train, partial (those of `train` planned with less than a full training), stopped (early, by a
    rule), continue, resample: numbers of trials. spent: what they cost. without_reuse: what they
    would have cost, had each trained its model from scratch.
    """
    rows = []
    budget = budget_of(**content["budget"])
    for family in dict.fromkeys(row["family"] for row in content["rows"]):
        trials = {(r.repeat, r.number): r for r in records if r.role == "trial" and r.family == family}
        made = Counter(r.move for r in trials.values())
        stopped = sum(was_stopped(r) for r in trials.values())
        partial = sum(r.move == "train" and r.fidelity < 1.0 and not was_stopped(r) for r in trials.values())
        if set(made) <= {"train"} and not partial and not stopped:
            continue
        rows.append(
            {
                "family": family,
                "trials": len(trials),
                "partial": partial,
                "stopped": stopped,
                "spent": sum(r.cost for r in trials.values()),
                "without_reuse": sum(cost_without_reuse(r, trials, budget) for r in trials.values()),
                **{move: made[move] for move in ("train", "continue", "resample")},
            }
        )
    return rows


def was_stopped(record: Record) -> bool:
    """Whether a rule stopped a trial's training early; a deadline leaves no score."""
    return record.state == "stopped" and record.objectives is not None


def cost_without_reuse(record: Record, trials: Mapping[tuple[int, int], Record], budget: Budget) -> float:
    """What a trial would have cost, had it trained its model from scratch; trials by (repeat, number)."""
    root = record
    while root.parent is not None:
        root = trials[record.repeat, root.parent]
    whole = _training_cost(root, budget) / root.fidelity
    return record.cost - _training_cost(record, budget) + record.fidelity * whole


def _training_cost(record: Record, budget: Budget) -> float:
    return budget.training_cost(record.cost, record.operations, record.seconds)
