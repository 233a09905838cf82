"""Validation score against budget, one figure for each study."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from ..bench.budget.kinds import budget_of
from ..bench.runs.constraints import Constraint, violation
from ..bench.runs.records import Record
from .finals import lower_is_better, repetitions
from .formats import row_name
from .moves import cost_without_reuse, was_stopped
from .plots import NEUTRAL, as_json, axis_kind, log_ticks

DASHES = {"dash": "dashed", "dot": "dotted", "dashdot": "dashes and dots"}  # plotly's name, and in words
_SAVED = 0.01  # smallest share of the cost, saved by the reuse of trainings, that is shown


def reference_levels(content: Mapping[str, Any], records: Sequence[Record]) -> dict[str, float]:
    """Mean validation scores of the references that have the first objective, by their names in words.

    Their lines have the dashes of `DASHES`, in this order.
    """
    references = [r for r in records if r.role == "reference" and r.split == "validation"]
    levels = {}
    for name in dict.fromkeys(r.family for r in references):
        mine = [r for r in references if r.family == name]
        values = repetitions(mine, content["objective"][0], by_repeat=False)
        if values:
            levels[row_name({"name": name})] = sum(values) / len(values)
    return levels


def budget_plots(
    content: Mapping[str, Any],
    records: Sequence[Record],
    styles: Mapping[str, tuple[str, str]],
    bounds: Sequence[Constraint] = (),
) -> list[tuple[str, dict[str, Any]]]:
    """For each study, (family, figure): validation scores of its trials and the best so far, by budget spent.

    bounds: trials that break one are hollow, and none of them is the best so far. Horizontal lines are the references'
    own scores on the validation split.
    """
    trials = [r for r in records if r.role == "trial"]
    lower = lower_is_better(content["objective"][0])
    scores = [r.objectives[0] for r in trials if r.state != "failed" and r.objectives]
    # One range for all studies, without the worst trials, so that they can be read side by side.
    kind = axis_kind(scores, spread=8)
    limits = _limits(scores, kind, lower)
    ticks = log_ticks(10 ** limits[0], 10 ** limits[1]) if kind == "log" and limits else {}
    metric = content["objective"][0]
    levels = reference_levels(content, records)
    figures = []
    for family in dict.fromkeys(row["family"] for row in content["rows"]):
        mine = [r for r in trials if r.family == family]
        if not mine:
            continue
        drawn = go.Figure()
        colour, marker = styles[family]
        for repeat in sorted({r.repeat for r in mine}):
            _add_study(drawn, content, [r for r in mine if r.repeat == repeat], (colour, marker), bounds, lower)
        for level, dash in zip(levels.values(), DASHES, strict=False):
            drawn.add_hline(y=level, line={"color": NEUTRAL, "dash": dash, "width": 1.2}, layer="below")
        drawn.update_layout(
            # What the same trials would have cost without reuse may lie many times farther out.
            xaxis={"title": {"text": _spent(content)}, "range": [0.0, 1.04 * _most_spent(mine)]},
            yaxis={
                "title": {"text": f"validation {metric}"},
                "type": kind,
                "range": limits,
                "automargin": True,
                **ticks,
            },
            yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
            margin={"l": 10, "r": 12, "t": 8, "b": 44},
            height=250,
        )
        figures.append((family, as_json(drawn)))
    return figures


def cost_so_far(trials: Sequence[Record]) -> list[float]:
    """Budget spent when each trial ended, trials in order, in the unit that the budget counts."""
    return list(itertools.accumulate(record.cost for record in trials))


def _most_spent(trials: Sequence[Record]) -> float:
    """The most that any repetition of a study has spent."""
    spent = [sum(r.cost for r in trials if r.repeat == repeat) for repeat in {r.repeat for r in trials}]
    return max(spent) or 1.0


def _best_so_far(records: Sequence[Record], keeps: Sequence[bool], lower: bool) -> list[float | None]:
    """The best score up to each record, of those that keep their bounds; None before the first one that does."""
    best: list[float | None] = []
    for record, kept in zip(records, keeps, strict=True):
        before = best[-1] if best else None
        if record.objectives and kept:
            value = record.objectives[0]
            before = value if before is None else min(before, value) if lower else max(before, value)
        best.append(before)
    return best


def _add_best(
    drawn: go.Figure, content: Mapping[str, Any], trials: Sequence[Record], best: Sequence[float | None], colour: str
) -> None:
    """Lines of the best so far, at what was spent and, where that is more, at what it would have cost without reuse.

    best: at each trial with a score, and at the end.
    """
    by_number, budget = {(r.repeat, r.number): r for r in trials}, budget_of(**content["budget"])
    spent = cost_so_far(trials)
    without_reuse = list(itertools.accumulate(cost_without_reuse(r, by_number, budget) for r in trials))
    lines: list[tuple[list[float], str, str, dict[str, Any]]] = [(spent, "best so far", "best so far", {"width": 2})]
    if without_reuse[-1] > (1.0 + _SAVED) * spent[-1]:
        told = "without reuse of trainings: best so far"
        lines.append((without_reuse, "without reuse", told, {"width": 1.2, "dash": "dot"}))
    for costs, name, told, line in lines:
        drawn.add_scatter(
            x=[*(x for x, r in zip(costs, trials, strict=True) if r.state != "failed" and r.objectives), costs[-1]],
            y=best,
            mode="lines",
            line={"shape": "hv", "color": colour, **line},
            name=name,
            hovertemplate=f"{told} %{{y:.4g}}<extra></extra>",
        )


def _add_study(
    drawn: go.Figure,
    content: Mapping[str, Any],
    trials: Sequence[Record],
    style: tuple[str, str],
    bounds: Sequence[Constraint],
    lower: bool,
) -> None:
    colour, marker = style
    trials = sorted(trials, key=lambda r: r.number)
    spent = cost_so_far(trials)
    scored = [(x, r) for x, r in zip(spent, trials, strict=True) if r.state != "failed" and r.objectives]
    failed = [(x, r) for x, r in zip(spent, trials, strict=True) if r.state == "failed"]
    values = [r.objectives[0] for _, r in scored if r.objectives]
    keeps = [violation(bounds, [r]) == 0 for _, r in scored]
    if scored:
        best = _best_so_far([r for _, r in scored], keeps, lower)
        _add_best(drawn, content, trials, [*best, best[-1]], colour)
    drawn.add_scatter(
        x=[x for x, _ in scored],
        y=values,
        mode="markers",
        name="trial",
        text=[
            f"trial {r.number}{_how(r)}: {v:.4g}{'' if kept else ', breaks a bound'}"
            for (_, r), v, kept in zip(scored, values, keeps, strict=True)
        ],
        hovertemplate="%{text}<extra>validation</extra>",
        marker={
            "color": colour,
            "size": 7,
            "opacity": 0.6,
            "symbol": marker if all(keeps) else [marker if kept else f"{marker}-open" for kept in keeps],
        },
    )
    if failed:
        drawn.add_scatter(
            x=[x for x, _ in failed],
            y=[0.03] * len(failed),
            yaxis="y2",
            mode="markers",
            name="failed",
            text=[f"trial {r.number} failed" for _, r in failed],
            hovertemplate="%{text}<extra></extra>",
            marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": colour}},
        )


def _how(record: Record) -> str:
    """How a trial came by its model, where that was not by a full training."""
    trained = "" if record.fidelity == 1.0 else f", {record.fidelity:.3g} of a training"
    if was_stopped(record):
        trained = f", stopped at {record.fidelity:.3g} of a training"
    moved = {
        "continue": f", trial {record.parent} trained further",
        "resample": f", trial {record.parent} resampled",
    }
    return moved.get(record.move, "") + trained


def _limits(values: Sequence[float], kind: str, lower: bool) -> list[float] | None:
    """An axis range that leaves out the worst fifth where it lies far off; in logarithms on a log axis."""
    if not values:
        return None
    ordered = sorted((math.log10(v) if kind == "log" else v) for v in values)
    keep = max(1, math.ceil(0.8 * len(ordered)))
    core = ordered[:keep] if lower else ordered[-keep:]
    margin = 0.12 * ((core[-1] - core[0]) or abs(core[0]) or 1.0)
    low, high = core[0] - margin, core[-1] + margin
    reach = core[-1] - core[0]
    if ordered[-1] - core[-1] < reach and core[0] - ordered[0] < reach:
        low, high = ordered[0] - margin, ordered[-1] + margin
    return [low, high]


def _spent(content: Mapping[str, Any]) -> str:
    return budget_of(**content["budget"]).spent_label
