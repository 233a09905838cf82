"""Short names for parameters, and settings drawn from spaces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gentune.search_spaces.space import Parameter, SearchSpace, Setting, Value

_DEFAULT = 0.2  # of the scale

When = Mapping[str, tuple[Value, ...]]


def real(
    name: str, low: float, high: float, *, log: bool = False, default: float | None = None, when: When | None = None
) -> Parameter:
    """A float; without a default it takes one off the middle, where made-up functions are often good."""
    if default is None:
        default = low * (high / low) ** _DEFAULT if log else low + _DEFAULT * (high - low)
    return Parameter(name, "float", default, low=low, high=high, log=log, when=when or {})


def integer(
    name: str, low: int, high: int, *, log: bool = False, default: int | None = None, when: When | None = None
) -> Parameter:
    """An integer; without a default it takes one off the middle, as `real` does."""
    if default is None:
        default = round(low * (high / low) ** _DEFAULT if log else low + _DEFAULT * (high - low))
    return Parameter(name, "int", default, low=low, high=high, log=log, when=when or {})


def choice(name: str, *choices: Value, when: When | None = None) -> Parameter:
    """A category; the first choice is the default."""
    return Parameter(name, "categorical", choices[0], choices=choices, when=when or {})


def box(bounds: Sequence[tuple[float, float]]) -> SearchSpace:
    """Floats x1, x2, … within bounds."""
    return SearchSpace(tuple(real(f"x{i}", low, high) for i, (low, high) in enumerate(bounds, start=1)))


def number(setting: Setting, name: str) -> float:
    """A numeric value of a setting. Raises TypeError for a category."""
    value = setting[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"parameter {name!r} is {value!r}, which is no number")
    return float(value)


def whole(setting: Setting, name: str) -> int:
    """An integer value of a setting. Raises TypeError for anything else."""
    value = setting[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"parameter {name!r} is {value!r}, which is no integer")
    return value


def vector(setting: Setting) -> np.ndarray:
    """The values of a setting of a `box`, in order (d,)."""
    return np.array([number(setting, name) for name in setting])


def setting_at(space: SearchSpace, point: Sequence[float] | np.ndarray) -> dict[str, Value]:
    """The setting at a point of the unit cube (p,): uniform points give uniform values on each parameter's scale."""
    setting: dict[str, Value] = {}
    for parameter, u in zip(space, point, strict=True):
        if space.is_active(parameter, setting):
            setting[parameter.name] = _value(parameter, min(max(float(u), 0.0), 1.0))
    return setting


def draw(space: SearchSpace, generator: np.random.Generator) -> dict[str, Value]:
    """A uniformly random setting."""
    return setting_at(space, generator.random(len(space)))


def every_setting(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """All settings of an unconditional space without floats. Raises ValueError for another."""
    if any(p.kind == "float" or p.when for p in space):
        raise ValueError("only unconditional spaces of integers and categories can be enumerated")
    values = [p.choices if p.kind == "categorical" else range(round(p.low or 0), round(p.high or 0) + 1) for p in space]
    for point in itertools.product(*values):
        yield dict(zip(space.names, point, strict=True))


def _value(parameter: Parameter, u: float) -> Value:
    if parameter.kind == "categorical":
        return parameter.choices[min(int(u * len(parameter.choices)), len(parameter.choices) - 1)]
    assert parameter.low is not None and parameter.high is not None
    low, high = parameter.low, parameter.high
    if parameter.kind == "int":
        low, high = low - 0.5, high + 0.5
    raw = math.exp(math.log(low) + u * (math.log(high) - math.log(low))) if parameter.log else low + u * (high - low)
    raw = min(max(raw, parameter.low), parameter.high)
    return round(raw) if parameter.kind == "int" else raw
