"""Probabilistic principal component analysis: a Gaussian with a low-dimensional code.

Glossary: models/densities.py, and
    z   (n, q) codes, N(0, I) a priori
    W   (D, q) loadings
    M   W^T W + sigma^2 I, (q, q)
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ..base import Batch, Stage
from ..data_spec import DataSpec
from .densities import DensityModel, condition_gaussian, from_values, moments, standard_normal, to_values

_LEAST_NOISE = 1e-6  # of the mean variance: what sigma^2 is at least, so that a density is there for flat data


class ProbabilisticPCA(DensityModel):
    """v = W z + mu + epsilon with z ~ N(0, I_q) and epsilon ~ N(0, sigma^2 I_D), maximum likelihood in closed form:

        W = U_q (Lambda_q - sigma^2 I)^(1/2),   sigma^2 = mean of the D - q smallest eigenvalues

    of the covariance's eigenvectors U and eigenvalues Lambda (Tipping and Bishop 1999, doi:10.1111/1467-9868.00196,
    equations 7 and 8). Images as in `Gaussian`: the covariance is that of the dequantised values in expectation.

    latent_dim: q; at most D - 1, beyond which the noise has no direction left.
    """

    family = "pca"
    mean: Tensor  # (D,) float64
    loadings: Tensor  # (D, q) float64
    variance: Tensor  # () float64, sigma^2

    def __init__(self, data: DataSpec, *, latent_dim: int = 16) -> None:
        super().__init__(data)
        if latent_dim < 1:
            raise ValueError(f"latent_dim is {latent_dim}; at least 1 is needed")
        d = data.dimensions
        self.latent_dim = max(1, min(latent_dim, d - 1))
        self.register_buffer("mean", torch.zeros(d, dtype=torch.float64))
        self.register_buffer("loadings", torch.zeros(d, self.latent_dim, dtype=torch.float64))
        self.register_buffer("variance", torch.ones((), dtype=torch.float64))

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("closed form", fit=self.fit),)

    def fit(self, data: Batch, generator: Generator) -> float:
        """The closed form on the train split; returns its operations, 2 n D^2 + 9 D^3 (Golub and Van Loan 2013,
        Matrix Computations, section 8.3, for all eigenvectors).
        """
        mean, covariance = moments(data.x, self.data)
        n, d, q = len(data), len(mean), self.latent_dim
        eigenvalues, eigenvectors = torch.linalg.eigh(covariance)  # ascending
        least = max(_LEAST_NOISE * float(eigenvalues.mean()), torch.finfo(torch.float64).tiny)
        rest = float(eigenvalues[: d - q].mean()) if d > q else 0.0
        variance = max(rest, least)
        scale = (eigenvalues[d - q :] - variance).clamp_min(0.0).sqrt()
        self.mean.copy_(mean)
        self.loadings.copy_((eigenvectors[:, d - q :] * scale).flip(1))  # the strongest first
        self.variance.fill_(variance)
        return 2.0 * n * d**2 + 9.0 * d**3

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        """n draws (n, *data.shape); images are rounded down to their level.

        temperature: of every deviation, codes' and noise's: draws from N(mu, temperature^2 Sigma).
        """
        d, q = self.loadings.shape
        noise = standard_normal(n, q + d, generator)
        deviation = noise[:, :q] @ self.loadings.T + self.variance.sqrt() * noise[:, q:]
        return self._from_modelled(self.mean + temperature * deviation)

    def log_density(self, v: Tensor) -> Tensor:
        """By Woodbury's identity: the largest matrix that is factorised is M."""
        r = v.to(torch.float64) - self.mean  # (n, D)
        d, q = self.loadings.shape
        projected = r @ self.loadings  # (n, q)
        L = torch.linalg.cholesky(self._m())
        solved = torch.cholesky_solve(projected.T, L).T
        distance = (r.square().sum(1) - (projected * solved).sum(1)) / self.variance
        log_det = (d - q) * self.variance.log() + 2.0 * L.diagonal().log().sum()
        return -0.5 * (distance + log_det + d * math.log(2 * math.pi))

    @torch.no_grad()
    def encode(self, batch: Batch) -> Tensor:
        """E[z | x] = M^-1 W^T (v - mu), float32 (n, latent_dim); images without dequantisation noise."""
        projected = (to_values(batch.x, self.data) - self.mean) @ self.loadings
        return torch.linalg.solve(self._m(), projected.T).T.float()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """E[x | z] = W z + mu, float32 (n, *data.shape); images are not rounded to the lattice."""
        return from_values(z.to(torch.float64) @ self.loadings.T + self.mean, self.data)

    def reconstruct(self, batch: Batch) -> Tensor:
        """decode(encode(x)): the projection, shrunk towards the mean where the noise is strong."""
        return self.decode(self.encode(batch))

    def _complete(self, v: Tensor, missing: Tensor) -> Tensor:
        unit = torch.eye(len(self.mean), dtype=torch.float64, device=self.device)
        covariance = self.loadings @ self.loadings.T + self.variance * unit
        return condition_gaussian(v, missing, self.mean, covariance)[0]

    def _m(self) -> Tensor:
        unit = torch.eye(self.latent_dim, dtype=torch.float64, device=self.device)
        return self.loadings.T @ self.loadings + self.variance * unit
