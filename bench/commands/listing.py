"""The command `list`: what is known by name, as plain objects. Costs no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import UsageError
from .options import Json
from .output import console, print_json

if TYPE_CHECKING:
    from ...search_spaces import FamilyCard
    from ..registry.plugins import PluginKind


def list_(
    what: Annotated[str, typer.Argument(metavar="families|data|metrics|evaluators|executors", help="What to list.")],
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Python file that registers families, data sets, metrics or executors; may be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List what is known by name."""
    from ..registry import load_entry_points, load_plugin

    for path in plugin or ():
        load_plugin(path)
    kinds: dict[PluginKind | Literal["evaluators"], Callable[[], list[dict[str, Any]]]] = {
        "families": list_families,
        "data": list_data,
        "metrics": list_metrics,
        "evaluators": list_evaluators,
        "executors": list_executors,
    }
    if what not in kinds:
        from ...search_spaces.space import suggest

        raise UsageError(f"cannot list {what!r}{suggest(what, kinds)}")
    kind = next(kind for kind in kinds if kind == what)
    if kind != "evaluators":
        load_entry_points(kind)
    rows = kinds[kind]()
    if as_json:
        print_json(rows)
    else:
        from .display import listing_table

        console().print(listing_table(what, rows))


def list_families() -> list[dict[str, Any]]:
    """Every family; a broken one with its error."""
    from ..registry import families

    rows = []
    for entry in families().values():
        card = entry.card
        rows.append(
            {
                "name": entry.name,
                "group": card.group if card else None,
                "summary": card.summary if card else None,
                "kinds": list(card.kinds) if card else [],
                "conditional": card.conditional if card else None,
                "likelihood": dict(card.likelihood) if card else {},
                "steps": _steps(card) if card else [],
                "error": entry.error,
            }
        )
    return rows


def _steps(card: FamilyCard) -> list[dict[str, Any]]:
    """Steps of a full training at each size that a card states, by kind; a kind without sizes has them for all."""
    rows = [
        {"kind": s.size.kind, "extent": s.size.extent, "examples": s.size.examples, "steps": s.steps}
        for s in sorted(card.sizes, key=lambda s: (s.size.extent, s.size.examples or 0))
        if s.steps
    ]
    plain = [
        {"kind": kind, "extent": None, "examples": None, "steps": steps}
        for kind, steps in card.steps.items()
        if not any(row["kind"] == kind for row in rows)
    ]
    return [*rows, *plain]


def list_data() -> list[dict[str, Any]]:
    """Every data set."""
    from ..data import data_specs, described

    rows: list[dict[str, Any]] = [
        {
            "name": spec.name,
            "kind": spec.kind,
            "shape": list(spec.shape),
            "classes": spec.classes,
            "levels": spec.levels,
            "entropy": spec.entropy,
            "source": spec.source,
            "licence": spec.licence,
            "error": None,
        }
        for spec in data_specs().values()
    ]
    missing = {name: error for name, error in described().items() if isinstance(error, UsageError)}
    rows += [dict.fromkeys(rows[0]) | {"name": name, "error": str(error)} for name, error in missing.items()]
    return _with_broken("data", rows)


def list_metrics() -> list[dict[str, Any]]:
    """Every metric."""
    from ..registry import METRICS

    rows = [
        {
            "name": card.name,
            "group": card.group,
            "direction": card.direction,
            "unit": card.unit,
            "needs": list(card.needs),
            "summary": card.summary,
            "error": None,
        }
        for card in METRICS.values()
    ]
    return _with_broken("metrics", rows)


def list_evaluators() -> list[dict[str, Any]]:
    """Every evaluator."""
    from ..registry import EVALUATORS

    return [
        {
            "name": card.name,
            "kinds": list(card.kinds),
            "classes": card.classes,
            "weights": card.weights,
            "origin": card.origin,
            "summary": card.summary,
            "error": None,
        }
        for card in EVALUATORS.values()
    ]


def list_executors() -> list[dict[str, Any]]:
    """Every executor."""
    from ..scheduling import executors

    rows = [
        {"name": entry.name, "summary": entry.summary, "where": entry.where, "error": None}
        for entry in executors().values()
    ]
    return _with_broken("executors", rows)


def _with_broken(kind: PluginKind, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, and one with a name and an error for each plug-in of a kind that could not be loaded."""
    from ..registry import broken

    empty = dict.fromkeys(rows[0])
    return [*rows, *(empty | {"name": plugin.name, "error": plugin.error} for plugin in broken(kind))]
