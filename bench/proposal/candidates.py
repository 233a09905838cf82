"""Candidates of the engine: quasi-random points, points near good ones, and the rules that exclude points."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import islice

import numpy as np

from ...search_spaces.space import Setting
from .cost import CostModel
from .encoding import Bools, Encoding, Floats
from .records import Costs

_GRID_LIMIT = 2048  # finite spaces up to this size are looked through whole
_WALK_LIMIT = 65_536  # settings looked at in a finite space before it counts as exhausted


def sobol(n: int, dimensions: int, seed: int, *, skip: int = 0) -> Floats:
    """Points skip … skip + n − 1 (n, dimensions) of the scrambled Sobol sequence of this seed."""
    from scipy.stats import qmc

    engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    if skip:
        engine.fast_forward(skip)
    with warnings.catch_warnings():
        # The balance that a power of two would have is of no concern here.
        warnings.filterwarnings("ignore", message="The balance properties of Sobol")
        return engine.random(n)


def perturbations(encoding: Encoding, around: Floats, n: int, rng: np.random.Generator) -> Floats:
    """n valid positions (n, p) near those of `around` (m, p), in turn.

    Each changes a random part of the parameters: numbers by normal steps of random length (and by at least about one
    level), choices by a fresh draw.
    """
    if not len(around):
        return np.zeros((0, len(encoding)))
    p = len(encoding)
    points = around[np.arange(n) % len(around)]
    uniform = rng.random((n, p))
    points = np.where(np.isnan(points), uniform, points)
    changed = rng.random((n, p)) < rng.uniform(1.0 / p, 1.0, (n, 1))
    changed[np.arange(n), rng.integers(p, size=n)] = True
    lengths = np.exp(rng.uniform(np.log(0.005), np.log(0.3), (n, 1)))
    lengths = np.maximum(lengths, 0.7 / encoding.levels)  # (n, p)
    moved = np.clip(points + lengths * rng.standard_normal((n, p)), 0.0, 1.0)
    moved = np.where(encoding.categorical, uniform, moved)
    return encoding.snap(np.where(changed, moved, points))


class Admission:
    """Which positions may be proposed: neither observed nor pending nor closed, and predicted to be affordable.

    observed: positions (n, p) of finished trials. closed: settings, or parts of settings, that stand for all that
    agrees with them in every value.
    """

    def __init__(
        self,
        encoding: Encoding,
        observed: Floats,
        pending: Sequence[Setting],
        costs: Costs,
        closed: Sequence[Setting] = (),
    ) -> None:
        self._encoding = encoding
        self.costs = CostModel(encoding, costs)
        self._pending = set(encoding.keys(encoding.positions(pending)))
        self._taken = self._pending | set(encoding.keys(observed))
        whole, parts = list[Setting](), list[Setting]()
        for setting in closed:
            (whole if encoding.space.activate(setting).keys() <= setting.keys() else parts).append(setting)
        self._closed = set(encoding.keys(encoding.positions(whole)))
        self._closed_parts = encoding.positions(parts)  # (k, p), NaN for what a part leaves open

    def filter(self, positions: Floats, *, repeats: bool = False, closed: bool = False) -> Floats:
        """The rows of positions (n, p) that may be proposed, in their order, each once.

        repeats, closed: let settings pass that have been observed, or closed, for a space that has no other left.
        """
        taken = set(self._pending if repeats else self._taken)
        if not closed:
            taken |= self._closed
            positions = positions[~self._in_closed_part(positions)]
        kept = []
        for i, key in enumerate(self._encoding.keys(positions)):
            if key not in taken:
                taken.add(key)
                kept.append(i)
        positions = positions[kept]
        return positions[self.costs.affordable(positions)]

    def repeatable(self, positions: Floats) -> Floats:
        """The rows of tried positions (n, p), each once, that may be tried again: not pending nor closed, affordable,
        and with the values that are fixed."""
        return self.filter(positions[self._encoding.keeps_fixed(positions)], repeats=True)

    def first_left(self) -> Floats:
        """One row (1, p) of a finite space that may be proposed; if none is left, a closed one, then one that repeats
        an observed setting, then a pending one; no row (0, p) if none is affordable or the space is infinite."""
        rows = self._encoding.stack(islice(self._encoding.grid(), _WALK_LIMIT))
        for repeats in (False, True):
            for closed in (False, True):
                left = self.filter(rows, repeats=repeats, closed=closed)
                if len(left):
                    return left[:1]
        return rows[self.costs.affordable(rows)][:1]

    def _in_closed_part(self, positions: Floats) -> Bools:
        """Which of the positions (n, p) have all values of some part that is closed."""
        inside = np.zeros(len(positions), dtype=bool)
        for part in self._closed_parts:
            named = ~np.isnan(part)
            inside |= self._encoding.same(positions[:, named], part[named]).all(axis=1)
        return inside


def candidates(
    encoding: Encoding, best: Floats, costs: CostModel, rng: np.random.Generator, *, spread: int = 1024, near: int = 512
) -> Floats:
    """Valid positions (n, p): the whole of a small finite space, else `spread` Sobol points, `near` perturbations of
    the best positions (m, p), and as many of the cheapest settings where money is short."""
    if np.prod(encoding.levels) <= _GRID_LIMIT:
        return encoding.stack(encoding.grid())
    points = encoding.snap(sobol(spread, len(encoding), int(rng.integers(2**31))))
    parts = [points, perturbations(encoding, best, near, rng)]
    if not costs.affordable(points).all():
        parts.append(perturbations(encoding, costs.cheapest(5), near, rng))
    return np.concatenate(parts)
