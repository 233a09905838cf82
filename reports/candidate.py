"""Every family against one that was named beforehand: the candidate.

The candidate is named on validation, so its name says nothing of the luck of the test finals, and k - 1 one-sided
tests take the place of k (k - 1) / 2 two-sided ones. Variances are moderated (`moderation.py`) from five finals and
four families on; with fewer there is too little to learn a prior from, and each pair is tested by Welch.

Degrees of freedom of a moderated pair lie a quarter of the way from the smaller of the two to Satterthwaite's, which
promise too much where a noisy family was moderated downwards (halfway, the error is too large; none of the way costs
one point of power). The level holds over the k - 1 tests by Hochberg's procedure
(Biometrika 75, 1988): the p-values and the levels of Holm's, taken from the other end, which is sound for tests that
share the candidate's luck. Look number j at the test finals has the level 0.05 / 2^j, so that all looks together, as
seeds are added, stay below 0.05. `make bench-standings` holds these choices to their error.

Arrays have shape (..., k): k families last, the candidate first, any number of boards before; lower values are better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from .inference import ALPHA, is_constant
from .moderation import moderated

Array = NDArray[np.float64]

POWER = 0.8
MODERATED_SEEDS, MODERATED_FAMILIES = 5, 4
SATTERTHWAITE = 0.25  # of the way from the smaller freedom of a moderated pair to Satterthwaite's
MOST_SEEDS = 100  # more are not counted out


@dataclass(frozen=True)
class Claims:
    """What the finals say of the candidate.

    p_values: of each other family with at least two finals, adjusted over all of them.
    better_than: families that the candidate is better than. not_excluded: the others with at least two finals.
    ahead: those of them whose means are better than the candidate's.
    level: of all tests of this look together. moderated: whether variances are; else the tests are Welch's.
    detectable: the relative difference that one test at its strictest level finds with a probability of POWER; None
        where it says nothing: off the log scale, for a candidate whose mean is no larger than the difference.
    detectable_difference: the same in the metric's unit; None on the log scale.
    seeds_needed: for each family that is neither excluded nor ahead, how many finals would find a difference as large
        as the one seen with that probability at the next look; None: more than MOST_SEEDS.
    """

    candidate: str
    p_values: Mapping[str, float]
    better_than: tuple[str, ...]
    not_excluded: tuple[str, ...]
    ahead: tuple[str, ...]
    level: float
    moderated: bool
    detectable: float | None
    detectable_difference: float | None
    seeds_needed: Mapping[str, int | None]


def look_level(look: int) -> float:
    """The error that all tests of look number 1, 2, ... may make together."""
    return ALPHA / 2**look


def moderates(families: int, seeds: int) -> bool:
    """Whether there are enough families, and finals of each, to learn a prior of variances from."""
    return families >= MODERATED_FAMILIES and seeds >= MODERATED_SEEDS


def spreads(variances: ArrayLike, counts: ArrayLike) -> tuple[Array, Array]:
    """The variance of one final that tests use, and its degrees of freedom, for each family: (..., k) both.

    variances: of the finals, (..., k). counts: how many finals a family has, at least 2; broadcast to that shape.
    """
    found = np.asarray(variances, dtype=np.float64)
    freedom = np.broadcast_to(np.asarray(counts, dtype=np.float64) - 1, found.shape)
    if not moderates(found.shape[-1], int(freedom.min()) + 1) or not found.any(axis=-1).all():
        return found, freedom
    return moderated(found, freedom)


def one_sided(means: ArrayLike, variances: ArrayLike, freedom: ArrayLike, counts: ArrayLike) -> Array:
    """p-values for the candidate being no better than each other family, (..., k - 1).

    means, variances, freedom, counts: of each family's finals, (..., k); variances and freedom by `spreads`.
    """
    mean, f = np.asarray(means, dtype=np.float64), np.asarray(freedom, dtype=np.float64)
    squares = np.asarray(variances, dtype=np.float64) / np.asarray(counts, dtype=np.float64)
    gap, total = mean[..., 1:] - mean[..., :1], squares[..., 1:] + squares[..., :1]
    trust = SATTERTHWAITE if moderates(mean.shape[-1], int(np.min(counts))) else 1.0
    known = total > 0  # else all values of both families are the same, and the gap itself decides
    t = gap / np.sqrt(np.where(known, total, 1.0))
    return np.where(known, special.stdtr(pair_freedom(squares, f, trust), -t), np.where(gap > 0, 0.0, 1.0))


def pair_freedom(squares: Array, freedom: Array, trust: float) -> Array:
    """Degrees of freedom of each difference from the candidate, (..., k - 1).

    squares: squared standard errors of the means, (..., k). freedom: of each. trust: 1 for Satterthwaite's, 0 for the
    smaller of the two, which is never more.
    """
    below = squares**2 / freedom
    total, divisor = squares[..., 1:] + squares[..., :1], below[..., 1:] + below[..., :1]
    smaller = np.minimum(freedom[..., 1:], freedom[..., :1])
    satterthwaite = np.where(divisor > 0, total**2 / np.where(divisor > 0, divisor, 1.0), smaller)
    return (1 - trust) * smaller + trust * satterthwaite


def hochberg(p_values: ArrayLike) -> Array:
    """Adjusted p-values over the last axis: the i-th largest times i, and never above a larger one's."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(-p, axis=-1)
    scaled = np.take_along_axis(p, order, axis=-1) * np.arange(1, p.shape[-1] + 1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum.accumulate(scaled, axis=-1), axis=-1)
    return adjusted


def claims(
    groups: Mapping[str, Sequence[float]],
    candidate: str,
    *,
    lower_is_better: bool = True,
    log_scale: bool = False,
    look: int = 1,
) -> Claims | None:
    """The candidate against every other group; None unless it and another one have two values.

    groups: the finals of each family. log_scale: pairs are tested on logarithms where all values of both are positive.
    A family whose mean is better than the candidate's is not excluded, whatever the logarithms say. look: from 1.
    """
    values = {f: np.asarray(v, dtype=np.float64) for f, v in groups.items() if len(v) > 1}
    others = [f for f in values if f != candidate]
    if candidate not in values or not others:
        return None
    sign = 1.0 if lower_is_better else -1.0
    mine = values[candidate]
    on_logs = [f for f in others if log_scale and mine.min() > 0 and values[f].min() > 0]
    boards = []
    for logs, names in ((True, on_logs), (False, [f for f in others if f not in on_logs])):
        if names:
            scaled = [sign * (np.log(values[f]) if logs else values[f]) for f in (candidate, *names)]
            boards.append(_Board.of(names, scaled, relative_to=None if logs else abs(float(mine.mean()))))
    ahead = tuple(f for f in others if sign * float(values[f].mean() - mine.mean()) < 0)
    raw = {f: 1.0 if f in ahead else p for board in boards for f, p in board.p_values().items()}
    adjusted = dict(zip(raw, map(float, hochberg(list(raw.values()))), strict=True))
    better = tuple(f for f in others if adjusted[f] < look_level(look))
    strictest, next_one = (look_level(j) / len(others) for j in (look, look + 1))
    largest = max(boards, key=lambda board: len(board.names))
    relative, difference = largest.detectable(strictest)
    return Claims(
        candidate=candidate,
        p_values={f: adjusted[f] for f in others},
        better_than=better,
        not_excluded=tuple(f for f in others if f not in better),
        ahead=ahead,
        level=look_level(look),
        moderated=any(board.moderated for board in boards),
        detectable=relative,
        detectable_difference=difference,
        seeds_needed={
            f: board.seeds_needed(f, next_one)
            for board in boards
            for f in board.names
            if f not in better and f not in ahead
        },
    )


@dataclass(frozen=True)
class _Board:
    """The candidate and those that are tested against it on one scale; lower is better.

    names: of the others. means, variances, freedom, counts: the candidate first. relative_to: what differences are
    divided by; None on logarithms.
    """

    names: Sequence[str]
    means: Array
    variances: Array
    freedom: Array
    counts: Array
    relative_to: float | None

    @classmethod
    def of(cls, names: Sequence[str], values: Sequence[Array], relative_to: float | None) -> _Board:
        counts = np.array([float(len(v)) for v in values])
        variances, freedom = spreads([0.0 if is_constant(v) else float(np.var(v, ddof=1)) for v in values], counts)
        means = np.array([v.mean() for v in values])
        means[np.isclose(means, means[0], rtol=1e-12, atol=0.0)] = means[0]
        return cls(names, means, variances, freedom, counts, relative_to)

    @property
    def moderated(self) -> bool:
        return moderates(len(self.counts), int(self.counts.min()))

    def p_values(self) -> dict[str, float]:
        found = one_sided(self.means, self.variances, self.freedom, self.counts)
        return dict(zip(self.names, map(float, found), strict=True))

    def detectable(self, level: float) -> tuple[float | None, float | None]:
        """The difference that a test at `level` finds with probability POWER, at the board's mean variance: relative,
        and in the metric's unit. None as in `Claims`.
        """
        variance, freedom = float(self.variances.mean()), float(self.freedom.mean())
        gap = _quantiles(level, freedom) * math.sqrt(2 * variance / float(self.counts.min()))
        if self.relative_to is None:
            return -math.expm1(-gap), None
        return gap / self.relative_to if gap < self.relative_to else None, gap

    def seeds_needed(self, name: str, level: float) -> int | None:
        """How many finals of both would find the gap seen; None for more than MOST_SEEDS and for no gap."""
        place = 1 + self.names.index(name)
        gap, variance = self.means[place] - self.means[0], self.variances[0] + self.variances[place]
        now = int(min(self.counts[0], self.counts[place]))
        freedom = float(min(self.freedom[0], self.freedom[place])) / (now - 1)
        for seeds in range(now + 1, MOST_SEEDS + 1):
            if gap >= _quantiles(level, freedom * (seeds - 1)) * math.sqrt(variance / seeds):
                return seeds
        return None


def _quantiles(level: float, freedom: float) -> float:
    """How many standard errors a difference must be for a one-sided test to find it with probability POWER."""
    return float(stats.t.isf(level, freedom) + stats.t.ppf(POWER, freedom))
