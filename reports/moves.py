"""What the reuse of trainings has saved: trainings, continuations and resampled trials of each family's studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..bench.runs.records import Record


def moves(records: Sequence[Record], content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a family whose trials started from kept trainings, or trained in part; costs in the budget's unit.

    trials, train, partial (those of `train` planned with less than a full training), stopped (early, by a
    rule), continue, resample: numbers of trials. spent: what they cost. without_reuse: what they
    would have cost, had each trained its model from scratch.
    """
    rows = []
    for family in dict.fromkeys(row["family"] for row in content["rows"]):
        trials = {(r.repeat, r.number): r for r in records if r.role == "trial" and r.family == family}
        made = Counter(r.move for r in trials.values())
        stopped = sum(was_stopped(r) for r in trials.values())
        partial = sum(r.move == "train" and r.fidelity < 1.0 and not was_stopped(r) for r in trials.values())
        if set(made) <= {"train"} and not partial and not stopped:
            continue
        kind = content["budget"]["kind"]
        rows.append(
            {
                "family": family,
                "trials": len(trials),
                "partial": partial,
                "stopped": stopped,
                "spent": sum(r.cost for r in trials.values()),
                "without_reuse": sum(cost_without_reuse(r, trials, kind) for r in trials.values()),
                **{move: made[move] for move in ("train", "continue", "resample")},
            }
        )
    return rows


def was_stopped(record: Record) -> bool:
    """Whether a rule stopped a trial's training early; a deadline leaves no score."""
    return record.state == "stopped" and record.objectives is not None


def cost_without_reuse(record: Record, trials: Mapping[tuple[int, int], Record], kind: str) -> float:
    """What a trial would have cost, had it trained its model from scratch; trials by (repeat, number)."""
    root = record
    while root.parent is not None:
        root = trials[record.repeat, root.parent]
    whole = _training_cost(root, kind) / root.fidelity
    return record.cost - _training_cost(record, kind) + record.fidelity * whole


def _training_cost(record: Record, kind: str) -> float:
    """The part of a trial's cost that went into training."""
    if kind == "seconds":
        return max(record.cost - record.seconds.get("sample", 0.0), 0.0)
    train, total = record.operations.get("train", 0.0), sum(record.operations.values())
    return record.cost * train / total if total else record.cost
