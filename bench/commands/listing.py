"""The command `list`: what is known by name, as plain objects. Costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from .options import Json
from .output import console, print_json


def list_(
    what: Annotated[str, typer.Argument(metavar="families|data|metrics", help="What to list.")],
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Python file that registers families; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List what is known by name."""
    from ..registry import load_plugin

    for path in plugin or ():
        load_plugin(path)
    kinds = {"families": list_families, "data": list_data, "metrics": list_metrics}
    if what not in kinds:
        from ...search_spaces.space import suggest

        raise UsageError(f"cannot list {what!r}{suggest(what, kinds)}")
    rows = kinds[what]()
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
                "error": entry.error,
            }
        )
    return rows


def list_data() -> list[dict[str, Any]]:
    """Every data set."""
    from ..data import data_specs

    return [
        {
            "name": spec.name,
            "kind": spec.kind,
            "shape": list(spec.shape),
            "classes": spec.classes,
            "levels": spec.levels,
            "entropy": spec.entropy,
            "source": spec.source,
            "licence": spec.licence,
        }
        for spec in data_specs().values()
    ]


def list_metrics() -> list[dict[str, Any]]:
    """Every metric."""
    from ..registry import METRICS

    return [
        {
            "name": card.name,
            "group": card.group,
            "direction": card.direction,
            "unit": card.unit,
            "needs": list(card.needs),
            "summary": card.summary,
        }
        for card in METRICS.values()
    ]
