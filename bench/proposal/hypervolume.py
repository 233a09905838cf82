"""The acquisition function for several objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from botorch.utils.multi_objective.box_decompositions import FastNondominatedPartitioning
from scipy.special import log_ndtr, logsumexp

from .acquisition import log_h
from .encoding import Bools, Floats, Ints
from .surrogate import Surrogate

MOST_OBJECTIVES = 4  # beyond, the cells below a front are too many
_CELLS = 600  # in all draws of the front together; settles how many draws there are
_ROWS = 200  # settings up to which draws are followed everywhere, and at which fronts are drawn
_EXTEND = 0.5  # of the trials look beyond the ends of the front
_NOISE = 1e-6  # of the GPs through draws; keeps them well conditioned
_FAR = 1e3  # stands for infinity among standardised objectives
_LOG_2PI = math.log(2.0 * math.pi)


class HypervolumeImprovement:
    """log of the noisy expected hypervolume improvement, of objectives to be minimised: a term of the acquisition.

    S. Daulton, M. Balandat and E. Bakshy (2021), "Parallel Bayesian optimization of multiple noisy objectives with
    expected hypervolume improvement", arXiv 2105.08195, eq. 4, for one setting at a time: what the objectives truly
    are at the settings tried is drawn several times from the surrogates, and the improvement of each draw's own front
    is averaged. Given a draw, the objectives at x are normal and independent, so that the improvement is a sum of
    products over the cells between front and reference point, in closed form,

        Σ_k Π_j [ψ_j(u_kj) − ψ_j(l_kj)],   ψ_j(a) = E max(a − f_j(x), 0) = σ_j h((a − μ_j) / σ_j),

    and is added up in logarithms, which leave a slope everywhere (S. Ament et al. (2023), arXiv 2310.20708).

    surrogates: one an objective, for standardised values. columns (n, c): settings tried and pending; counts (n,):
    those that may be on the front (by default all). reference (m,): see `reference_point`. Draws follow from rng.
    """

    def __init__(
        self,
        surrogates: Sequence[Surrogate],
        columns: Floats,
        reference: Floats,
        rng: np.random.Generator,
        *,
        counts: Bools | None = None,
        draws: int = 8,
    ) -> None:
        rows = np.arange(len(columns)) if counts is None else np.flatnonzero(counts)
        many = len(columns) > _ROWS
        if many:
            means = np.stack([s.predict(columns[rows])[0] for s in surrogates], axis=1)
            rows = rows[_near_front(means, _ROWS)]
        at, rows = (columns[rows], np.arange(len(rows))) if many else (columns, rows)
        drawn = np.stack([_draw(s, at, draws, rng) for s in surrogates], axis=-1)  # (S, n, m)
        cells: list[tuple[Floats, Floats]] = []
        # Draws past the limit are left out, for those before them say nearly as much.
        for draw in drawn:
            cells.append(_cells(draw[rows], reference))
            if sum(len(lower) for lower, _ in cells) * (1 + 1 / len(cells)) > _CELLS:
                break
        functions = [
            # Among many settings a draw says little that the surrogate does not.
            _Alike(s, len(cells)) if many else _Through(s, columns, drawn[: len(cells), :, j])
            for j, s in enumerate(surrogates)
        ]
        self._cells = _Cells(functions, cells)

    def evaluate(self, columns: Floats) -> Floats:
        """The term (b,) at columns (b, c)."""
        return self._cells.evaluate(columns)

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        """The term (b,) at columns (b, c), and its gradient (b, c)."""
        return self._cells.slope(columns)


class _Cells:
    """log of the improvement's mean over draws S, each with its cells' lower and upper corners (k, m), of the functions
    that have these draws' moments, one an objective."""

    def __init__(self, functions: Sequence[_Through | _Alike], cells: Sequence[tuple[Floats, Floats]]) -> None:
        self._through = functions
        self._sizes = [len(lower) for lower, _ in cells]
        self._lower, self._upper = (
            np.concatenate([c[end] for c in cells]).T[:, :, None] for end in (0, 1)
        )  # (m, k, 1)
        self._starts = np.cumsum([0, *self._sizes[:-1]])

    def evaluate(self, columns: Floats) -> Floats:
        """(b,) at columns (b, c)."""
        log_cells = np.zeros((sum(self._sizes), len(columns)))
        for through, low, high in zip(self._through, self._lower, self._upper, strict=True):
            mean, variance = (self._by_cell(moment) for moment in through.through(columns))  # (k, b)
            deviation = np.sqrt(variance)
            log_cells += np.log(deviation) + _log_difference((low - mean) / deviation, (high - mean) / deviation)
        value: Floats = logsumexp(log_cells, axis=0) - math.log(len(self._sizes))
        return value

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        """(b,) at columns (b, c), and its gradient (b, c)."""
        log_cells = np.zeros((sum(self._sizes), len(columns)))
        sides = []
        for through, low, high in zip(self._through, self._lower, self._upper, strict=True):
            mean, variance, mean_slope, variance_slope = through.through_slopes(columns)
            mean, deviation = self._by_cell(mean), self._by_cell(np.sqrt(variance))  # (k, b)
            below, above = (low - mean) / deviation, (high - mean) / deviation
            log_difference = _log_difference(below, above)
            log_cells += np.log(deviation) + log_difference
            # D = σ (h(u) − h(l)), ∂D/∂μ = Φ(l) − Φ(u), ∂D/∂σ = φ(u) − φ(l) (u above, l below), relative to D.
            by_mean = np.exp(log_ndtr(below) - log_difference) - np.exp(log_ndtr(above) - log_difference)
            by_deviation = np.exp(_log_density(above) - log_difference) - np.exp(_log_density(below) - log_difference)
            sides.append((by_mean / deviation, by_deviation / (2.0 * deviation**2), mean_slope, variance_slope))
        total = logsumexp(log_cells, axis=0)
        shares = np.exp(log_cells - total)  # (k, b)
        gradient = np.zeros_like(columns)
        for by_mean, by_variance, mean_slope, variance_slope in sides:
            gradient += (self._by_draw(shares * by_mean)[:, :, None] * mean_slope).sum(0)
            gradient += (self._by_draw(shares * by_variance)[:, :, None] * variance_slope).sum(0)
        return total - math.log(len(self._sizes)), gradient

    def _by_cell(self, by_draw: Floats) -> Floats:
        """(S, b) as (k, b), to each cell its draw's."""
        return np.repeat(by_draw, self._sizes, axis=0)

    def _by_draw(self, by_cell: Floats) -> Floats:
        """Sums (S, b) over each draw's cells (k, b)."""
        return np.add.reduceat(by_cell, self._starts, axis=0)


class _Through(Surrogate):
    """The GPs through draws (S, n) of one objective, free of noise, at columns (n, c)."""

    def __init__(self, surrogate: Surrogate, columns: Floats, drawn: Floats) -> None:
        super().__init__(columns, surrogate.groups, drawn[0], replace(surrogate.hyperparameters, noise=_NOISE))
        self._alphas = drawn @ self._inverse  # (S, n)

    def through(self, columns: Floats) -> tuple[Floats, Floats]:
        """Each draw's mean (S, b) and the variance (S, b), which they share, at columns (b, c)."""
        cross, solved, _ = self._weigh(columns)
        mean = self._alphas @ cross.T
        return mean, np.broadcast_to(self._moments(cross, solved)[1], mean.shape)

    def through_slopes(self, columns: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """`through` at columns (b, c), and the gradients (S, b, c)."""
        cross, solved, distances = self._weigh(columns)
        mean = self._alphas @ cross.T
        variance = np.broadcast_to(self._moments(cross, solved)[1], mean.shape)
        *of_mean, of_variance = self._pull(columns, distances, [*self._alphas, -2.0 * solved])
        slopes = np.stack(of_mean)
        return mean, variance, slopes, np.broadcast_to(of_variance, slopes.shape)


class _Alike:
    """The surrogate's own moments, S times over."""

    def __init__(self, surrogate: Surrogate, draws: int) -> None:
        self._surrogate, self._draws = surrogate, draws

    def through(self, columns: Floats) -> tuple[Floats, Floats]:
        mean, variance = self._surrogate.predict(columns)
        return self._repeat(mean), self._repeat(variance)

    def through_slopes(self, columns: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        mean, variance, mean_slope, variance_slope = self._surrogate.slopes(columns)
        return self._repeat(mean), self._repeat(variance), self._repeat(mean_slope), self._repeat(variance_slope)

    def _repeat(self, values: Floats) -> Floats:
        return np.broadcast_to(values, (self._draws, *values.shape))


def _draw(surrogate: Surrogate, columns: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Joint draws (S, n) from the surrogate's posterior at columns (n, c)."""
    mean, covariance = surrogate.joint(columns)
    # Eigenvalues, because rounding leaves the covariance of settings that are well known with some below zero.
    values, vectors = np.linalg.eigh(covariance)
    # Known up to the least noise, which is what the GPs through the draws allow for.
    root = vectors * np.sqrt(np.maximum(values, 0.0) + _NOISE)
    drawn: Floats = mean + rng.standard_normal((draws, len(mean))) @ (root @ vectors.T)
    return drawn


def _near_front(means: Floats, at_most: int) -> Ints:
    """Indices of at most `at_most` rows of means (n, m): the Pareto front, then the front of the rest, and so on."""
    left = np.arange(len(means))
    kept: list[int] = []
    while len(left) and len(kept) < at_most:
        front = pareto(means[left])
        kept += left[front].tolist()
        left = np.delete(left, front)
    return np.sort(kept[:at_most])


def reference_point(means: Floats, rng: np.random.Generator) -> Floats:
    """The point (m,) up to which hypervolume counts, from posterior means (n, m) of standardised objectives.

    By a toss, either the front's own worst values, under which a new point must beat the middle of the front, or a
    little beyond the worst of all that has been seen, under which the front's ends are worth extending. Where the
    front has no extent in an objective, the second holds for it.
    """
    low, high = means.min(axis=0), means.max(axis=0)
    beyond: Floats = high + 0.1 * (high - low) + 1e-6
    if rng.random() < _EXTEND:
        return beyond
    front = means[pareto(means)]
    nadir = front.max(axis=0)
    return np.where(nadir > front.min(axis=0) + 1e-6, nadir, beyond)


def pareto(values: Floats) -> list[int]:
    """Indices of the rows of values (n, m) that no other is at least as low as in all, and lower in one."""
    # In this order nothing is dominated by what comes after it.
    order = np.lexsort((*values.T, values.sum(axis=1)))
    done = 0
    while done < len(order):
        best, others = values[order[done]], values[order]
        order = order[~((others >= best).all(axis=1) & (others > best).any(axis=1))]
        done += 1
    return sorted(order.tolist())


def _cells(values: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Lower and upper corners (k, m) of boxes that fill what values (n, m) leave undominated below a reference."""
    partition = FastNondominatedPartitioning(ref_point=-torch.from_numpy(reference), Y=-torch.from_numpy(values))
    upper, lower = (-partition.get_hypercell_bounds()).numpy()
    return np.maximum(lower, -_FAR), upper


def _log_difference(lower: Floats, upper: Floats) -> Floats:
    """log(h(upper) − h(lower)), lower <= upper."""
    larger = log_h(upper)
    return larger + np.log(-np.expm1(np.minimum(log_h(lower) - larger, -1e-12)))


def _log_density(z: Floats) -> Floats:
    return -0.5 * (z * z + _LOG_2PI)
