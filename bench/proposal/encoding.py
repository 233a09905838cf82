"""Maps settings to positions in the unit cube, and these to the columns in which kernels measure distances.

- setting: a mapping of the active parameters' names to values;
- positions (n, p): one number in [0, 1] a parameter, NaN where it is inactive. An integer, a step of a grid or a
  choice owns an interval of equal width on the parameter's scale and stands at its middle, so that uniform
  positions are uniform choices;
- columns (n, c): a numeric parameter keeps its position in one column; a choice among k takes k columns with
  1/√2 at the chosen one, so that two different choices are one apart (the Hamming distance). Inactive parameters
  stand at the centre: 1/2, or the centroid of the choices. Every such distance is Euclidean, hence every kernel
  that is valid on columns is valid on conditional and categorical spaces.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ...search_spaces.space import Parameter, SearchSpace, Setting, Value

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_KEY_DIGITS = 6  # positions that agree to this many digits are one setting


class _Choice:
    """The axis of a categorical parameter; its values are handled as indices of the choices."""

    def __init__(self, parameter: Parameter) -> None:
        self.smooth = False
        self.choices = parameter.choices
        self.levels: float = len(self.choices)
        self.width = len(self.choices)

    def code(self, value: object) -> float:
        """The index of a choice; NaN for a value that is none."""
        for i, choice in enumerate(self.choices):
            if value == choice and type(value) is type(choice):
                return float(i)
        return math.nan

    def codes(self, positions: Floats) -> Floats:
        return np.clip(np.floor(positions * self.levels), 0, self.levels - 1)

    def positions(self, codes: Floats) -> Floats:
        return (codes + 0.5) / self.levels

    def grid(self) -> Floats:
        return self.positions(np.arange(self.levels))

    def value(self, code: float) -> Value:
        return self.choices[int(code)]

    def columns(self, positions: Floats) -> Floats:
        active = ~np.isnan(positions)
        block = np.full((len(positions), self.width), math.sqrt(0.5) / self.width)
        block[active] = 0.0
        block[active, self.codes(positions[active]).astype(int)] = math.sqrt(0.5)
        return block  # (n, k)


class _Range:
    """The axis of a float or an integer on its linear or logarithmic scale, continuous or on a grid."""

    width = 1

    def __init__(self, parameter: Parameter) -> None:
        assert parameter.low is not None and parameter.high is not None
        self.low, self.high = float(parameter.low), float(parameter.high)
        self.log, self.integer = parameter.log, parameter.kind == "int"
        self.step = parameter.step if parameter.step is not None else (1.0 if self.integer else None)
        if self.step is None:
            self.last, self.levels = math.inf, math.inf if self.high > self.low else 1.0
            edges = (self.low, self.high)
        else:
            self.last = math.floor((self.high - self.low) / self.step + 1e-9)
            self.levels = self.last + 1.0
            below = self.low - self.step / 2
            edges = (
                self.low / 2 if self.log and below <= 0 else below,
                self.low + (self.last + 0.5) * self.step,
            )
        self.edge = self._scale(np.array(edges[0])).item()
        self.span = self._scale(np.array(edges[1])).item() - self.edge
        # A fine grid is as good as a continuum to a gradient; a coarse one is not.
        self.smooth = self.levels > 32

    def _scale(self, values: Floats) -> Floats:
        return np.log(values) if self.log else values

    def code(self, value: object) -> float:
        """The value itself, moved into the range; NaN for what is no number."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return math.nan
        return min(max(float(value), self.low), self.high)

    def codes(self, positions: Floats) -> Floats:
        raw = self.edge + np.clip(positions, 0.0, 1.0) * self.span
        values = np.exp(raw) if self.log else raw
        if self.step is not None:
            steps = np.clip(np.round((values - self.low) / self.step), 0, self.last)
            values = self.low + steps * self.step
        return np.clip(values, self.low, self.high)

    def positions(self, codes: Floats) -> Floats:
        if self.span <= 0:
            return np.where(np.isnan(codes), np.nan, 0.5)
        return (self._scale(codes) - self.edge) / self.span

    def grid(self) -> Floats:
        return self.positions(self.low + np.arange(self.levels) * (self.step or 0.0))

    def value(self, code: float) -> Value:
        return round(code) if self.integer else float(code)

    def columns(self, positions: Floats) -> Floats:
        return np.where(np.isnan(positions), 0.5, positions)[:, None]  # (n, 1)


class Encoding:
    """One search space's maps. `groups` (c,): the parameter that each column belongs to; `smooth` (c,): whether a
    gradient may move it; `categorical` (p,) and `levels` (p,): whether each parameter is a choice, and
    how many values it has (infinite: continuous).

    fixed: values that every setting made here has (`snap`, `grid`), moved into their ranges; `positions`, which places
    what has been tried, knows nothing of them.
    """

    def __init__(self, space: SearchSpace, fixed: Setting | None = None) -> None:
        self.space = space
        self._axes: list[_Choice | _Range] = [_Choice(p) if p.kind == "categorical" else _Range(p) for p in space]
        index = {name: j for j, name in enumerate(space.names)}
        self._conditions = [
            [(index[parent], [self._axes[index[parent]].code(v) for v in values]) for parent, values in p.when.items()]
            for p in space
        ]
        # What others depend on stays put under gradients: moving it would switch parameters on and off.
        for j in {parent for conditions in self._conditions for parent, _ in conditions}:
            self._axes[j].smooth = False
        widths = [axis.width for axis in self._axes]
        self.groups: Ints = np.repeat(np.arange(len(widths)), widths)
        self.smooth: Bools = np.repeat(np.array([axis.smooth for axis in self._axes], dtype=bool), widths)
        self.categorical: Bools = np.array([isinstance(axis, _Choice) for axis in self._axes], dtype=bool)
        self.levels: Floats = np.array([axis.levels for axis in self._axes], dtype=float)
        self._fixed: Floats = self.positions([fixed or {}])[0]  # (p,), NaN where free
        pinned = ~np.isnan(self._fixed)
        self.levels[pinned] = 1.0
        self.smooth &= ~pinned[self.groups]

    def __len__(self) -> int:
        """The number of parameters p."""
        return len(self._axes)

    def positions(self, settings: Sequence[Setting]) -> Floats:
        """Settings as positions (n, p). Values out of range move to its end; unknown names are passed over."""
        parts = []
        for parameter, axis in zip(self.space, self._axes, strict=True):
            name, code = parameter.name, axis.code
            codes = [code(setting[name]) if name in setting else math.nan for setting in settings]
            parts.append(axis.positions(np.array(codes, dtype=float)))
        return self._stack(parts, len(settings))

    def position(self, name: str, value: Value) -> float:
        """Where a parameter's value stands in [0, 1]."""
        axis = self._axes[self.space.names.index(name)]
        return axis.positions(np.array([axis.code(value)])).item()

    def snap(self, positions: Floats) -> Floats:
        """The nearest valid settings of any points (n, p) of the unit cube; inactive parameters become NaN."""
        codes = np.empty_like(positions)
        for j, axis in enumerate(self._axes):
            active = np.ones(len(positions), dtype=bool)
            for parent, wanted in self._conditions[j]:
                active &= np.isin(codes[:, parent], wanted)
            fixed = self._fixed[j]
            wanted_at = positions[:, j] if math.isnan(fixed) else np.full(len(positions), fixed)
            codes[:, j] = np.where(active, axis.codes(wanted_at), np.nan)
        return self._stack([axis.positions(codes[:, j]) for j, axis in enumerate(self._axes)], len(positions))

    def columns(self, positions: Floats) -> Floats:
        """Positions (n, p) as columns (n, c)."""
        blocks = [axis.columns(positions[:, j]) for j, axis in enumerate(self._axes)]
        return np.concatenate(blocks, axis=1) if blocks else np.zeros((len(positions), 0))

    def from_columns(self, columns: Floats, positions: Floats) -> Floats:
        """Valid positions (n, p) of columns (n, c) whose smooth ones have been moved away from `positions`."""
        moved = positions.copy()
        moved[:, self.groups[self.smooth]] = columns[:, self.smooth]
        return self.snap(np.where(np.isnan(positions), np.nan, moved))

    def decode(self, row: Floats) -> dict[str, Value]:
        """One row of positions (p,) as a setting of plain Python values."""
        values: dict[str, Value] = {}
        for parameter, axis, position in zip(self.space, self._axes, row, strict=True):
            if not math.isnan(position):
                values[parameter.name] = axis.value(axis.codes(np.array([position])).item())
        return self.space.activate(values)

    def keeps_fixed(self, positions: Floats) -> Bools:
        """Which of the positions (n, p) have what is fixed, where it counts."""
        kept = np.isnan(self._fixed) | np.isnan(positions) | self.same(positions, self._fixed)
        return np.asarray(kept.all(axis=1))

    @staticmethod
    def same(positions: Floats, others: Floats) -> Bools:
        """Which positions are one value by the measure of `keys`; NaN is none."""
        near: Bools = np.abs(positions - others) <= 10.0**-_KEY_DIGITS
        return near

    def keys(self, positions: Floats) -> list[bytes]:
        """What two settings have in common exactly when they are the same."""
        return [row.tobytes() for row in np.round(np.nan_to_num(positions, nan=-1.0), _KEY_DIGITS)]

    def grid(self) -> Iterator[Floats]:
        """Every setting of a finite space, row by row (p,), some of them more than once; none of an infinite one."""
        if np.isfinite(self.levels).all():
            middle = np.array([0.5])  # of what is fixed: `snap` puts its value there
            free = np.isnan(self._fixed)
            for point in itertools.product(*(a.grid() if f else middle for a, f in zip(self._axes, free, strict=True))):
                yield self.snap(np.array([point], dtype=float))[0]

    def stack(self, rows: Iterable[Floats]) -> Floats:
        """Rows (p,) as positions (n, p), also where there are none."""
        rows = list(rows)
        return np.array(rows, dtype=float).reshape(len(rows), len(self))

    @staticmethod
    def _stack(parts: list[Floats], n: int) -> Floats:
        return np.stack(parts, axis=1) if parts else np.zeros((n, 0))
