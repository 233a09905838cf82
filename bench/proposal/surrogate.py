"""The Gaussian process behind the proposals.

Symbols: x, X columns of settings; y standardised objectives (n,); θ (p,) relevances, the inverse squared
lengthscales, one a parameter; s the kernel's scale (a variance); v the noise variance; K = k(X, X) + v I.

    k(x, x') = s M(Σ_j θ_j ‖x_j − x'_j‖²),   M(d²) = (1 + r + r²/3) exp(−r),  r = √5 d    (Matérn-5/2)

where x_j are the columns of parameter j: one number for a numeric one, a scaled one-hot code for a choice, for which
the squared distance is the Hamming distance. Dense algebra in float64: exact up to a few hundred observations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.stats
import torch
from botorch.models.model import Model
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from torch import Tensor

from .encoding import Floats, Ints

_NOISE_FLOOR = 1e-6  # of the variance of y; keeps K well conditioned
_BOUND = 12.0  # on the logarithms of the hyperparameters


@dataclass(frozen=True)
class Hyperparameters:
    """relevance (p,), scale and noise, as the module's head has them."""

    relevance: Floats
    scale: float
    noise: float


class Surrogate(Model):
    """An exact GP with zero mean, as a botorch model of one output.

    columns (n, c) and groups (c,) as `Encoding` has them; y (n,) at mean 0 and deviation 1.
    log_posterior: log p(y, θ, s, v) up to a constant, where `fit` has found the hyperparameters.
    """

    def __init__(
        self,
        columns: Floats,
        groups: Ints,
        y: Floats,
        hyperparameters: Hyperparameters,
        *,
        log_posterior: float = math.nan,
    ) -> None:
        super().__init__()
        self.log_posterior = log_posterior
        self.columns, self.groups, self.y, self.hyperparameters = columns, groups, y, hyperparameters
        self._weights = torch.from_numpy(np.sqrt(hyperparameters.relevance)[groups])
        self._X = torch.from_numpy(np.ascontiguousarray(columns)) * self._weights  # (n, c)
        covariance = self._kernel(self._X, self._X)
        covariance.diagonal().add_(hyperparameters.noise)
        self._factor = _cholesky(covariance)  # (n, n)
        self._alpha = torch.cholesky_solve(torch.from_numpy(y)[:, None], self._factor)  # (n, 1)

    @property
    def num_outputs(self) -> int:
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        return torch.Size()

    def posterior(self, X: Tensor, *args: Any, **kwargs: Any) -> GPyTorchPosterior:  # noqa: N803 (botorch's name)
        """The posterior of the noise-free objective at columns X (..., q, c)."""
        return GPyTorchPosterior(MultivariateNormal(*self._moments(X)))

    def _moments(self, X: Tensor) -> tuple[Tensor, Tensor]:  # noqa: N803
        """Posterior mean (..., q) and covariance (..., q, q) at columns X (..., q, c)."""
        X = X * self._weights
        cross = self._kernel(X, self._X)  # (..., q, n)
        mean = (cross @ self._alpha).squeeze(-1)  # (..., q)
        solved = torch.linalg.solve_triangular(self._factor, cross.reshape(-1, len(self._X)).T, upper=False)
        solved = solved.T.reshape(cross.shape)
        return mean, self._kernel(X, X) - solved @ solved.transpose(-1, -2)

    def predict(self, columns: Floats) -> tuple[Floats, Floats]:
        """Posterior mean and variance (n,) at columns (n, c)."""
        with torch.no_grad():
            posterior = self.posterior(torch.from_numpy(columns)[:, None, :])
            return posterior.mean[:, 0, 0].numpy(), posterior.variance[:, 0, 0].clamp_min(0.0).numpy()

    def believe(self, columns: Floats) -> Surrogate:
        """The surrogate after the outcomes at pending columns (n, c) have turned out as it expects.

        The kriging believer: the mean stays, the variance there shrinks. D. Ginsbourger et al. (2010), "Kriging is
        well-suited to parallelize optimization".
        """
        mean, _ = self.predict(columns)
        return Surrogate(
            np.concatenate([self.columns, columns]), self.groups, np.concatenate([self.y, mean]), self.hyperparameters
        )

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """k between weighted columns (..., q, c) and (..., n, c)."""
        squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1).unsqueeze(-2)
        # The floor keeps the root differentiable where two points coincide.
        squared = (squares - 2.0 * a @ b.transpose(-1, -2)).clamp_min(1e-15)
        r = (5.0 * squared).sqrt()
        return self.hyperparameters.scale * (1.0 + r + r.square() / 3.0) * torch.exp(-r)


def _cholesky(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor; of near-singular matrices after as little as it takes is added to the diagonal."""
    for jitter in (0.0, 1e-8, 1e-6, 1e-4, 1e-2):
        factor, failed = torch.linalg.cholesky_ex(
            matrix + jitter * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=matrix.dtype)
        )
        if not failed:
            break
    return factor


def fit(
    columns: Floats,
    groups: Ints,
    y: Floats,
    *,
    most_relevant: float = math.exp(_BOUND),
    fixed_noise: float | None = None,
) -> Surrogate:
    """The surrogate of columns (n, c) and standardised objectives y (n,), at the posterior mode of (θ, s, v).

    Priors, after those of Optuna's GPSampler, which did best at 5 to 50 observations among the usual ones:
    log p(θ_j) = −(1/θ_j + θ_j)/10 + const, s ~ Gamma(2, 1), v ~ Gamma(1.1, 30). The mode is sought by L-BFGS over
    logarithms from a quiet and a noisy start, because the posterior often has one mode for each reading of the data.

    most_relevant: an upper bound on θ, hence a lower one on lengthscales. fixed_noise: v, where it is given.
    """
    p = int(groups.max()) + 1 if len(groups) else 0
    squared = np.empty((p, len(y), len(y)))
    for j in range(p):
        block = columns[:, groups == j]
        squared[j] = np.square(block[:, None, :] - block[None, :, :]).sum(-1)
    best: tuple[float, Floats] | None = None
    for noise in (1e-2, 0.5) if fixed_noise is None else (fixed_noise,):
        start = np.log(np.r_[np.ones(p), 1.0, noise])
        of_noise = (-_BOUND, _BOUND) if fixed_noise is None else (start[-1], start[-1])
        found = scipy.optimize.minimize(
            _loss,
            start,
            args=(squared, y),
            jac=True,
            method="L-BFGS-B",
            bounds=[*[(-_BOUND, math.log(most_relevant))] * p, (-_BOUND, _BOUND), of_noise],
            options={"maxiter": 100, "gtol": 1e-3},
        )
        if best is None or found.fun < best[0] - 1e-6:
            best = (float(found.fun), found.x)
    assert best is not None
    values = np.exp(best[1])
    hyperparameters = Hyperparameters(values[:p], float(values[p]), float(values[p + 1]) + _NOISE_FLOOR)
    return Surrogate(columns, groups, y, hyperparameters, log_posterior=-best[0])


def probability_of_lower(columns: Floats, groups: Ints, y: Floats, first: int, second: int) -> float:
    """Posterior probability that the noise-free objective is lower at row `first` of the columns than at `second`.

    Averaged over the noise variance v, with the other hyperparameters at their mode for each: a few observations
    leave v open, its own mode lies close to zero, and under that every difference would look certain.
    """
    log_weights, probabilities = [], []
    for noise in np.geomspace(1e-3, 0.5, 12):
        surrogate = fit(columns, groups, y, fixed_noise=float(noise))
        # A grid even in log v asks for the prior's density of log v, which is v times that of v.
        log_weights.append(surrogate.log_posterior + math.log(noise))
        with torch.no_grad():
            mean, covariance = surrogate._moments(torch.from_numpy(columns[[first, second]]))
        variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
        z = float(mean[1] - mean[0]) / math.sqrt(max(variance, 1e-12))
        probabilities.append(float(scipy.stats.norm.cdf(z)))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    return float(np.average(probabilities, weights=weights))


def _loss(logs: Floats, squared: Floats, y: Floats) -> tuple[float, Floats]:
    """−log p(y | θ, s, v) − log p(θ, s, v) and its gradient in (log θ, log s, log v); squared: (p, n, n)."""
    p, n = len(squared), len(y)
    theta, scale, noise = np.exp(logs[:p]), math.exp(logs[p]), math.exp(logs[p + 1])
    r = np.sqrt(5.0 * np.tensordot(theta, squared, axes=1))  # (n, n)
    decay = np.exp(-r)
    K = scale * (1.0 + r + r * r / 3.0) * decay
    signal = K.copy()
    K[np.diag_indices(n)] += noise + _NOISE_FLOOR
    try:
        factor = scipy.linalg.cholesky(K, lower=True)
    except scipy.linalg.LinAlgError:
        return 1e25, np.zeros_like(logs)
    inverse = scipy.linalg.cho_solve((factor, True), np.eye(n))
    alpha = inverse @ y
    loss = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor)).sum())
    loss += 0.1 * float((1.0 / theta + theta).sum())
    loss += scale - math.log(scale) + 30.0 * noise - 0.1 * math.log(noise)
    outer = 0.5 * (inverse - np.outer(alpha, alpha))  # d loss / d K
    slope = outer * (-5.0 / 6.0 * scale * (1.0 + r) * decay)  # d loss / d (squared distance)
    gradient = np.empty_like(logs)
    gradient[:p] = theta * np.tensordot(squared, slope, axes=2) + 0.1 * (theta - 1.0 / theta)
    gradient[p] = float((outer * signal).sum()) + scale - 1.0
    gradient[p + 1] = noise * float(np.trace(outer)) + 30.0 * noise - 0.1
    return loss, gradient
