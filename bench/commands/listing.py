"""What is known by name, as plain objects. Costs no torch."""

from __future__ import annotations

from typing import Any

from ..data import data_specs
from ..registry import METRICS, families


def list_families() -> list[dict[str, Any]]:
    """Every family; a broken one with its error."""
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
