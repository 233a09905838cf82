"""What the surrogates learned about each family: which hyperparameters matter, and slices with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from ..bench.runs.run_folder import RunFolder
from .plots import NEUTRAL, as_json, axis_kind, log_ticks
from .text import interval, listing, number, setting

_BARS = 8  # parameters in a bar chart
_SLICES = 3  # slices in one dimension
_HEIGHT = 220
_MOST_TICKS = 5  # of values that are all named on an axis
_LONGEST = 16  # characters of a name on one line; plotly cuts off what takes more than half of a figure's width


def surrogate_plots(
    folder: RunFolder, families: Sequence[str], styles: Mapping[str, tuple[str, str]]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """One entry for each family and objective whose surrogate was explained, and their figures by key.

    An entry: family, title, colour; and either `undefined`, the reason why nothing is explained, or `known`, the
    share of the variation over the space that the surrogate can predict, and `figures`: (key, description) pairs.
    """
    entries: list[dict[str, Any]] = []
    figures: dict[str, dict[str, Any]] = {}
    for place, family in enumerate(families):
        content = folder.read_json(f"explanations/{family}.json") or {"objectives": {}}
        for i, (metric, about) in enumerate(content["objectives"].items()):
            title = family if len(content["objectives"]) == 1 else f"{family}: {metric}"
            colour = styles[family][0]
            entry: dict[str, Any] = {"family": family, "title": title, "colour": colour, "undefined": None}
            entries.append(entry)
            if "undefined" in about:
                entry["undefined"] = about["undefined"]
                continue
            if not about["slices"]:
                entry["undefined"] = "it has no hyperparameter with more than one value"
                continue
            entry["known"] = about["importance"]["known"]
            cuts = about["slices"][:_SLICES]
            scores = _scores(cuts, about["around"])
            drawn = [(importance_plot(about["importance"], colour), _in_words(about["importance"]))]
            for cut in cuts:
                words = f"Predicted {metric} of {family} along {cut['parameters'][0]}, with its 95% interval"
                drawn.append((slice_plot(cut, metric, about["around"]["params"], scores, colour), words))
            for pair in about["pairs"]:
                words = f"Predicted {metric} of {family} over {' and '.join(pair['parameters'])}"
                drawn.append((pair_plot(pair), words))
            keys = [f"explanation-{place}-{i}-{k}" for k in range(len(drawn))]
            entry["figures"] = [(key, words) for key, (_, words) in zip(keys, drawn, strict=True)]
            figures |= {key: one for key, (one, _) in zip(keys, drawn, strict=True)}
    return entries, figures


def importance_plot(importance: Mapping[str, Any], colour: str) -> dict[str, Any]:
    """Bars of first-order (dark) and total (light) Sobol' indices, and diamonds for PED-ANOVA; the largest on top."""
    total = importance["total"]
    names = sorted(total, key=lambda name: -total[name])[:_BARS]
    drawn = go.Figure()
    for part, label, opacity in (("total", "with interactions", 0.35), ("first", "alone", 0.85)):
        drawn.add_bar(
            x=[importance[part][name] for name in names],
            y=names,
            orientation="h",
            name=label,
            marker={"color": colour, "opacity": opacity},
            hovertemplate=f"%{{y}} {label}: %{{x:.2f}}<extra></extra>",
        )
    drawn.add_scatter(
        x=[importance["ped_anova"][name] for name in names],
        y=names,
        mode="markers",
        name="PED-ANOVA",
        marker={"symbol": "diamond-open", "size": 8, "color": NEUTRAL, "line": {"width": 1.5}},
        hovertemplate="%{y} PED-ANOVA: %{x:.2f}<extra></extra>",
    )
    drawn.update_layout(
        barmode="overlay",
        bargap=0.35,
        xaxis={"title": {"text": "importance"}, "range": [0, 1.02], "nticks": 5},
        yaxis={
            "autorange": "reversed",
            "automargin": True,
            "showgrid": False,
            "tickvals": names,
            "ticktext": [_wrapped(name) for name in names],
        },
        margin={"l": 10, "r": 10, "t": 8, "b": 44},
        height=max(_HEIGHT, 70 + 28 * len(names)),
    )
    return as_json(drawn)


def slice_plot(
    cut: Mapping[str, Any], metric: str, params: Mapping[str, Any], scores: Mapping[str, Any], colour: str
) -> dict[str, Any]:
    """The predicted score along one parameter with its band; a ring where the slices meet; success dotted."""
    (name,), (scale,), (values,) = cut["parameters"], cut["scales"], cut["values"]
    choices = scale == "choice"
    x = [setting(v) for v in values] if choices else values
    drawn = go.Figure()
    if choices:
        _add_points(drawn, cut, x, colour)
    else:
        _add_band(drawn, cut, x, name, colour)
    place = _nearest(values, params.get(name), scale)
    if place is not None:
        drawn.add_scatter(
            x=[x[place]],
            y=[cut["mean"][place]],
            mode="markers",
            marker={"symbol": "circle-open", "size": 11, "color": colour, "line": {"width": 2}},
            hoverinfo="skip",
        )
    if cut["success"] is not None:
        drawn.add_scatter(
            x=x,
            y=cut["success"],
            yaxis="y2",
            mode="markers" if choices else "lines",
            line={"color": NEUTRAL, "dash": "dot", "width": 1.5},
            marker={"symbol": "line-ew-open", "size": 9, "color": NEUTRAL},
            hovertemplate="succeeds with probability %{y:.2f}<extra></extra>",
        )
    drawn.update_layout(
        xaxis=_parameter_axis(name, scale, x),
        yaxis={"title": {"text": metric}, "automargin": True, "nticks": 5, **scores},
        yaxis2={"overlaying": "y", "range": [0, 1.03], "visible": False, "fixedrange": True},
        margin={"l": 10, "r": 10, "t": 8, "b": 44},
        height=_HEIGHT,
    )
    return as_json(drawn)


def _add_points(drawn: go.Figure, cut: Mapping[str, Any], x: Sequence[Any], colour: str) -> None:
    """The predicted score of each choice with its interval."""
    bounds = list(zip(cut["mean"], cut["low"], cut["high"], strict=True))
    drawn.add_scatter(
        x=x,
        y=cut["mean"],
        mode="markers",
        marker={"color": colour, "size": 8},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_gap(high, mean) for mean, _, high in bounds],
            "arrayminus": [_gap(mean, low) for mean, low, _ in bounds],
            "color": colour,
            "thickness": 1.5,
        },
        text=[_cell(bound) for bound in bounds],
        hovertemplate="%{x}: %{text}<extra></extra>",
    )


def _add_band(drawn: go.Figure, cut: Mapping[str, Any], x: Sequence[Any], name: str, colour: str) -> None:
    """The predicted score as a line in a band."""
    bounds = list(zip(cut["mean"], cut["low"], cut["high"], strict=True))
    for part in ("low", "high"):
        drawn.add_scatter(
            x=x,
            y=cut[part],
            mode="lines",
            line={"width": 0},
            fill="tonexty" if part == "high" else None,
            fillcolor=_faint(colour),
            hoverinfo="skip",
        )
    drawn.add_scatter(
        x=x,
        y=cut["mean"],
        mode="lines",
        line={"color": colour, "width": 2},
        text=[_cell(bound) for bound in bounds],
        hovertemplate=f"{name} %{{x:.4g}}: %{{text}}<extra></extra>",
    )


def pair_plot(pair: Mapping[str, Any]) -> dict[str, Any]:
    """The predicted score over two parameters as a map; its interval shows under the pointer."""
    means = [v for row in pair["mean"] for v in row if v is not None]
    logarithmic = axis_kind(means, spread=8) == "log"
    ticks = {}
    if logarithmic:
        found = log_ticks(min(means), max(means))
        ticks = {**found, "tickvals": [math.log10(t) for t in found["tickvals"]]}
    axes = [
        [setting(v) for v in values] if scale == "choice" else values
        for scale, values in zip(pair["scales"], pair["values"], strict=True)
    ]
    drawn = go.Figure()
    drawn.add_heatmap(
        x=axes[0],
        y=axes[1],
        z=[[_height(v, logarithmic) for v in row] for row in zip(*pair["mean"], strict=True)],
        text=[
            [_cell(bound) for bound in zip(*rows, strict=True)]
            for rows in zip(*(zip(*pair[part], strict=True) for part in ("mean", "low", "high")), strict=True)
        ],
        hovertemplate=f"{pair['parameters'][0]} %{{x}}<br>{pair['parameters'][1]} %{{y}}<br>%{{text}}<extra></extra>",
        hoverongaps=False,
        colorscale="Cividis",
        colorbar={"thickness": 8, "outlinewidth": 0, "nticks": 4, **ticks},
    )
    drawn.update_layout(
        xaxis=_parameter_axis(pair["parameters"][0], pair["scales"][0], axes[0]),
        yaxis=_parameter_axis(pair["parameters"][1], pair["scales"][1], axes[1]),
        margin={"l": 10, "r": 10, "t": 8, "b": 44},
        height=_HEIGHT,
    )
    return as_json(drawn)


def _scores(cuts: Sequence[Mapping[str, Any]], around: Mapping[str, Any]) -> dict[str, Any]:
    """One axis of scores for all slices of a family: the means, and as much of the bands as leaves them readable."""
    means = [v for cut in cuts for v in (*cut["mean"], around["mean"]) if v is not None]
    edges = [v for cut in cuts for part in ("low", "high") for v in cut[part] if v is not None]
    kind = axis_kind([*means, *(v for v in edges if v is not None)], spread=8)
    if not means:
        return {}

    def scaled(values: Sequence[float]) -> list[float]:
        return [math.log10(v) for v in values] if kind == "log" else list(values)

    core, bands = scaled(means), scaled(edges)
    reach = (max(core) - min(core)) or 0.1 * abs(core[0]) or 1.0
    low, high = max(min(bands), min(core) - reach), min(max(bands), max(core) + reach)
    margin = 0.06 * ((high - low) or reach)
    limits = [low - margin, high + margin]
    ticks = log_ticks(10 ** limits[0], 10 ** limits[1]) if kind == "log" else {}
    return {"type": kind, "range": limits, **ticks}


def _wrapped(name: str) -> str:
    """A long name on two lines, broken after the underscore that is nearest to its middle."""
    places = [i + 1 for i, letter in enumerate(name) if letter == "_"]
    if len(name) <= _LONGEST or not places:
        return name
    middle = min(places, key=lambda i: abs(i - len(name) / 2))
    return f"{name[:middle]}<br>{name[middle:]}"


def _parameter_axis(name: str, scale: str, values: Sequence[Any]) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": _wrapped(name)},
        "type": {"choice": "category"}.get(scale, scale),
        "automargin": True,
    }
    if scale == "log" and values[-1] > 30 * values[0]:
        axis["dtick"] = 1
    elif scale == "log":
        axis |= log_ticks(values[0], values[-1])
    elif scale == "linear" and len(values) <= _MOST_TICKS:
        axis["tickvals"] = values
    elif scale == "linear":
        axis |= {"nticks": 5, "tickangle": 0}
    return axis


def _in_words(importance: Mapping[str, Any]) -> str:
    total = importance["total"]
    names = sorted(total, key=lambda name: -total[name])[:_BARS]
    return "Importance, with interactions: " + listing([f"{name} {total[name]:.2f}" for name in names])


def _nearest(values: Sequence[Any], value: Any, scale: str) -> int | None:
    """The place in the grid that is nearest to a setting's value."""
    if scale == "choice":
        same = [i for i, v in enumerate(values) if v == value and type(v) is type(value)]
        return same[0] if same else None
    if value is None:
        return None
    return min(range(len(values)), key=lambda i: abs(values[i] - value))


def _cell(bound: tuple[Any, Any, Any]) -> str:
    mean, low, high = bound
    return "" if mean is None else f"{number(mean)} {interval(low, high, mean)}".strip()


def _gap(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else high - low


def _height(value: float | None, logarithmic: bool) -> float | None:
    return math.log10(value) if logarithmic and value is not None else value


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"
