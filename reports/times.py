"""What a run cost: in the unit of its budgets, and in seconds that they count or do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..bench.budget.kinds import Budget, budget_of
from ..bench.runs.records import Record

# Parts of a record's seconds, and of the driver's own, as people know them.
_IN_TRIALS = {"train": "training", "sample": "sampling", "score": "intermediate scores", "measure": "scoring"}
_COUNTED = ("train", "sample", "score")
_OF_DRIVER = {"propose": "proposals", "store": "the Optuna store", "explain": "explanations", "prepare": "evaluators"}


_STAGES = {"tuning": ("trial",), "choice": ("choice",), "test": ("final", "default")}


def costs(records: Sequence[Record], content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each family with trials, in the unit of the budget over all repeats: `budget`, what `tuning`, `choice` and
    `test` took, and their sum, `total`.

    content: the leaderboard's. A kept training that was only sampled again counts where it was trained.
    """
    budget = budget_of(**content["budget"])
    rows = []
    for family in dict.fromkeys(row["family"] for row in content["rows"]):
        mine = [r for r in records if r.family == family]
        if not any(r.role == "trial" for r in mine):
            continue
        spent = {stage: sum(_added(r, budget) for r in mine if r.role in roles) for stage, roles in _STAGES.items()}
        amount = budget.amount * content["repeats"]
        rows.append({"family": family, "budget": amount, **spent, "total": sum(spent.values())})
    return rows


def _added(record: Record, budget: Budget) -> float:
    """What a record cost; a retraining that found its training kept took none."""
    found = record.role != "trial" and not record.seconds.get("train") and bool(record.seconds.get("kept"))
    return record.cost - found * budget.training_cost(record.cost, record.operations, record.seconds)


def times(records: Sequence[Record], comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of computing, summed over workers: `trials`, `choice`, `finals` (with the baselines) and `driver`, each a
    list of (what, seconds, whether a budget counts it); `outside`, the share of all that no budget counts.

    The choice and the finals follow the same rule for every family and are in no budget.
    """
    of = {
        "trials": [r for r in records if r.role == "trial"],
        "choice": [r for r in records if r.role == "choice"],
        "finals": [r for r in records if r.role not in ("trial", "choice")],
    }
    found: dict[str, Any] = {
        group: [
            (words, seconds, group == "trials" and part in _COUNTED)
            for part, words in _IN_TRIALS.items()
            if (seconds := sum(r.seconds.get(part, 0.0) for r in members)) > 0.0
        ]
        for group, members in of.items()
    }
    driver = comparison.get("overhead") or {}
    found["driver"] = [(words, driver[part], False) for part, words in _OF_DRIVER.items() if driver.get(part)]
    tuning = [*found["trials"], *found["driver"]]
    total = sum(seconds for _, seconds, _ in tuning)
    found["outside"] = sum(seconds for _, seconds, counted in tuning if not counted) / total if total else 0.0
    return found
