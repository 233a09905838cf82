"""Bounds that families break, in a few words: the study's constraints and the guards that hold by default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..bench.runs.constraints import Constraint, violation
from ..bench.runs.records import Record
from .text import figure, number

# What it means that a guard is broken, where the figure does not say it.
_MEANINGS = {"authenticity": "copies train examples: ", "coverage": "misses much of the data: "}
_NAMES = {"bits_per_dim": "bits/dim"}


def on_validation(records: Iterable[Record], finals: Iterable[Record]) -> list[Record]:
    """How the settings that were retrained for the test did on validation: their retrainings for the choice, or, where
    there are none, the trials themselves."""
    chosen = {(r.family, r.repeat, r.trial) for r in finals}
    records = list(records)
    choice = [r for r in records if r.role == "choice" and (r.family, r.repeat, r.trial) in chosen]
    return choice or [r for r in records if r.role == "trial" and (r.family, r.repeat, r.number) in chosen]


def barred(bounds: Sequence[Constraint], records: Sequence[Record]) -> frozenset[str]:
    """Families whose chosen setting breaks a bound on validation: as every other one that they tried did, so that none
    of them can be recommended."""
    finals = [r for r in records if r.role == "final" and r.incumbent == 0]
    families = {r.family for r in finals}
    chosen = {f: on_validation(records, [r for r in finals if r.family == f]) for f in families}
    return frozenset(family for family, found in chosen.items() if violation(bounds, found) > 0)


def flags(bounds: Iterable[Constraint], finals: Sequence[Record], validation: Sequence[Record]) -> list[str]:
    """A sentence for each bound that a family's finals break, or its setting did on validation, and for each bound of
    the user that could not be told of it."""
    found = []
    for bound in bounds:
        judged = [(finals, ""), (validation, " on validation")]
        broken = [(records, where) for records, where in judged if (bound.excess(records) or 0.0) > 0]
        if broken:
            found.append(_sentence(bound, *broken[0]))
        elif not bound.basis and finals and bound.figure(finals) is None:
            reason = next((r.undefined[bound.metric] for r in finals if bound.metric in r.undefined), "not measured")
            found.append(f"{bound} is not known to hold: {reason}")
    return found


def flagged(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The families with flags, best first."""
    return {row["family"]: row["flags"] for row in rows if row["incumbent"] == 0 and row["flags"]}


def bound_text(bound: Mapping[str, Any]) -> str:
    """ "bits_per_dim <= 4.09 (log2 of 17 levels)", from the leaderboard's entry."""
    basis = f" ({bound['basis']})" if bound["basis"] else ""
    return f"{bound['metric']} {bound['relation']} {number(bound['limit'])}{basis}"


def _sentence(bound: Constraint, records: Sequence[Record], where: str) -> str:
    """ "bits/dim 3521 above 4.09 (log2 of 17 levels)"."""
    cells = [r.metrics[bound.metric] for r in records if bound.metric in r.metrics]
    means = {end: _mean([cell.get(end) for cell in cells]) for end in ("value", "low", "high")}
    side = "above" if bound.relation == "<=" else "below"
    meaning = _MEANINGS.get(bound.metric, "") if bound.basis else ""
    basis = bound.basis or "as the study asks"
    shown = means if bound.end != "value" else means | {"low": None, "high": None}
    name = _NAMES.get(bound.metric, bound.metric)
    return f"{meaning}{name} {figure(shown)}{where} {side} {number(bound.limit)} ({basis})"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
