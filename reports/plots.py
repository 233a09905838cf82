"""Figures for the page, as Plotly JSON that the page draws in its own theme and with its own keys.

Every family keeps one colour (and, beyond seven families, one marker) throughout.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from .finals import lower_is_better
from .formats import row_name
from .text import figure

# Okabe and Ito's palette without black and yellow, which vanish on one of the two backgrounds, and with a grey.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A")
MARKERS = ("circle", "diamond", "square", "triangle-up", "star", "hexagon")
NEUTRAL = "#8A8A8A"


def family_styles(families: Sequence[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) of each family, by its place in the study."""
    return {f: (PALETTE[i % len(PALETTE)], MARKERS[i // len(PALETTE) % len(MARKERS)]) for i, f in enumerate(families)}


def objective_plot(content: Mapping[str, Any], styles: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Test score of every ranked family with its interval, through both evaluators, with the references."""
    metric = content["objective"][0]
    rows = [r for r in content["rows"] if r["incumbent"] == 0 and "value" in r["metrics"].get(metric, {})]
    names = [r["family"] for r in rows]
    drawn = go.Figure()
    values: list[float] = []
    for part, label, symbol in (
        ("metrics", "test score", None),
        ("second_metrics", "through the second evaluator", "-open"),
    ):
        there = [r for r in rows if "value" in r[part].get(metric, {})]
        if not there:
            continue
        cells = [r[part][metric] for r in there]
        values += [v for c in cells for v in (c["value"], c["low"], c["high"]) if v is not None]
        colours = [styles[r["family"]][0] for r in there]
        offset = 0.0 if symbol is None else 0.22
        y = [names.index(r["family"]) + offset for r in there]
        for cell, place, colour in zip(cells, y, colours, strict=True):
            if cell["low"] is not None:
                drawn.add_scatter(
                    x=[cell["low"], cell["high"]],
                    y=[place, place],
                    mode="lines",
                    line={"color": colour, "width": 3 if symbol is None else 1.5},
                    hoverinfo="skip",
                )
        drawn.add_scatter(
            x=[c["value"] for c in cells],
            y=y,
            mode="markers",
            name=label,
            text=[f"{r['family']}: {figure(c)}" for r, c in zip(there, cells, strict=True)],
            hovertemplate=f"%{{text}}<extra>{label}</extra>",
            marker={
                "color": colours,
                "size": 11 if symbol is None else 9,
                "symbol": [styles[r["family"]][1] + (symbol or "") for r in there],
                "line": {"width": 0 if symbol is None else 1.5},
            },
        )
    references = [r for r in content["references"] if "value" in r["metrics"].get(metric, {})]
    for reference, dash in zip(references, ("dash", "dot", "solid"), strict=False):
        cell, name = reference["metrics"][metric], row_name(reference)
        values.append(cell["value"])
        drawn.add_scatter(
            x=[cell["value"]] * 2,
            y=[-0.6, len(names) - 0.4],
            mode="lines",
            name=name,
            line={"color": NEUTRAL, "dash": dash, "width": 1.5},
            hovertemplate=f"{name}: {figure(cell)}<extra></extra>",
        )
    _lay_out_rows(drawn, names, _axis(content, metric), values, row_height=38)
    return as_json(drawn)


def default_plot(content: Mapping[str, Any], styles: Mapping[str, tuple[str, str]]) -> dict[str, Any] | None:
    """Each family's default setting (hollow) against its tuned one (filled), both on the test split."""
    metric = content["objective"][0]
    rows = [
        r
        for r in content["rows"]
        if r["incumbent"] == 0 and "value" in r["metrics"].get(metric, {}) and "value" in r["default"].get(metric, {})
    ]
    if not rows:
        return None
    names = [r["family"] for r in rows]
    drawn = go.Figure()
    values = []
    for place, row in enumerate(rows):
        tuned, default = row["metrics"][metric], row["default"][metric]
        values += [tuned["value"], default["value"]]
        drawn.add_scatter(
            x=[default["value"], tuned["value"]],
            y=[place, place],
            mode="lines",
            line={"color": styles[row["family"]][0], "width": 2},
            opacity=0.5,
            hoverinfo="skip",
        )
    for part, label, suffix in (("default", "default setting", "-open"), ("metrics", "tuned", "")):
        drawn.add_scatter(
            x=[r[part][metric]["value"] for r in rows],
            y=list(range(len(rows))),
            mode="markers",
            name=label,
            text=[f"{r['family']}: {figure(r[part][metric])}" for r in rows],
            hovertemplate=f"%{{text}}<extra>{label}</extra>",
            marker={
                "size": 11,
                "color": [styles[f][0] for f in names],
                "symbol": [styles[f][1] + suffix for f in names],
                "line": {"width": 2 if suffix else 0},
            },
        )
    _lay_out_rows(drawn, names, _axis(content, metric), values, row_height=34)
    return as_json(drawn)


def _lay_out_rows(
    drawn: go.Figure, names: Sequence[str], title: str, values: Sequence[float], *, row_height: int
) -> None:
    """A row for each name, the first on top, over an axis of scores."""
    drawn.update_layout(
        xaxis={"title": {"text": title}, **_score_axis(values)},
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": list(names),
            "range": [len(names) - 0.4, -0.6],
            "automargin": True,
            "showgrid": False,
        },
        margin={"l": 10, "r": 16, "t": 10, "b": 50},
        height=80 + row_height * len(names),
    )


def axis_kind(values: Sequence[float], spread: float) -> str:
    """ "log" where all values are positive and span more than a factor of `spread`."""
    return "log" if values and min(values) > 0 and max(values) > spread * min(values) else "linear"


def _score_axis(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis where the values span much, with plain numbers on it."""
    if not values or axis_kind(values, spread=15) == "linear":
        return {"type": "linear"}
    low, high = min(values) / 1.2, 1.2 * max(values)
    return {"type": "log", "range": [math.log10(low), math.log10(high)], **log_ticks(low, high)}


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Ticks at 1, 2 and 5 times powers of ten (at powers alone over more than three decades)."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) <= 3 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return {"tickvals": ticks, "ticktext": [f"{t:,.0f}" if 10 <= t < 1e6 else f"{t:.3g}" for t in ticks]}


def _axis(content: Mapping[str, Any], metric: str) -> str:
    return f"{metric} ({'lower' if lower_is_better(metric) else 'higher'} is better)"


def as_json(drawn: go.Figure) -> dict[str, Any]:
    drawn.update_layout(template=None, showlegend=False, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    return json.loads(drawn.to_json())
