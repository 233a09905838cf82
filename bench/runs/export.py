"""A run's records as plain objects: the same whether the run is going on, has finished, or has crashed."""

from __future__ import annotations

from typing import Any

from .records import Record
from .run_folder import RunFolder


def export(folder: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """Trials and finalists, one object each; retries of one trial are one row.

    Finalists are all that was trained besides the trials: for the choice ("choice", on validation), for the test
    ("final" and "default"), and the references.
    """
    return {
        "trials": [_trial(record) for record in folder.records("trial")],
        "finalists": [_final(record) for record in folder.records("choice", "final", "default", "reference")],
    }


def _trial(record: Record) -> dict[str, Any]:
    return {
        "family": record.family,
        "number": record.number,
        "repeat": record.repeat,
        "state": record.state,
        "move": record.move,
        "parent": record.parent,
        "fidelity": record.fidelity,
        "params": dict(record.params),
        "metrics": {name: dict(figure) for name, figure in record.metrics.items()},
        "cost": record.cost,
        "seconds": record.seconds_spent,
        "seed": record.seed,
        "reason": record.reason,
    }


def _final(record: Record) -> dict[str, Any]:
    row = {"role": record.role, **_trial(record)}
    row["split"] = record.split
    row["incumbent"] = record.incumbent
    row["trial"] = record.trial
    row["second_metrics"] = {name: dict(figure) for name, figure in record.second_metrics.items()}
    return row
