"""The table of planted failures as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from planting import FAILURES
from scoring import Bench, Cell, Floor

from gentune.bench.metrics import MetricCard

_INK, _PAPER = "#1b1b1b", "#ffffff"
_WORSE = ((2.0, "#fff1e2"), (4.0, "#fdd9b0"), (8.0, "#f9b272"), (16.0, "#ea8a3e"), (math.inf, "#b3500b"))
_BETTER = ((2.0, "#e3edf7"), (4.0, "#b7d2ea"), (math.inf, "#5f9bd0"))
_CELL, _HEIGHT, _LEFT, _TOP = 78, 22, 204, 96


def _colour(worse: float, inside: bool) -> str:
    if inside:
        return _PAPER
    return next(colour for limit, colour in (_WORSE if worse > 0 else _BETTER) if abs(worse) <= limit)


def _text(x: float, y: float, content: str, *, size: float = 11, colour: str = _INK, extra: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}" {extra}>{escape(content)}</text>'


def heat_map(cells: Mapping[str, Mapping[str, Cell]], floors: Mapping[str, Mapping[str, Floor]], bench: Bench) -> str:
    """An SVG: a row for each metric, a column for each failure, in it a half for each evaluator."""
    groups: dict[str, list[str]] = {}
    for name in cells:
        groups.setdefault(bench.cards[name].group, []).append(name)
    parts: list[str] = []
    y = _TOP
    for column, failure in enumerate(FAILURES):
        middle = _LEFT + column * _CELL + _CELL / 2
        for line, word in enumerate(failure.name.split()):
            parts.append(_text(middle, _TOP - 24 + 13 * line, word, extra='text-anchor="middle" font-weight="600"'))
    for group, names in groups.items():
        y += 8
        for row, name in enumerate(names):
            if row == 0:
                parts.append(_text(8, y + 15, group, size=9, colour="#6b6b6b", extra='letter-spacing="0.4"'))
            parts.append(_text(_LEFT - 8, y + 15, name, extra='text-anchor="end"'))
            for column, failure in enumerate(FAILURES):
                parts += _drawn(cells[name][failure.name], floors[name], bench.cards[name], _LEFT + column * _CELL, y)
            y += _HEIGHT
    width, height = _LEFT + len(FAILURES) * _CELL + 10, y + 62
    parts += _legend(y + 16, list(bench.evaluators))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif" role="img" aria-labelledby="title">'
    )
    title = '<title id="title">How much worse than real data each metric scores each planted failure</title>'
    paper = f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>'
    heading = _text(8, 24, "Planted failures on digits: deviations from the floor", size=15, extra='font-weight="600"')
    under = _text(
        8, 42, "Each cell: how much worse than real data, in standard deviations of real against real.", size=11
    )
    return "\n".join([head, title, paper, heading, under, *parts, "</svg>"]) + "\n"


def _drawn(cell: Cell, floor: Mapping[str, Floor], card: MetricCard, x: float, y: float) -> list[str]:
    wide = (_CELL - 4) / max(1, len(cell.worse))
    drawn = []
    for i, (view, worse) in enumerate(cell.worse.items()):
        inside = floor[view].low <= cell.values[view] <= floor[view].high
        colour = _colour(worse, inside)
        left = x + 2 + i * wide
        label = "∞" if math.isinf(worse) else f"{worse:.0f}" if abs(worse) >= 9.5 else f"{worse:.1f}"
        dark = colour == _WORSE[-1][1]
        text = _text(
            left + wide / 2,
            y + 15,
            label.replace("-", "−"),
            size=10,
            colour=_PAPER if dark else "#8a8a8a" if inside else _INK,
            extra='text-anchor="middle"',
        )
        drawn += [f'<rect x="{left:g}" y="{y + 1}" width="{wide:g}" height="{_HEIGHT - 2}" fill="{colour}"/>', text]
    if cell.expected:
        style = 'stroke-width="2.2"' if cell.caught else 'stroke-width="2.2" stroke-dasharray="3 2"'
        drawn.append(
            f'<rect x="{x + 2}" y="{y + 1}" width="{_CELL - 4}" height="{_HEIGHT - 2}" fill="none" '
            f'stroke="{_INK}" {style}/>'
        )
        if not cell.caught:
            drawn.append(_text(x + _CELL - 5, y + 9, "×", size=12, extra='text-anchor="end" font-weight="700"'))
    if not cell.worse:
        drawn.append(
            _text(x + _CELL / 2, y + 15, "not defined", size=9, colour="#8a8a8a", extra='text-anchor="middle"')
        )
    return drawn


def _legend(y: float, evaluators: list[str]) -> list[str]:
    parts = []
    x = 8.0
    entries = [(_BETTER[-1][1], "better than real data"), (_PAPER, "within the floor's 95% interval")]
    limits = ["", *(f"{limit:g}" for limit, _ in _WORSE[:-1])]
    entries += [
        (colour, f"worse, up to {limit:g}" if i == 0 else f"to {limit:g}" if limit < math.inf else f"over {limits[i]}")
        for i, (limit, colour) in enumerate(_WORSE)
    ]
    for colour, words in entries:
        parts += [
            f'<rect x="{x:g}" y="{y}" width="16" height="12" fill="{colour}" stroke="#b0b0b0" stroke-width="0.5"/>',
            _text(x + 21, y + 10, words, size=10),
        ]
        x += 34 + 5.4 * len(words)
    words = (
        f"Left half: {evaluators[0]} evaluator, right half: {evaluators[1]}; whole cells look through neither. "
        "Framed: should be caught; dashed with ×: was not, by both."
    )
    return [*parts, _text(8, y + 32, words, size=10)]
