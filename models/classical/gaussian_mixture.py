"""Mixture of Gaussians, fitted by expectation-maximisation.

Glossary: models/densities.py, and
    k   number of components
    D   numbers in one example
"""

from __future__ import annotations

import warnings

import torch
from torch import Generator, Tensor

from ..base import Batch, Stage
from ..data_spec import DataSpec
from .densities import DensityModel, coloured, condition_gaussian, gaussian_log_density, standard_normal

_MAX_ITERATIONS = 200
_COVARIANCES = ("full", "diag", "tied")


class GaussianMixture(DensityModel):
    """p(v) = sum_j pi_j N(v; mu_j, Sigma_j), maximum likelihood by EM (Dempster, Laird and Rubin 1977,
    doi:10.1111/j.2517-6161.1977.tb01600.x; Bishop 2006, section 9.2), started from k-means.

    Images are modelled as u = (k + U[0, 1)) / L in [0, 1), dequantised once before the fit, and their likelihood
    is the dequantised bound; vectors have an exact density.

    components: number of Gaussians k.
    covariance: "full" (one matrix each), "tied" (one matrix for all) or "diag" (variances only).
    regularisation: added to the diagonal of every covariance, in units of v squared (u for images).
    converged: whether the last fit met EM's tolerance within 200 iterations; None before a fit.
    """

    family = "gaussian_mixture"
    weights: Tensor  # (k,) float64
    means: Tensor  # (k, D) float64
    factors: Tensor  # float64: (k, D, D) L of each; (D, D) L shared; (k, D) deviations

    def __init__(
        self,
        data: DataSpec,
        *,
        components: int = 10,
        covariance: str = "full",
        regularisation: float = 1e-3,
    ) -> None:
        super().__init__(data)
        if covariance not in _COVARIANCES:
            raise ValueError(f"covariance is {covariance!r}; wanted one of {', '.join(_COVARIANCES)}")
        if components < 1:
            raise ValueError(f"components is {components}; at least 1 is needed")
        self.components = components
        self.covariance = covariance
        self.regularisation = regularisation
        self.converged: bool | None = None
        d = data.dimensions
        factors = {
            "full": torch.eye(d, dtype=torch.float64).repeat(components, 1, 1),
            "tied": torch.eye(d, dtype=torch.float64),
            "diag": torch.ones(components, d, dtype=torch.float64),
        }[covariance]
        self.register_buffer("weights", torch.full((components,), 1.0 / components, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(components, d, dtype=torch.float64))
        self.register_buffer("factors", factors)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("expectation-maximisation", fit=self.fit),)

    def fit(self, data: Batch, generator: Generator) -> float:
        """EM on the train split; returns the floating-point operations of its iterations, counted as

            full  iterations * (4 n k D^2 + (4/3) k D^3)    responsibilities and covariances; factorisations
            tied  iterations * (2 n k D^2 + 2 n D^2 + (4/3) D^3)
            diag  iterations * 10 n k D

        Raises ValueError where there are fewer examples than components.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as ExpectationMaximisation

        n = len(data)
        if n < self.components:
            raise ValueError(f"a mixture of {self.components} components needs as many examples, got {n}")
        v = self._to_modelled(data.x, generator).cpu().numpy()  # (n, D)
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator, device=generator.device))
        estimator = ExpectationMaximisation(
            self.components,
            covariance_type=self.covariance,
            reg_covar=self.regularisation,
            max_iter=_MAX_ITERATIONS,
            random_state=seed,
        )
        with warnings.catch_warnings():
            # Parameters after the last iteration are a valid mixture, converged or not; `converged` tells which.
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(v)
        self.converged = bool(estimator.converged_)
        covariances = torch.from_numpy(estimator.covariances_)
        factors = covariances.sqrt() if self.covariance == "diag" else torch.linalg.cholesky(covariances)
        self.weights.copy_(torch.from_numpy(estimator.weights_))
        self.means.copy_(torch.from_numpy(estimator.means_))
        self.factors.copy_(factors)
        return self._operations(n, int(estimator.n_iter_))

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        """n draws (n, *data.shape); images are rounded down to their level."""
        return self._from_modelled(self.draw(n, generator))

    def draw(self, n: int, generator: Generator, *, temperature: float = 1.0) -> Tensor:
        """n draws of v, float64 (n, D); temperature: the factor on deviations from a component's mean."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)  # (n,)
        noise = temperature * standard_normal(n, self.data.dimensions, generator)
        v = self.means[chosen]  # (n, D)
        for j in range(self.components):
            rows = chosen == j
            v[rows] += coloured(noise[rows], self._factor(j))
        return v

    def log_density(self, v: Tensor) -> Tensor:
        v = v.to(torch.float64)
        joint = [
            self.weights[j].log() + gaussian_log_density(v, self.means[j], self._factor(j))
            for j in range(self.components)
        ]
        return torch.stack(joint).logsumexp(0)

    def _complete(self, v: Tensor, missing: Tensor) -> Tensor:
        """Each component's conditional mean, weighted by its responsibility for the observed entries."""
        completed, joint = [], []
        for j in range(self.components):
            factor = self._factor(j)
            covariance = torch.diag(factor.square()) if factor.ndim == 1 else factor @ factor.T
            filled, log_density = condition_gaussian(v, missing, self.means[j], covariance)
            completed.append(filled)
            joint.append(self.weights[j].log() + log_density)
        responsibilities = torch.stack(joint, dim=1).softmax(1)  # (n, k)
        return torch.einsum("nk,knd->nd", responsibilities, torch.stack(completed))

    def _factor(self, j: int) -> Tensor:
        return self.factors if self.covariance == "tied" else self.factors[j]

    def _operations(self, n: int, iterations: int) -> float:
        k, d = self.components, self.data.dimensions
        return (
            iterations
            * {
                "full": 4.0 * n * k * d**2 + 4 / 3 * k * d**3,
                "tied": 2.0 * n * k * d**2 + 2.0 * n * d**2 + 4 / 3 * d**3,
                "diag": 10.0 * n * k * d,
            }[self.covariance]
        )
