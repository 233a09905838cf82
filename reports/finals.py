"""The finals of each row of the table as numbers: which values stand for a family, and which family is named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..bench.metrics.base import MetricCard
from ..bench.metrics.catalogue import METRICS
from ..bench.runs.records import Record
from .inference import Comparison, compare


def card(name: str) -> MetricCard:
    """The metric's card; one without direction for a metric that no catalogue knows."""
    return METRICS.get(name) or MetricCard(name, "other", "none", "", (), "", "")


def lower_is_better(name: str) -> bool:
    """False for metrics that rise with quality; metrics without direction count as falling."""
    return card(name).direction != "higher"


def natural_range(name: str) -> tuple[float, float]:
    """What a metric can be at all: shares lie between 0 and 1."""
    return (0.0, 1.0) if card(name).unit.split()[:1] == ["share"] else (-np.inf, np.inf)


def value_of(record: Record, metric: str, *, second: bool = False) -> float | None:
    """A complete record's value of a metric, through the primary or the second evaluator; None without one."""
    figure = (record.second_metrics if second else record.metrics).get(metric)
    if record.state != "complete" or figure is None or figure["value"] is None:
        return None
    return float(figure["value"])


def repetitions(
    records: Iterable[Record], metric: str, *, second: bool = False, by_repeat: bool, failed: float | None = None
) -> list[float]:
    """The independent values of a metric: of each re-training, or the mean of each repeat of the whole tuning.

    failed: stands for re-trainings that failed; None: they are left out.
    """
    values: dict[int, list[float]] = {}
    for record in records:
        value = failed if record.state == "failed" else value_of(record, metric, second=second)
        if value is not None:
            values.setdefault(record.repeat, []).append(value)
    if by_repeat:
        return [float(np.mean(v)) for _, v in sorted(values.items())]
    return [v for _, found in sorted(values.items()) for v in found]


def worst_value(records: Iterable[Record], metric: str, *, second: bool = False) -> float | None:
    """The worst value among records, which a failed re-training is given: a family that fails is not better for it.

    None without values, and for metrics that say nothing of a failed one: costs, and those without direction.
    """
    if card(metric).direction == "none" or card(metric).group in ("cost", "stability"):
        return None
    values = [v for r in records if (v := value_of(r, metric, second=second)) is not None]
    return (max if lower_is_better(metric) else min)(values, default=None)


@dataclass(frozen=True)
class Finals:
    """The re-trainings behind each row of the table. Rows have keys "family/incumbent".

    names: family and incumbent of each row. records: its re-trainings.
    by_repeat: whether the repeats of the tuning, not the re-trainings, are the independent repetitions.
    """

    names: Mapping[str, tuple[str, int]]
    records: Mapping[str, list[Record]]
    by_repeat: bool

    @classmethod
    def of(cls, records: Sequence[Record], families: Sequence[str], *, by_repeat: bool) -> Finals:
        """The finals among records; every one of `families` has a row."""
        finals = [r for r in records if r.role == "final"]
        rows = list(dict.fromkeys([(f, 0) for f in families] + [(r.family, r.incumbent) for r in finals]))
        names = {f"{f}/{i}": (f, i) for f, i in rows}
        of = {key: [r for r in finals if (r.family, r.incumbent) == where] for key, where in names.items()}
        return cls(names, of, by_repeat)

    def keys(self, *, first: bool) -> list[str]:
        """Rows of the families' first incumbents, or the further points of their Pareto fronts."""
        return [key for key, (_, incumbent) in self.names.items() if (incumbent == 0) == first]

    def values(self, key: str, metric: str, second: bool = False) -> list[float]:
        """The row's values; failed finals have the worst value of the families' first incumbents.

        Empty for a row without any value of its own.
        """
        own = repetitions(self.records[key], metric, second=second, by_repeat=self.by_repeat)
        board = [r for k in self.keys(first=True) for r in self.records[k]]
        worst = worst_value(board, metric, second=second)
        if not own or worst is None:
            return own
        return repetitions(self.records[key], metric, second=second, by_repeat=self.by_repeat, failed=worst)

    def testable(self, keys: Sequence[str], metric: str, second: bool = False) -> list[str]:
        """Those of some rows that have at least two independent values without the failed ones."""
        return [
            k for k in keys if len(repetitions(self.records[k], metric, second=second, by_repeat=self.by_repeat)) > 1
        ]

    def tests(self, keys: Sequence[str], second: bool) -> dict[str, Comparison]:
        """The tests of some rows against one another, for each metric that any of them has."""
        found = {m for key in keys for r in self.records[key] for m in (r.second_metrics if second else r.metrics)}
        return {
            m: compare(
                {k: self.values(k, m, second) for k in keys},
                lower_is_better=lower_is_better(m),
                log_scale=card(m).log_scale,
                within=natural_range(m),
                pairs=list(combinations(self.testable(keys, m, second), 2)),
            )
            for m in sorted(found)
        }


def name_candidate(records: Sequence[Record], finals: Finals, metric: str, barred: Collection[str] = ()) -> str | None:
    """The family whose chosen setting did best on validation, among those with at least two finals.

    By the mean over re-trainings for the choice, of each repeat and then over repeats, a failed one with the worst
    value among all of them; where some family has none, for all families by the trial of the chosen setting.
    barred: families that cannot be named, such as those that break a constraint. None where nothing is known.
    """
    keys = [k for k in finals.testable(finals.keys(first=True), metric) if finals.names[k][0] not in barred]
    choices = [r for r in records if r.role == "choice"]
    worst = worst_value(choices, metric)
    scores: dict[str, float | None] = {}
    for role in ("choice", "trial"):
        scores = {
            finals.names[k][0]: _on_validation(
                [r for r in records if r.role == role], finals.records[k], metric, worst if role == "choice" else None
            )
            for k in keys
        }
        if None not in scores.values():
            break
    known = {family: score for family, score in scores.items() if score is not None}
    sign = 1.0 if lower_is_better(metric) else -1.0
    return min(known, key=lambda family: (sign * known[family], family), default=None)


def _on_validation(
    records: Sequence[Record], finals: Sequence[Record], metric: str, worst: float | None
) -> float | None:
    """The mean over repeats of what the setting that was retrained scored among `records`; None if one is missing."""
    means = []
    for repeat in sorted({r.repeat for r in finals}):
        final = next(r for r in finals if r.repeat == repeat)
        same = [
            r
            for r in records
            if (r.family, r.repeat) == (final.family, repeat)
            and (r.trial if r.role == "choice" else r.number) == final.trial
        ]
        values = repetitions(same, metric, by_repeat=False, failed=worst)
        if not values:
            return None
        means.append(float(np.mean(values)))
    return float(np.mean(means))
