"""Variances of few repetitions, each drawn towards what the variances of all families have in common.

Empirical Bayes moderation: Smyth, Statistical Applications in Genetics and Molecular Biology 3(1), article 3, 2004, as
in limma. Families' true variances are taken as draws from a scaled inverse chi-squared distribution, the *prior*:
s0^2 is its variance and d0 its degrees of freedom (how alike the true variances are). A family's own variance s^2 with
d degrees of freedom becomes (d0 s0^2 + d s^2) / (d0 + d) with d0 + d degrees of freedom.

A prior that most families share says nothing of an outlier: pooled with the rest, one noisy family would be taken for
a quiet one and its luck for merit. So a variance far beyond what the other families' prior leads to expect is kept as
it is (Phipson et al., Annals of Applied Statistics 10, 2016, let go of such variances by degrees).

Arrays have shape (..., k): k families last, any number of boards before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

_SMALLEST = 1e-5  # of the mean variance: a family without any spread would take the logarithm to minus infinity
_OUTLIER = 0.003  # chance that a variance like the others is taken for an outlier
_NEWTON_STEPS = 8  # exact to rounding for y above 0.05


def trigamma_inverse(x: ArrayLike) -> Array:
    """The y > 0 with trigamma(y) = x, for x > 0 (Smyth 2004, appendix)."""
    target = np.asarray(x, dtype=np.float64)
    y = 0.5 + 1 / target
    for _ in range(_NEWTON_STEPS):
        value = special.zeta(2, y)  # trigamma; its derivative is -2 zeta(3, y)
        y = y - value * (1 - value / target) / (2 * special.zeta(3, y))
    return y


def fit_prior(variances: ArrayLike, freedom: ArrayLike) -> tuple[Array, Array]:
    """(s0^2, d0) by the mean and the variance of log s^2 over families; each of shape (...).

    variances: (..., k) of at least two families, not all of them zero. freedom: of each, broadcast to that shape.
    d0 is infinite where the variances differ by no more than chance; s0^2 is then their mean.
    """
    found = np.asarray(variances, dtype=np.float64)
    d = np.broadcast_to(np.asarray(freedom, dtype=np.float64), found.shape)
    kept = np.maximum(found, _SMALLEST * np.mean(found, axis=-1, keepdims=True))
    e = np.log(kept) - special.digamma(d / 2) + np.log(d / 2)
    excess = np.var(e, axis=-1, ddof=1) - np.mean(special.zeta(2, d / 2), axis=-1)
    differ = excess > 0
    half = trigamma_inverse(np.where(differ, excess, 1.0))
    variance = np.exp(np.mean(e, axis=-1) + special.digamma(half) - np.log(half))
    return np.where(differ, variance, np.mean(kept, axis=-1)), np.where(differ, 2 * half, np.inf)


def moderated(variances: ArrayLike, freedom: ArrayLike) -> tuple[Array, Array]:
    """Each family's moderated variance and its degrees of freedom, (..., k) both; k is at least 3.

    The freedom is at most that of all families together, which is what an infinite d0 leaves.
    """
    found = np.asarray(variances, dtype=np.float64)
    d = np.broadcast_to(np.asarray(freedom, dtype=np.float64), found.shape)
    prior, d0 = (each[..., None] for each in fit_prior(found, d))
    own = d / (d0 + d)  # 0 where d0 is infinite
    kept = outlying(found, d)
    return (
        np.where(kept, found, (1 - own) * prior + own * found),
        np.where(kept, d, np.minimum(d0 + d, d.sum(axis=-1, keepdims=True))),
    )


def outlying(variances: ArrayLike, freedom: ArrayLike) -> NDArray[np.bool_]:
    """Whether each variance is too large for the prior of the others (F-test), (..., k); k is at least 3."""
    found = np.asarray(variances, dtype=np.float64)
    d = np.broadcast_to(np.asarray(freedom, dtype=np.float64), found.shape)
    far = np.zeros(found.shape, dtype=bool)
    for place in range(found.shape[-1]):
        others = np.delete(d, place, axis=-1)
        prior, d0 = fit_prior(np.delete(found, place, axis=-1), others)
        known = np.minimum(d0, others.sum(axis=-1))
        far[..., place] = special.fdtrc(d[..., place], known, found[..., place] / prior) < _OUTLIER
    return far
