"""A Gaussian process whose mean is predicted by earlier studies, as far as the present study's trials confirm it.

    y(x) = b + Σ_i w_i μ_i(x) + δ(x) + noise,   b ~ N(0, 1),   w_i ~ N(0.7/T, 0.75/T),   w_i ≥ 0

where μ_i is the posterior mean of earlier study i of T, standardised by that study's own values (`transfer.Outlook`),
and δ the Gaussian process of `surrogate`. Where the studies before agree with this one, the weights take over what they
know and little is left to δ; where they do not, the weights fall, and more and more trials are left to the process of a
study that begins from nothing (`fit_either`). Hyperparameters are learned with the weights integrated out
(C. E. Rasmussen and C. K. I. Williams (2006), Gaussian Processes for Machine Learning, §2.7, "Incorporating explicit
basis functions"), and each of several members has its own draw of both, so that few trials leave open which study to
follow, and how far.

Ranking-weighted ensembles (M. Feurer, B. Letham, F. Hutter and E. Bakshy (2018), "Practical transfer learning for
Bayesian optimization", arXiv 1802.02219) weigh whole posteriors instead, and so lose what this study's own trials say
as far as they follow an earlier one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.stats
from scipy.special import expit, logsumexp

from .acquisition import improvement_slope, log_h
from .encoding import Floats, Ints
from .learning import BOUND, NOISE_FLOOR, Data, data_of, loss, mode, split
from .subset import LEARN, near_and_low, spread_and_low
from .surrogate import Hyperparameters, Surrogate
from .transfer import Outlook

_MEMBERS = 8
_LOG_ODDS = -4.0  # of the ensemble before any trial
_POWER = 2.0  # of the evidence
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0  # its multiples are evenly spread modulo 1
# What the weights of all earlier studies add up to before any trial, the variance of that sum where the studies agree,
# and the variance of the intercept.
_SUM, _SUM_VARIANCE, _INTERCEPT_VARIANCE = 0.7, 0.75, 1.0


class Ensemble:
    """A mixture, in equal parts, of Gaussian processes with means of their own; for the engine what a `Surrogate` is.

    rests: the members' processes of δ (H). weights (H, T + 1) of the outlooks and of the constant.
    """

    def __init__(self, rests: Sequence[Surrogate], views: Sequence[Outlook], weights: Floats) -> None:
        self.rests, self._views, self.weights = rests, views, weights
        self.columns, self.kept, self.hyperparameters = rests[0].columns, rests[0].kept, rests[0].hyperparameters

    def predict(self, columns: Floats) -> tuple[Floats, Floats]:
        """The mixture's mean and variance (b,) at columns (b, c)."""
        means, variances = self.marginals(columns)
        return means.mean(0), variances.mean(0) + means.var(0)

    def standing(self, columns: Floats) -> Floats:
        """The mixture's mean (b,) at columns (b, c), the own character of settings tried included."""
        means = np.stack([rest.standing(columns) for rest in self.rests])
        return np.asarray((means + self._trend(columns)).mean(0))

    def marginals(self, columns: Floats) -> tuple[Floats, Floats]:
        """Each member's posterior mean and variance (H, b) at columns (b, c)."""
        means, variances = (np.stack(each) for each in zip(*(r.predict(columns) for r in self.rests), strict=True))
        return means + self._trend(columns), variances

    def slopes(self, columns: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """`marginals` at columns (b, c), and their gradients (H, b, c)."""
        found = zip(*(r.slopes(columns) for r in self.rests), strict=True)
        means, variances, mean_slopes, variance_slopes = (np.stack(each) for each in found)
        values, gradients = (np.stack(each) for each in zip(*(v.slope(columns) for v in self._views), strict=True))
        means = means + self.weights[:, :-1] @ values + self.weights[:, -1:]
        return means, variances, mean_slopes + np.tensordot(self.weights[:, :-1], gradients, axes=1), variance_slopes

    def joint(self, columns: Floats) -> tuple[Floats, Floats]:
        """The mixture's mean (k,) and covariance (k, k) at columns (k, c), each setting's own character included."""
        means, covariances = (np.stack(each) for each in zip(*(r.joint(columns) for r in self.rests), strict=True))
        means = means + self._trend(columns)
        off = means - means.mean(0)
        return means.mean(0), covariances.mean(0) + off.T @ off / len(off)

    def believe(self, columns: Floats) -> Ensemble:
        """The ensemble after the outcomes at pending columns (m, c) have turned out as each member expects."""
        return Ensemble([rest.believe(columns) for rest in self.rests], self._views, self.weights)

    def _trend(self, columns: Floats) -> Floats:
        """What the earlier studies say (H, b) at columns (b, c)."""
        return np.asarray(self.weights @ _basis(self._views, columns).T)


class MeanImprovement:
    """log of an ensemble's expected EI(x) over its members, over the incumbent's posterior mean (lower is better): see
    `LogImprovement`."""

    def __init__(self, ensemble: Ensemble, incumbent: float) -> None:
        self._ensemble, self._incumbent = ensemble, incumbent

    def evaluate(self, columns: Floats) -> Floats:
        means, variances = self._ensemble.marginals(columns)
        deviations = np.sqrt(variances)
        values = np.log(deviations) + log_h((self._incumbent - means) / deviations)  # (H, n)
        return np.asarray(logsumexp(values, axis=0)) - math.log(len(values))

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        values, gradients = improvement_slope(self._incumbent, *self._ensemble.slopes(columns))
        total = np.asarray(logsumexp(values, axis=0))
        return total - math.log(len(values)), (np.exp(values - total)[..., None] * gradients).sum(0)


def fit_either(
    columns: Floats,
    groups: Ints,
    y: Floats,
    views: Sequence[Outlook],
    *,
    noise: Floats | None = None,
    trainings: Ints | None = None,
    expected_noise: float | None = None,
    follow: bool | None = None,
) -> Ensemble | Surrogate:
    """The ensemble of columns (n, c), standardised objectives y (n,) and the outlooks of at least one earlier study; or
    the surrogate of a study that begins from nothing.

    Each is followed in as many trials as it is probable, by the posteriors at both modes. Their improvements are not
    averaged: the surrogate hopes for much wherever it knows nothing, which would have the last word however improbable
    it is.

    noise, trainings (n,): see `Surrogate`. expected_noise: see `learning.fit`. follow: True for the ensemble, False for
    the surrogate, None for either.
    """
    if trainings is not None and len(np.unique(trainings)) == len(trainings):
        trainings = None  # each has its own luck, which is noise
    known = np.zeros(len(y)) if noise is None else noise
    rows = spread_and_low(y, LEARN, low=True)
    cold = data_of(columns[rows], groups, y[rows], known[rows], None if trainings is None else trainings[rows])
    cold = replace(cold, expected_noise=expected_noise)
    basis = _basis(views, columns)
    mean, variance = _prior(len(views))
    warm = replace(cold, y=(y - basis @ mean)[rows], drift=(basis[rows] * variance) @ basis[rows].T)
    alone, log_alone = mode(cold)
    together, log_together = mode(warm)
    kept = near_and_low(columns, y, alone.relevance[groups])
    columns, y, basis = columns[kept], y[kept], basis[kept]

    def process(values: Floats, found: Hyperparameters) -> Surrogate:
        shared = None if trainings is None else trainings[kept]
        own = split(found, columns, y, expected_noise)
        return Surrogate(columns, groups, values, own, noise=known[kept], trainings=shared, kept=kept)

    if follow is None:
        follow = len(rows) * _GOLDEN % 1.0 < expit(_LOG_ODDS + _POWER * (log_together - log_alone))
    if not follow:
        return process(y, alone)
    members = _around(together, warm)
    normal = _normal(len(members), basis.shape[1])
    weights = np.stack(
        [_draw_weights(process(y, m).precision, basis, y, z) for m, z in zip(members, normal, strict=True)]
    )
    rests = [process(y - basis @ w, found) for w, found in zip(weights, members, strict=True)]
    return Ensemble(rests, views, weights)


def _basis(views: Sequence[Outlook], columns: Floats) -> Floats:
    """What the earlier studies say at columns (b, c), and the constant (b, T + 1)."""
    return np.stack([*(view.mean(columns) for view in views), np.ones(len(columns))], axis=1)


def _prior(count: int) -> tuple[Floats, Floats]:
    """Means and variances (T + 1,) of the weights of so many earlier studies and of the intercept."""
    return np.r_[np.full(count, _SUM / count), 0.0], np.r_[np.full(count, _SUM_VARIANCE / count), _INTERCEPT_VARIANCE]


def _draw_weights(precision: Floats, basis: Floats, y: Floats, z: Floats) -> Floats:
    """Weights and intercept (T + 1,) drawn from their posterior by standard normal figures z (T + 1,), the weights cut
    at zero. precision (n, n): the inverse of K."""
    mean, variance = _prior(basis.shape[1] - 1)
    weighed = precision @ basis
    inverse = weighed.T @ basis + np.diag(1.0 / variance)
    covariance = np.linalg.inv(inverse)
    drawn: Floats = covariance @ (weighed.T @ y + mean / variance) + np.linalg.cholesky(covariance) @ z
    drawn[:-1] = np.maximum(drawn[:-1], 0.0)
    # The intercept again, given the weights.
    left = y - basis[:, :-1] @ drawn[:-1]
    drawn[-1] = weighed[:, -1] @ left / inverse[-1, -1] + z[-1] / math.sqrt(inverse[-1, -1])
    return drawn


def _around(found: Hyperparameters, data: Data) -> list[Hyperparameters]:
    """The posterior mode of the hyperparameters, and draws around it from the normal distribution with the mode's
    curvature (Laplace's approximation over logarithms)."""
    odds = found.additive / (1.0 - found.additive)
    luck = [] if data.together is None else [found.luck]
    at = np.log(np.r_[found.relevance, found.scale, found.noise - NOISE_FLOOR, odds, luck])
    step = 1e-3
    moves = step * np.eye(len(at))
    curvature = np.array([(loss(at + h, data)[1] - loss(at - h, data)[1]) / (2 * step) for h in moves])
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    widths = 1.0 / np.sqrt(np.maximum(values, 0.25))
    draws = at + (_normal(_MEMBERS, len(at))[1:] * widths) @ vectors.T
    return [found, *(_hyperparameters(logs, data) for logs in np.clip(draws, -BOUND, BOUND))]


def _hyperparameters(logs: Floats, data: Data) -> Hyperparameters:
    """Of logarithms as `loss` takes them."""
    p = len(data.squared)
    scale, noise, odds, *luck = np.exp(logs[p:]).tolist()
    return Hyperparameters(np.exp(logs[:p]), scale, noise + NOISE_FLOOR, odds / (1.0 + odds), *luck)


def _normal(n: int, dimensions: int) -> Floats:
    """n well-spread standard normal points (n, dimensions), the first of them at the centre."""
    engine = scipy.stats.qmc.MultivariateNormalQMC(np.zeros(dimensions), rng=np.random.default_rng(0))
    points = engine.random(1 << (n - 1).bit_length())  # Sobol points come in powers of two
    return np.concatenate([np.zeros((1, dimensions)), points[: n - 1]])
