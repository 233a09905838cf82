"""Estimates of all metrics of one row, and why others have none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..bench.runs.records import Record
from .finals import card, natural_range, repetitions, worst_value
from .inference import Estimate, compare


@dataclass(frozen=True)
class Scores:
    """Estimates of every metric that has values, and the reason for every metric that is not defined."""

    metrics: Mapping[str, Estimate]
    undefined: Mapping[str, str]


def reasons(records: Iterable[Record], present: Iterable[str], *, second: bool) -> dict[str, str]:
    """Why metrics without any value are not defined."""
    there = set(present)
    found: dict[str, str] = {}
    for record in records:
        for metric, reason in (record.second_undefined if second else record.undefined).items():
            if metric not in there:
                found.setdefault(metric, reason)
    return found


def alone(records: Sequence[Record], *, second: bool, board: Sequence[Record] = ()) -> Scores:
    """Scores of repetitions that are compared with nobody; a single reference keeps its own interval.

    board: failed repetitions have the worst value of these; without any, they are left out.
    """
    metrics: dict[str, Estimate] = {}
    for metric in dict.fromkeys(m for r in records for m in (r.second_metrics if second else r.metrics)):
        worst = worst_value(board, metric, second=second)
        values = repetitions(records, metric, second=second, by_repeat=False, failed=worst)
        if not values:
            continue
        one = compare({"": values}, log_scale=card(metric).log_scale, within=natural_range(metric))
        metrics[metric] = one.estimates[""]
        if len(values) == 1 and records[0].role == "reference":
            own = next(f[metric] for r in records if metric in (f := r.second_metrics if second else r.metrics))
            metrics[metric] = Estimate(values[0], own.get("low"), own.get("high"), 1)
    return Scores(metrics, reasons(records, metrics, second=second))
