"""How the surrogate's hyperparameters are learned, in the symbols of `surrogate`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.stats

from .encoding import Floats, Ints
from .subset import EXACT, LEARN, near_and_low, spread_and_low
from .surrogate import Hyperparameters, Surrogate, together

NOISE_FLOOR = 1e-6  # of the variance of y; keeps K well conditioned
_SHARE_OF_NOISE = 0.5  # of what neighbouring settings differ by at random, before any was repeated
_NOISE_DEVIATION = 0.7  # of log v around what other studies expect: a factor of 1.4 on the noise's deviation
BOUND = 12.0  # on the logarithms of the hyperparameters
_ODDS = (-BOUND, BOUND)  # on the logarithm of a / (1 − a)


@dataclass(frozen=True)
class Data:
    """What hyperparameters are learned from: squared distances (p, n, n) by parameter, y (n,), known noise variances
    (n,), and T without its diagonal (n, n) where some training was sampled more than once; drift (n, n): the covariance
    of a part of y that the hyperparameters need not explain; expected_noise: what v usually is, where that is known."""

    squared: Floats
    y: Floats
    known: Floats
    together: Floats | None
    drift: Floats | None = None
    expected_noise: float | None = None


def fit(
    columns: Floats,
    groups: Ints,
    y: Floats,
    *,
    noise: Floats | None = None,
    trainings: Ints | None = None,
    expected_noise: float | None = None,
    most_relevant: float = math.exp(BOUND),
    favour_low: bool = True,
) -> Surrogate:
    """The surrogate of columns (n, c) and standardised objectives y (n,), at the posterior mode of (θ, s, v, a, t).

    Priors, after those of Optuna's GPSampler, which did best at 5 to 50 observations among the usual ones:
    log p(θ_j) = −(1/θ_j + θ_j)/10 + const, s ~ Gamma(2, 1), v and t ~ Gamma(1.1, 30); and log(a / (1 − a)) ~ N(0, 1).
    Where other studies say what v usually is, log v ~ N(log expected, 0.7²) instead.
    Of very many observations a subset is used (`subset`).

    noise, trainings (n,): see `Surrogate`. expected_noise: what v usually is. most_relevant: an upper bound on θ, hence
    a lower one on lengthscales. favour_low: whether, of very many observations, the low ones count more.
    """
    if trainings is not None and len(np.unique(trainings)) == len(trainings):
        trainings = None  # each has its own luck, which is noise
    known = np.zeros(len(y)) if noise is None else noise
    rows = spread_and_low(y, LEARN, low=favour_low)
    data = data_of(columns[rows], groups, y[rows], known[rows], None if trainings is None else trainings[rows])
    data = replace(data, expected_noise=expected_noise)
    found, _ = mode(data, most_relevant=most_relevant)
    if favour_low:
        found = split(found, columns, y, expected_noise)
    relevance = found.relevance[groups]
    kept = near_and_low(columns, y, relevance) if favour_low else spread_and_low(y, EXACT, low=False)
    return Surrogate(
        columns[kept],
        groups,
        y[kept],
        found,
        noise=known[kept],
        trainings=None if trainings is None else trainings[kept],
        kept=kept,
    )


def split(found: Hyperparameters, columns: Floats, y: Floats, expected_noise: float | None = None) -> Hyperparameters:
    """Of what the fit calls noise, the part that is the settings' own character: what repeats do not vary by.

    Without repeats of a setting the noise is as expected or, where nothing is, half. Repeats that agree to the last
    digit say that there is none.
    """
    numbers = np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(numbers)
    means = np.bincount(numbers, weights=y) / counts
    squares = float(((y - means[numbers]) ** 2).sum())
    freedom = len(y) - len(counts)
    if freedom > 0 and squares <= 1e-18 * freedom:
        noise = NOISE_FLOOR
    else:
        before = _SHARE_OF_NOISE * found.noise if expected_noise is None else expected_noise
        noise = min((before + squares) / (1.0 + freedom), found.noise)
    return replace(found, noise=max(noise, NOISE_FLOOR), character=max(found.noise - noise, 0.0))


def probability_of_lower(
    columns: Floats,
    groups: Ints,
    y: Floats,
    places: Floats,
    *,
    trainings: Ints | None = None,
    expected_noise: float | None = None,
) -> Floats:
    """Posterior probabilities (k,) that the noise-free objective is lower at each of columns `places` (k + 1, c) but
    the last than at the last, from y (n,) at columns (n, c).

    Averaged over the noise variance v, with the other hyperparameters at their mode for each: a few observations
    leave v open, its own mode lies close to zero, and under that every difference would look certain.
    """
    data = replace(data_of(columns, groups, y, np.zeros(len(y)), trainings), expected_noise=expected_noise)
    log_weights, probabilities = [], []
    for noise in np.geomspace(1e-3, 0.5, 12):
        found, log_posterior = mode(data, fixed_noise=float(noise))
        # A grid even in log v asks for the prior's density of log v; that of v, which `mode` has where nothing is
        # expected, is to be multiplied by v.
        log_weights.append(log_posterior + (math.log(noise) if expected_noise is None else 0.0))
        surrogate = Surrogate(columns, groups, y, found, trainings=trainings)
        mean, covariance = surrogate.joint(places)
        variances = np.diag(covariance)
        of_differences = variances[:-1] + variances[-1] - 2.0 * covariance[:-1, -1]
        z = (mean[-1] - mean[:-1]) / np.sqrt(np.maximum(of_differences, 1e-12))
        probabilities.append(scipy.stats.norm.cdf(z))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    return np.average(probabilities, axis=0, weights=weights)


def data_of(columns: Floats, groups: Ints, y: Floats, known: Floats, trainings: Ints | None) -> Data:
    p = int(groups.max(initial=-1)) + 1
    squared = np.empty((p, len(y), len(y)))
    for j in range(p):
        block = columns[:, groups == j]
        squared[j] = np.square(block[:, None, :] - block[None, :, :]).sum(-1)
    return Data(squared, y, known, None if trainings is None else together(trainings))


def mode(
    data: Data, *, most_relevant: float = math.exp(BOUND), fixed_noise: float | None = None
) -> tuple[Hyperparameters, float]:
    """The posterior mode, and the logarithm of the posterior there up to a constant.

    Sought by L-BFGS over logarithms from a quiet and a noisy start, because the posterior often has one mode for each
    reading of the data.
    """
    p = len(data.squared)
    best: tuple[float, Floats] | None = None
    for noise in (1e-2, 0.5) if fixed_noise is None else (fixed_noise,):
        luck = [] if data.together is None else [math.log(1e-2)]
        start = np.r_[np.zeros(p), 0.0, math.log(noise), np.clip(0.0, *_ODDS), luck]
        bounds = [(-BOUND, math.log(most_relevant))] * p + [(-BOUND, BOUND)] * (len(start) - p)
        bounds[p + 2] = _ODDS
        if fixed_noise is not None:
            bounds[p + 1] = (start[p + 1], start[p + 1])
        found = scipy.optimize.minimize(
            loss,
            start,
            args=(data,),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 100, "gtol": 1e-3},
        )
        if best is None or found.fun < best[0] - 1e-6:
            best = (float(found.fun), found.x)
    assert best is not None
    logs = best[1]
    theta, (scale, noise, odds, *shared) = np.exp(logs[:p]), np.exp(logs[p:]).tolist()
    return Hyperparameters(theta, scale, noise + NOISE_FLOOR, odds / (1.0 + odds), *shared), -best[0]


def loss(logs: Floats, data: Data) -> tuple[float, Floats]:
    """−log p(y | θ, s, v, a, t) − log p(θ, s, v, a, t) up to a constant, and its gradient, in
    (log θ, log s, log v, log a/(1 − a), log t), the last only where some training was sampled more than once."""
    squared, y = data.squared, data.y
    p, n = len(squared), len(y)
    theta, scale, noise = np.exp(logs[:p]), math.exp(logs[p]), math.exp(logs[p + 1])
    share = 1.0 / (1.0 + math.exp(-logs[p + 2]))
    luck = 0.0 if data.together is None else math.exp(logs[p + 3])

    weighted = 5.0 * theta[:, None, None] * squared  # r² by parameter, (p, n, n)
    r = np.sqrt(weighted.sum(0))  # (n, n)
    fall = (1.0 + r) * np.exp(-r)
    joint = fall + r * r / 3.0 * np.exp(-r)
    apart = np.sqrt(weighted, out=weighted)
    decays = np.exp(-apart)
    falls = (1.0 + apart) * decays
    additive = (falls + apart * apart / 3.0 * decays).mean(0) if p else joint
    signal = scale * ((1.0 - share) * joint + share * additive)
    K = signal.copy()
    if data.together is not None:
        K += luck * data.together
    if data.drift is not None:
        K += data.drift
    K[np.diag_indices(n)] += noise + luck + NOISE_FLOOR + data.known
    try:
        factor = scipy.linalg.cholesky(K, lower=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        return 1e25, np.zeros_like(logs)
    inverse = scipy.linalg.cho_solve((factor, True), np.eye(n), check_finite=False)
    alpha = inverse @ y

    value = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor)).sum())
    value += 0.1 * float((1.0 / theta + theta).sum()) + scale - math.log(scale)
    penalty, slope = _noise_prior(noise, data.expected_noise)
    value += penalty + 0.5 * logs[p + 2] ** 2
    outer = 0.5 * (inverse - np.outer(alpha, alpha))  # d value / d K
    trace = float(np.trace(outer))
    rate = -5.0 / 6.0 * scale * outer
    gradient = np.empty_like(logs)
    by_theta = (1.0 - share) * np.tensordot(squared, rate * fall, axes=2)
    by_theta += share / max(p, 1) * np.einsum("jab,jab,ab->j", squared, falls, rate)
    gradient[:p] = theta * by_theta + 0.1 * (theta - 1.0 / theta)
    gradient[p] = float((outer * signal).sum()) + scale - 1.0
    gradient[p + 1] = noise * trace + slope
    gradient[p + 2] = scale * share * (1.0 - share) * float((outer * (additive - joint)).sum()) + logs[p + 2]
    if data.together is not None:
        value += 30.0 * luck - 0.1 * math.log(luck)
        gradient[p + 3] = luck * (float((outer * data.together).sum()) + trace) + 30.0 * luck - 0.1
    return value, gradient


def _noise_prior(noise: float, expected: float | None) -> tuple[float, float]:
    """−log of the prior of v at `noise`, up to a constant, and its derivative by log v. What other studies expect is a
    density of log v, Gamma(1.1, 30) one of v."""
    if expected is None:
        return 30.0 * noise - 0.1 * math.log(noise), 30.0 * noise - 0.1
    off = (math.log(noise) - math.log(expected)) / _NOISE_DEVIATION
    return 0.5 * off * off, off / _NOISE_DEVIATION
