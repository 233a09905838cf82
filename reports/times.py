"""Where a run's time went: what its budgets count, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..bench.runs.records import Record

# Parts of a record's seconds, and of the driver's own, as people know them.
_IN_TRIALS = {"train": "training", "sample": "sampling", "score": "intermediate scores", "measure": "scoring"}
_COUNTED = ("train", "sample", "score")
_OF_DRIVER = {"propose": "proposals", "store": "the Optuna store", "explain": "explanations", "prepare": "evaluators"}


def times(records: Sequence[Record], comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of computing, summed over workers: `trials`, `finals` (with the baselines) and `driver`, each a list of
    (what, seconds, whether a budget counts it); `outside`, the share of all that no budget counts.

    Finals are the same for every family and in no budget.
    """
    of = {
        "trials": [r for r in records if r.role == "trial"],
        "finals": [r for r in records if r.role != "trial"],
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
