"""Sizes of data, and the values that a card states for a few of them carried over to all others. Free of torch.

A size is a kind of data, an extent (the side of images, the dimensions of vectors, the length of sequences) and a
number of train examples. Between stated sizes values follow power laws, straight lines on log-log axes: first, at each
stated extent, along the number of examples; then along the extent. At a stated size its own value holds exactly.

Below the smallest stated extent (or number of examples) the value is that of the smallest. Above the largest one the
law of the last two goes on up to `REACH` times the largest, with a power within [-`STEEPEST`, `STEEPEST`], and is
constant from there on. Where only one is stated, its value holds everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from .space import Parameter, Value

T = TypeVar("T")

DATA_KINDS = ("image", "vector", "sequence")
REACH = 2.0  # how many times larger than the largest stated size the last power law goes on
STEEPEST = 1.0  # its largest power there: twice the size at most doubles or halves a value


@dataclass(frozen=True)
class DataSize:
    """What of a data set a family's sizes follow.

    extent: of images the side in pixels (the geometric mean of height and width), of vectors the dimensions, of
        sequences the length. examples: in the train split; None: not known, taken as the fewest that are stated. Of a
        stated size None means: for any number.
    """

    kind: str
    extent: float
    examples: int | None = None

    def __post_init__(self) -> None:
        if self.extent <= 0 or (self.examples is not None and self.examples < 1):
            raise ValueError(f"data of extent {self.extent:g} with {self.examples} examples; wanted more than none")


@dataclass(frozen=True)
class StatedSize:
    """What a card states for one size.

    steps: of a full training. parameters: those that differ from the space's own there, whole.
    """

    size: DataSize
    steps: int
    parameters: tuple[Parameter, ...] = ()

    def parameter(self, own: Parameter) -> Parameter:
        """A parameter of the space as it is at this size."""
        return next((p for p in self.parameters if p.name == own.name), own)


def number_at(stated: Sequence[tuple[DataSize, float]], size: DataSize) -> float:
    """A number at a size, from those at stated sizes of the same kind."""
    return along([(extent, along(own, size.examples)) for extent, own in _by_extent(stated)], size.extent)


def along(points: Sequence[tuple[float, float]], at: float | None) -> float:
    """A number at a coordinate, by power laws between points.

    points: (coordinate, value), in the order of their coordinates, which are positive and differ. Where one of two
        values is not positive, the line between them is straight on the coordinate's logarithm alone.
    at: None: at the first point.
    """
    (first, lowest), (last, highest) = points[0], points[-1]
    if at is None or at <= first:
        return lowest
    for (left, low), (right, high) in pairwise(points):
        if at == right:
            return high
        if at < right:
            share = math.log(at / left) / math.log(right / left)
            inside = low * (high / low) ** share if min(low, high) > 0 else low + share * (high - low)
            return min(max(inside, min(low, high)), max(low, high))  # whatever rounding says
    if len(points) == 1 or min(points[-2][1], highest) <= 0:
        return highest
    before, value = points[-2]
    power = math.log(highest / value) / math.log(last / before)
    return highest * (min(at, REACH * last) / last) ** max(-STEEPEST, min(power, STEEPEST))


def choice_at(stated: Sequence[tuple[DataSize, Value]], size: DataSize) -> Value:
    """A choice at a size: that of the nearest stated extent, and there of the nearest number of examples.

    Nearest on a log scale; of two that are equally near, the smaller.
    """
    return _nearest([(extent, _nearest(own, size.examples)) for extent, own in _by_extent(stated)], size.extent)


def sized(parameter: Parameter, stated: Sequence[tuple[DataSize, Parameter]], size: DataSize) -> Parameter:
    """A parameter at a size, from what it is at stated sizes: default, range and likely values.

    parameter: as it is whatever the size. Whole numbers are rounded, and the default stays in the range.
    """
    if parameter.kind == "categorical":
        return replace(parameter, default=choice_at([(at, p.default) for at, p in stated], size))

    def number(values: Iterable[Value | None]) -> float:
        known = [(at, float(v)) for (at, _), v in zip(stated, values, strict=True) if isinstance(v, (int, float))]
        found = number_at(known, size)
        return round(found) if parameter.kind == "int" else found

    low, high = number(p.low for _, p in stated), number(p.high for _, p in stated)
    default = min(max(number(p.default for _, p in stated), low), high)
    likely: tuple[Value, ...] = ()
    if all(len(p.likely) == 2 for _, p in stated):
        ends = (number(p.likely[end] for _, p in stated) for end in (0, 1))
        likely = _increasing(min(max(end, low), high) for end in ends)
    return replace(parameter, low=low, high=high, default=default, likely=likely)


def scaled(parameter: Parameter, factor: float) -> Parameter:
    """A number's default, range and likely values times a factor; whole numbers are rounded, to at least 1."""
    if factor == 1.0:
        return parameter

    def times(value: Value | None) -> float:
        assert isinstance(value, (int, float))
        return max(round(value * factor), 1) if parameter.kind == "int" else value * factor

    likely = _increasing(times(end) for end in parameter.likely)
    low, high, default = (times(value) for value in (parameter.low, parameter.high, parameter.default))
    return replace(parameter, low=low, high=high, default=default, likely=likely)


def moved(before: Parameter, after: Parameter) -> tuple[Value, ...]:
    """Likely values of a number that go with its default: by the same factor on a log scale, else by the same distance.

    before, after: the parameter with its likely values, and with another default and range.
    """
    ends = [end for end in before.likely if isinstance(end, (int, float))]
    assert isinstance(before.default, (int, float)) and isinstance(after.default, (int, float))
    assert after.low is not None and after.high is not None
    by, whole = after.default, before.kind == "int"
    shifted = [end * by / before.default if before.log else end + by - before.default for end in ends]
    return _increasing(min(max(round(end) if whole else end, after.low), after.high) for end in shifted)


def _by_extent(stated: Sequence[tuple[DataSize, T]]) -> list[tuple[float, list[tuple[float, T]]]]:
    """For each stated extent, in order, its values by the number of examples, in order."""
    grouped: dict[float, list[tuple[float, T]]] = {}
    for size, value in sorted(stated, key=lambda entry: (entry[0].extent, entry[0].examples or 1)):
        grouped.setdefault(size.extent, []).append((size.examples or 1, value))
    return list(grouped.items())


def _nearest(points: Sequence[tuple[float, T]], at: float | None) -> T:
    """The value whose coordinate is nearest, by ratios; at None the first."""
    if at is None:
        return points[0][1]
    return min(points, key=lambda point: abs(math.log(point[0] / at)))[1]


def _increasing(ends: Iterable[float]) -> tuple[Value, ...]:
    """Two ends as likely values; none where nothing is left between them."""
    found = tuple(ends)
    return found if len(found) == 2 and found[0] < found[1] else ()
