"""What trials and floors write into their records alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ..data import DataSet, Split
from ..metrics import Measurement, MetricValue
from ..runs.records import Figure, Record
from ..scoring.references import evaluators_by_role
from .jobs import FloorJob, TrialJob


def with_scores(record: Record, first: Measurement, second: Measurement | None) -> Record:
    """The record with what was measured through the first evaluator and, where there is one, the second."""
    record = replace(record, metrics=_figures(first.values), undefined=dict(first.undefined))
    if second is None:
        return record
    return replace(record, second_metrics=_figures(second.values), second_undefined=dict(second.undefined))


def _figures(values: Mapping[str, MetricValue]) -> dict[str, Figure]:
    return {name: {"value": v.value, "low": v.low, "high": v.high} for name, v in values.items()}


def evaluators_of(data: DataSet, job: TrialJob | FloorJob, *, second: bool) -> dict[str, dict[str, Any]]:
    """By role, which evaluators a record's scores are through."""
    roles = ("primary", "second") if second else ("primary",)
    found = evaluators_by_role(data, job.cache, job.evaluators)
    return {role: {"name": e.name, "fingerprint": e.fingerprint} for role, e in found.items() if role in roles}


def split_named(name: str) -> Split:
    """A split's name as what it is."""
    assert name in ("train", "validation", "test"), name
    return name  # type: ignore[return-value]


def now() -> str:
    """As records have times."""
    return datetime.now(UTC).isoformat(timespec="seconds")
