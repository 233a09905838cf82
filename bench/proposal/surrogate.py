"""The Gaussian process behind the proposals.

Symbols: x, X columns of settings; y standardised objectives (n,); θ (p,) relevances, the inverse squared
lengthscales, one a parameter; s the kernel's scale (a variance); a its additive share; v the noise variance; t the
variance of a training's luck, which all trials that sample the same trained model share (T their indicator matrix);
u that of a setting's own character, the part of its true objective that its neighbours do not share (S the indicator
matrix of equal settings); K = k(X, X) + u S + t T + v I + known noise variances.

    k(x, x') = s ((1 − a) M(Σ_j θ_j d_j²) + a/p Σ_j M(θ_j d_j²)),   M(d²) = (1 + r + r²/3) exp(−r),  r = √5 d

with d_j the distance in the columns of parameter j: one number for a numeric one, a scaled one-hot code for a choice,
for which its square is the Hamming distance. M is the Matérn-5/2 kernel. The second part is a sum of functions of one
parameter each (D. Duvenaud, H. Nickisch and C. E. Rasmussen (2011), "Additive Gaussian processes", arXiv 1112.4394):
much of what hyperparameters do, they do one by one, and a sum is learned from far fewer observations than a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from botorch.models.model import Model
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from torch import Tensor

from .encoding import Floats, Ints


@dataclass(frozen=True)
class Hyperparameters:
    """relevance (p,), scale, noise, additive, luck and character: θ, s, v, a, t and u of the module's head."""

    relevance: Floats
    scale: float
    noise: float
    additive: float = 0.0
    luck: float = 0.0
    character: float = 0.0


class Surrogate(Model):
    """An exact GP with zero mean, as a botorch model of one output, and its closed forms.

    The closed forms take a fifth of the time of automatic differentiation, which matters because an acquisition
    function is climbed with some hundred calls of a few points each; what needs `posterior` is botorch's own.

    columns (n, c) and groups (c,) as `Encoding` has them; y (n,) at mean 0 and deviation 1; noise (n,) known noise
    variances, which are added to v; trainings (n,) numbers that are equal where the same trained model was sampled;
    kept (n,) the rows' places among all that it was learned from.
    """

    def __init__(
        self,
        columns: Floats,
        groups: Ints,
        y: Floats,
        hyperparameters: Hyperparameters,
        *,
        noise: Floats | None = None,
        trainings: Ints | None = None,
        kept: Ints | None = None,
    ) -> None:
        super().__init__()
        self.columns, self.groups, self.y, self.hyperparameters = columns, groups, y, hyperparameters
        self.noise = np.zeros(len(y)) if noise is None else noise
        self.trainings = trainings
        self.kept = np.arange(len(y)) if kept is None else kept
        self._blocks = [np.flatnonzero(groups == j) for j in range(int(groups.max(initial=-1)) + 1)]
        self._weights = np.sqrt(hyperparameters.relevance)[groups]  # (c,)
        self._rows = np.ascontiguousarray(columns) * self._weights  # (n, c)
        covariance = self._kernel(torch.from_numpy(self._rows), torch.from_numpy(self._rows))
        covariance = covariance + torch.from_numpy(self._character(columns))
        if trainings is not None:
            covariance = covariance + hyperparameters.luck * torch.from_numpy(together(trainings) + np.eye(len(y)))
        covariance.diagonal().add_(torch.from_numpy(hyperparameters.noise + self.noise))
        self._factor = _cholesky(covariance)  # (n, n)
        self._solution = torch.cholesky_solve(torch.from_numpy(y)[:, None], self._factor)  # (n, 1)
        self._inverse = torch.cholesky_inverse(self._factor).numpy()  # (n, n)
        self._alpha = self._solution.numpy()[:, 0]

    @property
    def precision(self) -> Floats:
        """K⁻¹ (n, n)."""
        return self._inverse

    @property
    def num_outputs(self) -> int:
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        return torch.Size()

    def posterior(self, X: Tensor, *args: Any, **kwargs: Any) -> GPyTorchPosterior:  # noqa: N803 (botorch's name)
        """The posterior of the noise-free objective at columns X (..., q, c)."""
        weighted = X * torch.from_numpy(self._weights)
        cross = self._kernel(weighted, torch.from_numpy(self._rows))  # (..., q, n)
        mean = (cross @ self._solution).squeeze(-1)  # (..., q)
        solved = torch.linalg.solve_triangular(self._factor, cross.reshape(-1, len(self._rows)).T, upper=False)
        solved = solved.T.reshape(cross.shape)
        covariance = self._kernel(weighted, weighted) - solved @ solved.transpose(-1, -2)
        return GPyTorchPosterior(MultivariateNormal(mean, covariance))

    def predict(self, columns: Floats) -> tuple[Floats, Floats]:
        """Posterior mean and variance (b,) at columns (b, c)."""
        cross, solved, _ = self._weigh(columns)
        return self._moments(cross, solved)

    def standing(self, columns: Floats) -> Floats:
        """Posterior mean (b,) at columns (b, c), the own character of settings tried included."""
        return (self._weigh(columns)[0] + self._character(columns)) @ self._alpha

    def slopes(self, columns: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Posterior mean and variance (b,) at columns (b, c), and their gradients (b, c)."""
        cross, solved, distances = self._weigh(columns)
        mean_slope, variance_slope = self._pull(columns, distances, [self._alpha, -2.0 * solved])
        return *self._moments(cross, solved), mean_slope, variance_slope

    def _pull(self, columns: Floats, distances: list[Floats], weights: Sequence[Floats]) -> list[Floats]:
        """Σ_n w_n ∂k(x, X_n)/∂x (b, c) at columns (b, c), for each of the weights w (n,) or (b, n)."""
        h, p = self.hyperparameters, len(self._blocks)
        joint = (1.0 - h.additive) * _fall(np.sum(distances, axis=0))
        out = [np.empty_like(columns) for _ in weights]
        for block, distance in zip(self._blocks, distances, strict=True):
            # dk / d(squared distance of this parameter), (b, n)
            slope = -5.0 / 6.0 * h.scale * (joint + h.additive / p * _fall(distance))
            for gradient, w in zip(out, weights, strict=True):
                pull = slope * w
                moved = columns[:, block] * pull.sum(1, keepdims=True) - pull @ self.columns[:, block]
                gradient[:, block] = 2.0 * self._weights[block] ** 2 * moved
        return out

    def joint(self, columns: Floats) -> tuple[Floats, Floats]:
        """Posterior mean (k,) and covariance (k, k) at columns (k, c), each setting's own character included."""
        cross = self._weigh(columns)[0] + self._character(columns)
        weighted = torch.from_numpy(columns * self._weights)
        prior = self._kernel(weighted, weighted).numpy() + self.hyperparameters.character * same_rows(columns, columns)
        return cross @ self._alpha, prior - cross @ self._inverse @ cross.T

    def log_correlation(self, sought: Floats, shown: Floats, trainings: Ints) -> Floats:
        """log of the posterior correlation (b,) of the objective at columns `sought` (b, c) with what a trial at
        columns `shown` (b, c) would measure.

        trainings (b,): the numbers of the trainings that the trials sample, −1 for new ones.
        """
        h = self.hyperparameters
        same = np.all(sought == shown, axis=1)
        crosses = [self._weigh(at)[0] + self._character(at) for at in (sought, shown)]  # (b, n)
        if self.trainings is not None:
            crosses[1] = crosses[1] + h.luck * (trainings[:, None] == self.trainings)
        solved = crosses[1] @ self._inverse
        prior = self._diagonal(sought, shown) + h.character * same
        covariance = prior - (solved * crosses[0]).sum(1)
        sought_variance = h.scale + h.character - (crosses[0] @ self._inverse * crosses[0]).sum(1)
        shown_variance = h.scale + h.character + h.luck + h.noise - (solved * crosses[1]).sum(1)
        product = np.maximum(sought_variance, 1e-12) * np.maximum(shown_variance, h.noise)
        return np.log(np.clip(covariance / np.sqrt(product), 1e-6, 1.0))

    def _diagonal(self, a: Floats, b: Floats) -> Floats:
        """k (b,) between the rows of columns a and b (b, c)."""
        apart = np.square((a - b) * self._weights)
        distances = [apart[:, block].sum(1) for block in self._blocks]
        h = self.hyperparameters
        joint, single = matern(np.sum(distances, axis=0)), np.mean([matern(d) for d in distances], axis=0)
        return np.asarray(h.scale * ((1.0 - h.additive) * joint + h.additive * single))

    def believe(self, columns: Floats) -> Surrogate:
        """The surrogate after the outcomes at pending columns (m, c) have turned out as it expects.

        The kriging believer: the mean stays, the variance there shrinks. D. Ginsbourger et al. (2010), "Kriging is
        well-suited to parallelize optimization".
        """
        mean, _ = self.predict(columns)
        trainings = self.trainings
        if trainings is not None:
            trainings = np.concatenate([trainings, int(trainings.max()) + 1 + np.arange(len(columns))])
        return Surrogate(
            np.concatenate([self.columns, columns]),
            self.groups,
            np.concatenate([self.y, mean]),
            self.hyperparameters,
            noise=np.concatenate([self.noise, np.zeros(len(columns))]),
            trainings=trainings,
        )

    def _character(self, columns: Floats) -> Floats:
        """u S between columns (b, c) and its own rows (b, n)."""
        if not self.hyperparameters.character:
            return np.zeros((len(columns), len(self.columns)))
        return self.hyperparameters.character * same_rows(columns, self.columns)

    def _moments(self, cross: Floats, solved: Floats) -> tuple[Floats, Floats]:
        variance = self.hyperparameters.scale - (solved * cross).sum(1)
        return cross @ self._alpha, np.maximum(variance, 1e-12)

    def _weigh(self, columns: Floats) -> tuple[Floats, Floats, list[Floats]]:
        """k(x, X) and k(x, X) K⁻¹ (b, n), and the weighted squared distances (b, n) by parameter."""
        at = columns * self._weights
        distances = []
        for block in self._blocks:
            if len(block) == 1:
                distances.append(np.square(at[:, block] - self._rows[:, block[0]]))
            else:
                a, b = at[:, block], self._rows[:, block]
                squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1)
                distances.append(np.maximum(squares - 2.0 * a @ b.T, 0.0))
        h = self.hyperparameters
        cross = (1.0 - h.additive) * matern(np.sum(distances, axis=0))
        cross += h.additive * np.mean([matern(distance) for distance in distances], axis=0)
        cross *= h.scale
        return cross, cross @ self._inverse, distances

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        """k between weighted columns (..., q, c) and (..., n, c)."""
        distances = []
        for block in self._blocks:
            x, z = a[..., block], b[..., block]
            squares = x.square().sum(-1, keepdim=True) + z.square().sum(-1).unsqueeze(-2)
            # The floor keeps the root differentiable where two points coincide.
            distances.append((squares - 2.0 * x @ z.transpose(-1, -2)).clamp_min(1e-15))
        h = self.hyperparameters
        stacked = torch.stack(distances)
        return h.scale * (
            (1.0 - h.additive) * _torch_matern(stacked.sum(0)) + h.additive * _torch_matern(stacked).mean(0)
        )


def matern(squared: Floats) -> Floats:
    """M of squared distances."""
    r = np.sqrt(5.0 * squared)
    return (1.0 + r + r * r / 3.0) * np.exp(-r)


def same_rows(a: Floats, b: Floats) -> Floats:
    """S between columns (k, c) and (n, c): 1 where the settings are equal, else 0."""
    numbers = np.unique(np.concatenate([a, b]), axis=0, return_inverse=True)[1].reshape(-1)
    return np.asarray(numbers[: len(a), None] == numbers[None, len(a) :], dtype=float)


def together(trainings: Ints) -> Floats:
    """T without its diagonal (n, n), of the numbers of n trials' trainings."""
    return (trainings[:, None] == trainings[None, :]) - np.eye(len(trainings))


def _fall(squared: Floats) -> Floats:
    """(1 + r) exp(−r), which is −6/5 times the derivative of M by the squared distance."""
    r = np.sqrt(5.0 * squared)
    return (1.0 + r) * np.exp(-r)


def _torch_matern(squared: Tensor) -> Tensor:
    r = (5.0 * squared).sqrt()
    return (1.0 + r + r.square() / 3.0) * torch.exp(-r)


def _cholesky(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor; of near-singular matrices after as little as it takes is added to the diagonal."""
    for jitter in (0.0, 1e-8, 1e-6, 1e-4, 1e-2):
        factor, failed = torch.linalg.cholesky_ex(
            matrix + jitter * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=matrix.dtype)
        )
        if not failed:
            break
    return factor
