"""Artifacts of the first finalists: nearest train examples, outlier detection, completions, scores over guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from ..bench.runs.records import Record
from ..bench.runs.run_folder import RunFolder
from .formats import row_name
from .pictures import load_png
from .plots import as_json

_OVER_GUIDANCE = (("condition_accuracy", "solid", "circle"), ("recall", "dash", "circle-open"))


def first_finals(records: Sequence[Record], content: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Record]]:
    """Each row of the leaderboard with its first finalist, where it has one."""
    finals = [r for r in records if r.role == "final" and r.number == 0 and r.repeat == 0 and r.state == "complete"]
    return [
        (row, record)
        for row in content["rows"]
        for record in finals
        if (record.family, record.incumbent) == (row["family"], row["incumbent"])
    ]


def pictures(
    folder: RunFolder,
    part: str,
    finals: Sequence[tuple[Mapping[str, Any], Record]],
    styles: Mapping[str, tuple[str, str]],
) -> list[dict[str, Any]]:
    """Pictures that finalists left in a folder of artifacts: "neighbours", the samples nearest to the train set above
    their nearest train examples; "completions", test images, the same with hidden pixels, and completed.
    """
    found = []
    for row, record in finals:
        image = load_png(folder.artifact(part, f"{record.name}.png"))
        if image is not None:
            found.append({"title": row_name(row), "colour": styles[row["family"]][0], "image": image})
    return found


def texts(
    folder: RunFolder, finals: Sequence[tuple[Mapping[str, Any], Record]], styles: Mapping[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    """Pictures of samples beside their texts, and the shares of samples that show each attribute as it was asked for.

    shares: None where texts have no known meanings.
    """
    found = []
    for row, record in finals:
        for entry in pictures(folder, "texts", [(row, record)], styles):
            content = folder.read_json(f"texts/{record.name}.json") or {}
            found.append({**entry, "texts": content.get("texts", []), "shares": content.get("shares")})
    return found


def outliers(
    folder: RunFolder, finals: Sequence[tuple[Mapping[str, Any], Record]], styles: Mapping[str, tuple[str, str]]
) -> dict[str, Any] | None:
    """The sets of outliers; for each family which score detects them, and how well. None without any."""
    found = [(row, folder.read_json(f"outliers/{record.name}.json")) for row, record in finals]
    there = [(row, content) for row, content in found if content is not None]
    names = list(dict.fromkeys(_outliers(entry) for _, content in there for entry in content["sets"]))
    rows = []
    for row, content in there:
        scored = {_outliers(entry): entry for entry in content["sets"]}
        rows.append(
            {
                "title": row_name(row),
                "colour": styles[row["family"]][0],
                "by": content["by"],
                "cells": [scored.get(name) for name in names],
            }
        )
    return {"sets": names, "rows": rows} if rows else None


def _outliers(entry: Mapping[str, Any]) -> str:
    """The name of a set; earlier runs say "foreign"."""
    return str(entry.get("outliers", entry.get("foreign")))


def guidance(
    folder: RunFolder, finals: Sequence[tuple[Mapping[str, Any], Record]], styles: Mapping[str, tuple[str, str]]
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Rows of scores over the guidance scale, and a plot of accuracy (solid) and recall (dashed); None without any."""
    rows = []
    drawn = go.Figure()
    for row, record in finals:
        sweep = folder.read_json(f"guidance/{record.name}.json") or []
        colour = styles[row["family"]][0]
        rows += [{"title": row_name(row), "colour": colour, **point} for point in sweep]
        for metric, dash, symbol in _OVER_GUIDANCE:
            there = [point for point in sweep if metric in point]
            drawn.add_scatter(
                x=[point["guidance_scale"] for point in there],
                y=[point[metric]["value"] for point in there],
                mode="lines+markers",
                name=f"{row_name(row)}: {metric}",
                line={"color": colour, "dash": dash, "width": 2},
                marker={"size": 9, "symbol": symbol},
                hovertemplate=f"%{{y:.3f}} at scale %{{x}}<extra>{metric.replace('_', ' ')}</extra>",
            )
    if not rows:
        return [], None
    drawn.update_layout(
        xaxis={"title": {"text": "guidance scale"}},
        yaxis={"title": {"text": "share"}},
        height=320,
        margin={"l": 60, "r": 10, "t": 10, "b": 50},
    )
    return rows, as_json(drawn)
