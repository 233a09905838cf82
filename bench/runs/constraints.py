"""Constraints: what a chosen setting has to keep besides being good, and the guards that hold by default.

Free of torch. A constraint bounds a metric from one side; a guard bounds it by what the data allow. Limits that rest on
real data are those of the floor on the validation split: test examples scored as if they were samples.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ...models.data_spec import DataKind
from ..errors import UsageError
from .records import Record

Relation = Literal["<=", ">="]

OF_REAL_DATA = ("authenticity", "coverage")  # metrics whose guards compare samples with held-out real data
_SHARE_OF_REAL = 0.5  # of its value that the upper end of a family's interval has to reach

_FORM = re.compile(r"\s*(?P<metric>[A-Za-z_]\w*)\s*(?P<relation><=|>=)\s*(?P<limit>[^\s<>=]+)\s*")


@dataclass(frozen=True)
class Constraint:
    """A bound on one metric.

    end: which end of the metric's 95% interval is bounded, or its value; without an interval it is the value.
    basis: what the limit of a guard rests on, in words; "" where the user gave it.
    """

    metric: str
    relation: Relation
    limit: float
    end: Literal["value", "low", "high"] = "value"
    basis: str = ""

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {_shortest(self.limit)}"

    def figure(self, records: Iterable[Record]) -> float | None:
        """What is compared with the limit: a mean over records; None where none of them has the metric."""
        found = []
        for record in records:
            bounds = record.metrics.get(self.metric, {})
            figure = bounds.get(self.end)
            figure = bounds.get("value") if figure is None else figure
            if figure is not None:
                found.append(figure)
        return math.fsum(found) / len(found) if found else None

    def excess(self, records: Iterable[Record]) -> float | None:
        """How far records are beyond the limit, in [-1, 1]: above 0 it is broken; None where it cannot be told.

        (v - X) / (|v| + |X|) of figure v and limit X, the other way round for a lower bound: tanh(½ log(v / X)) where
        both are positive. It has no unit, knows figures of 0 and below, and levels off where a gross violation would
        hide the border.
        """
        figure = self.figure(records)
        if figure is None:
            return None
        size = abs(figure) + abs(self.limit)
        beyond = (figure - self.limit) / size if size else 0.0
        return beyond if self.relation == "<=" else -beyond


def parse_constraint(text: str) -> Constraint:
    """A constraint from `METRIC <= X` or `METRIC >= X`. Raises UsageError for any other text."""
    match = _FORM.fullmatch(text)
    try:
        limit = float(match["limit"]) if match else math.nan
    except ValueError:
        limit = math.nan
    if match is None or not math.isfinite(limit):
        raise UsageError(f"wanted METRIC <= X or METRIC >= X, not {text!r}")
    return Constraint(match["metric"], "<=" if match["relation"] == "<=" else ">=", limit)


def metrics_in_force(given: Sequence[str] | None, *, has_evaluators: bool) -> tuple[str, ...]:
    """The metrics that trials have to be measured by, whatever they cost, so that constraints can be judged.

    given: as for `constraints_in_force`.
    """
    guarded = OF_REAL_DATA if has_evaluators and given != () else ()
    return tuple(dict.fromkeys([*guarded, *(parse_constraint(text).metric for text in given or ())]))


def constraints_in_force(
    given: Sequence[str] | None, kind: DataKind, levels: int | None, records: Iterable[Record]
) -> tuple[Constraint, ...]:
    """The constraints of a run, guards first.

    given: the study's `constraints`; None: the guards alone; empty: nothing, not even the guards.
    kind, levels: of the data. records: of the run, among them the floor on the validation split.
    """
    if given is not None and not given:
        return ()
    floor = next((r for r in records if (r.role, r.family, r.split) == ("reference", "floor", "validation")), None)
    own = (parse_constraint(text) for text in given or ())
    return (*_guards(kind, levels, floor), *own)


def excesses(constraints: Iterable[Constraint], records: Sequence[Record]) -> dict[str, float]:
    """How far records are beyond each constraint that can be told of them, by its text."""
    found = ((str(constraint), constraint.excess(records)) for constraint in constraints)
    return {name: excess for name, excess in found if excess is not None}


def violation(constraints: Iterable[Constraint], records: Sequence[Record]) -> float:
    """By how much records together break constraints; 0 where they break none that can be told of them."""
    return math.fsum(excess for excess in excesses(constraints, records).values() if excess > 0)


def _guards(kind: DataKind, levels: int | None, floor: Record | None) -> Iterable[Constraint]:
    """What holds for every study.

    More bits than an equal chance for each level takes: the density has collapsed onto single examples or leaves some
    out. Authenticity: copies of train examples score well on quality metrics (Alaa et al., arXiv:2102.08921, section
    4). Coverage: so do a few good examples that are drawn again and again.
    """
    if kind == "image" and levels:
        yield Constraint("bits_per_dim", "<=", math.log2(levels), basis=f"log2 of {levels} levels")
    for name in OF_REAL_DATA:
        real = None if floor is None else floor.metrics.get(name, {}).get("value")
        if real is not None:
            basis = f"half of held-out data's {round(real, 2):g}"
            yield Constraint(name, ">=", _SHARE_OF_REAL * real, end="high", basis=basis)


def _shortest(value: float) -> str:
    """A number's shortest text that reads as the same number."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
