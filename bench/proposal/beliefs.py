"""Prior beliefs about good values, a user's or a card's, which weigh on proposals while observations are few.

πBO: C. Hvarfner et al. (2022), arXiv 2204.11051, eq. 6: the acquisition function times π(x)^(β/n) after n observations,
here added as β/n · log π(x). A belief that is wrong is outweighed as observations come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from ...search_spaces.space import Parameter, SearchSpace, Value, suggest
from .encoding import Encoding, Floats

_STRENGTH = 10.0  # β; the paper's value for budgets of this size
_OUTSIDE = 0.32  # the probability of values that are not among the likely ones
_DOUBT = 0.05  # the share of π that is spread evenly: nothing is ruled out


@dataclass(frozen=True)
class Belief:
    """That a parameter's best value lies near `value`.

    spread: for a number, one standard deviation as a share of the range on the parameter's own scale; for a choice,
    the probability that it is another one.
    """

    value: Value
    spread: float = 0.15


@dataclass(frozen=True)
class Likely:
    """That a parameter's best value is, with a probability of 68%, among `values`: between two numbers, or one of
    some choices (`Parameter.likely`)."""

    values: tuple[Value, ...]


def stated(space: SearchSpace) -> dict[str, Likely]:
    """What the parameters of a space say about their good values."""
    return {p.name: Likely(p.likely) for p in space if p.likely}


class Beliefs:
    """β/n · log π(x) at columns, a term of the acquisition function; π is a product over the parameters named.

    Raises ValueError where a name is unknown, a value is out of range or a spread is not between 0 and 1.
    """

    def __init__(self, encoding: Encoding, beliefs: Mapping[str, Belief | Likely], observations: int) -> None:
        self._encoding = encoding
        self._weight = _STRENGTH / max(observations, 1)
        self._numbers: list[tuple[int, int, float, float]] = []  # parameter, column, centre, deviation
        self._choices: list[tuple[int, np.ndarray, Floats]] = []  # parameter, columns, log of the probabilities
        names = encoding.space.names
        for name, belief in beliefs.items():
            if name not in names:
                raise ValueError(f"a belief names {name!r}, which is no parameter" + suggest(name, names))
            j, parameter = names.index(name), encoding.space[name]
            columns = np.flatnonzero(encoding.groups == j)
            values, outside = _checked(parameter, belief)
            positions = [encoding.position(name, value) for value in values]
            if parameter.kind == "categorical":
                k = len(columns)
                likely = [min(int(position * k), k - 1) for position in positions]
                chances = np.full(k, outside / max(k - len(likely), 1))
                chances[likely] = (1.0 - outside) / len(likely)
                chances = (1.0 - _DOUBT) * chances / chances.sum() + _DOUBT / k
                self._choices.append((j, columns, np.log(chances)))
            else:
                deviation = outside if isinstance(belief, Belief) else (positions[-1] - positions[0]) / 2
                self._numbers.append((j, int(columns[0]), (positions[0] + positions[-1]) / 2, deviation))

    def evaluate(self, columns: Floats) -> Floats:
        """β/n · log π (b,) at columns (b, c)."""
        return self.slope(columns)[0]

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        """β/n · log π (b,) at columns (b, c), and its gradient (b, c)."""
        value, gradient = np.zeros(len(columns)), np.zeros_like(columns)
        for _, c, centre, deviation in self._numbers:
            off = (columns[:, c] - centre) / deviation
            near = (1.0 - _DOUBT) * np.exp(-0.5 * off * off)
            value += np.log(_DOUBT + near)
            gradient[:, c] -= near / (_DOUBT + near) * off / deviation
        for _, block, logs in self._choices:
            # One column has 1/√2 and the others nothing; an inactive choice has the same everywhere.
            value += np.sqrt(2.0) * columns[:, block] @ logs
            gradient[:, block] += np.sqrt(2.0) * logs
        return self._weight * value, self._weight * gradient

    def shape(self, uniform: Floats) -> Floats:
        """Points (n, p) spread evenly over the unit cube, moved to where π is dense."""
        points = uniform.copy()
        for j, _, centre, deviation in self._numbers:
            u = points[:, j]
            low, high = ndtr(-centre / deviation), ndtr((1.0 - centre) / deviation)
            # The first of `_DOUBT` of the points stay where they are, stretched over the range.
            near = centre + deviation * ndtri(low + (u - _DOUBT) / (1.0 - _DOUBT) * (high - low))
            points[:, j] = np.where(u < _DOUBT, u / _DOUBT, np.clip(near, 0.0, 1.0))
        for j, block, logs in self._choices:
            chosen = np.searchsorted(np.cumsum(np.exp(logs))[:-1], points[:, j], side="right")
            points[:, j] = (chosen + 0.5) / len(block)
        return points


def _checked(parameter: Parameter, belief: Belief | Likely) -> tuple[tuple[Value, ...], float]:
    """A belief's values, and its spread: of choices, the probability of any other. Raises ValueError as `Beliefs`."""
    values, spread = ((belief.value,), belief.spread) if isinstance(belief, Belief) else (belief.values, _OUTSIDE)
    for value in values:
        if not parameter.contains(value):
            raise ValueError(f"a belief wants {parameter.name} = {value!r}, which is not {parameter.range_text}")
    if not 0.0 < spread < 1.0:
        raise ValueError(f"a belief about {parameter.name!r} has a spread of {spread}; wanted one between 0 and 1")
    return values, spread
