"""The acquisition function, and the settings that maximise it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import scipy.optimize
from scipy.special import erfcx, log_ndtr

from .candidates import Admission
from .encoding import Bools, Encoding, Floats
from .surrogate import Surrogate

_LEVEL = 0.3  # what is worth this factor less, on a log scale, is as good: the surrogate is not known to a quarter
_MOST_LEVEL = 128  # settings whose distances are compared
_LOG_2PI = math.log(2.0 * math.pi)


class Term(Protocol):
    """A function of settings, at columns (n, c)."""

    def evaluate(self, columns: Floats) -> Floats:
        """Its values (n,)."""

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        """Its values (n,) and gradients (n, c)."""


class Acquisition:
    """The logarithm of what a trial is worth: the sum of terms, which are logarithms of factors."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._terms = terms

    def evaluate(self, columns: Floats) -> Floats:
        """The acquisition (n,) at columns (n, c)."""
        return np.sum([term.evaluate(columns) for term in self._terms], axis=0)

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        """The acquisition (n,) at columns (n, c), and its gradient (n, c)."""
        parts = [term.slope(columns) for term in self._terms]
        return np.sum([value for value, _ in parts], axis=0), np.sum([slope for _, slope in parts], axis=0)


class LogImprovement:
    """log EI(x) over the incumbent's posterior mean (lower is better).

    Log expected improvement: S. Ament et al. (2023), arXiv 2310.20708, eq. 9.
    """

    def __init__(self, surrogate: Surrogate, incumbent: float) -> None:
        self._surrogate, self._incumbent = surrogate, incumbent

    def evaluate(self, columns: Floats) -> Floats:
        mean, variance = self._surrogate.predict(columns)
        deviation = np.sqrt(variance)
        return np.log(deviation) + log_h((self._incumbent - mean) / deviation)

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        return improvement_slope(self._incumbent, *self._surrogate.slopes(columns))


def improvement_slope(
    incumbent: float, mean: Floats, variance: Floats, mean_slope: Floats, variance_slope: Floats
) -> tuple[Floats, Floats]:
    """log EI (..., n) over an incumbent of posterior means and variances (..., n), and its gradient (..., n, c) of
    theirs."""
    deviation = np.sqrt(variance)
    u = (incumbent - mean) / deviation
    log_of_h = log_h(u)
    # EI = σ h(u), hence ∂ log EI/∂μ = −Φ(u) / (σ h(u)) and ∂ log EI/∂σ = φ(u) / (σ h(u)).
    by_mean = -np.exp(log_ndtr(u) - log_of_h) / deviation
    by_variance = np.exp(-0.5 * (u * u + _LOG_2PI) - log_of_h) / (2.0 * variance)
    return np.log(deviation) + log_of_h, by_mean[..., None] * mean_slope + by_variance[..., None] * variance_slope


def log_h(u: Floats) -> Floats:
    """log h(u), h(u) = φ(u) + u Φ(u), the expected positive part of u + a standard normal, without cancellation."""
    u = np.asarray(u, dtype=float)
    out = np.empty_like(u)
    high, low = u > -1.0, u < -1e4
    out[high] = np.log(np.exp(-0.5 * (u[high] ** 2 + _LOG_2PI)) + u[high] * np.exp(log_ndtr(u[high])))
    mid = ~high & ~low
    a = -u[mid]
    out[mid] = -0.5 * (a * a + _LOG_2PI) + np.log1p(-a * math.sqrt(math.pi / 2.0) * erfcx(a / math.sqrt(2.0)))
    a = -u[low]
    out[low] = -0.5 * (a * a + _LOG_2PI) - 2.0 * np.log(a)
    return out


def maximise(
    acquisition: Acquisition,
    encoding: Encoding,
    points: Floats,
    admission: Admission,
    taken: Floats,
    *,
    starts: int = 6,
) -> Floats:
    """The position (1, p) that is best, or as good as that, among admissible points (n, p) and what gradients make of
    the best few of them, moving their continuous part.

    Where several are level, the one is chosen that in its choices and short-ranged integers is farthest from the
    columns taken (t, c), and the best of those: a choice that seems not to matter would otherwise stay where it is for
    good, and so go on to seem so. What gradients move needs no such help: of two points uphill the higher is better.
    """
    values = acquisition.evaluate(encoding.columns(points))
    best = points[np.argsort(-values, kind="stable")[:starts]]
    refined = admission.filter(climb(acquisition, encoding, best))
    points = np.concatenate([points, refined])
    columns = encoding.columns(points)
    values = np.concatenate([values, acquisition.evaluate(columns[len(values) :])])
    level = np.argsort(-values, kind="stable")[:_MOST_LEVEL]
    level = level[values[level] >= values.max() - _LEVEL]
    rough = ~encoding.smooth
    apart = np.square(columns[level][:, None, rough] - taken[:, rough]).sum(-1).min(1)
    return points[[level[int(np.argmax(apart))]]]


def climb(acquisition: Acquisition, encoding: Encoding, points: Floats, *, only: Bools | None = None) -> Floats:
    """Local maxima (n, p) uphill of positions (n, p), all climbed in one batch by L-BFGS.

    only (p,): the parameters that may move, where not all of them may.
    """
    columns = encoding.columns(points)
    free = encoding.smooth & ~np.isnan(points)[:, encoding.groups]  # (n, c)
    if only is not None:
        free &= only[encoding.groups]
    if not free.any():
        return points

    def loss(moved: Floats) -> tuple[float, Floats]:
        at = columns.copy()
        at[free] = moved
        values, gradients = acquisition.slope(at)
        return -float(values.sum()), -gradients[free]

    found = scipy.optimize.minimize(
        loss,
        columns[free],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * int(free.sum()),
        options={"maxiter": 40},
    )
    columns[free] = found.x
    return encoding.from_columns(columns, points)
