"""A single Gaussian: the baseline that every other density should beat.

Glossary: models/densities.py.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..base import Batch, Stage
from ..data_spec import DataSpec
from .densities import DensityModel, coloured, condition_gaussian, gaussian_log_density, moments, standard_normal

_COVARIANCES = ("full", "diag")


class Gaussian(DensityModel):
    """p(v) = N(v; mu, Sigma), maximum likelihood in closed form (Bishop 2006, section 2.3.4).

    Images are modelled as u = (k + U[0, 1)) / L in [0, 1); the fit maximises the dequantised bound in expectation over
    its noise, so it draws none. Vectors have an exact density.

    covariance: "full" or "diag" (variances only).
    regularisation: added to every variance, in units of v squared (u for images).
    """

    family = "gaussian"
    mean: Tensor  # (D,) float64
    factor: Tensor  # float64: (D, D) L, or (D,) deviations

    def __init__(self, data: DataSpec, *, covariance: str = "full", regularisation: float = 1e-3) -> None:
        super().__init__(data)
        if covariance not in _COVARIANCES:
            raise ValueError(f"covariance is {covariance!r}; wanted one of {', '.join(_COVARIANCES)}")
        self.covariance = covariance
        self.regularisation = regularisation
        d = data.dimensions
        self.register_buffer("mean", torch.zeros(d, dtype=torch.float64))
        unit = torch.eye(d, dtype=torch.float64)
        self.register_buffer("factor", unit if covariance == "full" else unit.diagonal().clone())

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("closed form", fit=self.fit),)

    def fit(self, data: Batch, generator: Generator) -> float:
        """The closed form on the train split; returns its operations, 2 n D^2 + D^3/3 (diag: 3 n D).

        Raises torch.linalg.LinAlgError where the regularised covariance is singular.
        """
        mean, covariance = moments(data.x, self.data)
        n, d = len(data), len(mean)
        self.mean.copy_(mean)
        covariance.diagonal().add_(self.regularisation)
        if self.covariance == "diag":
            self.factor.copy_(covariance.diagonal().sqrt())
            return 3.0 * n * d
        self.factor.copy_(torch.linalg.cholesky(covariance))
        return 2.0 * n * d**2 + d**3 / 3

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        """n draws (n, *data.shape); images are rounded down to their level."""
        noise = standard_normal(n, self.data.dimensions, generator)
        return self._from_modelled(self.mean + coloured(noise, self.factor))

    def log_density(self, v: Tensor) -> Tensor:
        return gaussian_log_density(v.to(torch.float64), self.mean, self.factor)

    def _complete(self, v: Tensor, missing: Tensor) -> Tensor:
        if self.covariance == "diag":
            return torch.where(missing, self.mean, v)
        return condition_gaussian(v, missing, self.mean, self.factor @ self.factor.T)[0]
