"""Mixture of Gaussians, fitted by expectation-maximisation.

Glossary:
    k   number of components
    D   numbers in one example
    v   what is modelled: dequantised values u in [0, 1) of images, standardised vectors as they are
    L   lower triangular factor of a component's covariance, Sigma = L L^T
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Generator, Tensor

from .base import Batch, GenerativeModel, Likelihood, LikelihoodKind, Stage
from .data_spec import DataSpec
from .layers import require_kind
from .likelihoods import dequantise, dequantised_log_prob, quantise

_MAX_ITERATIONS = 200
_COVARIANCES = ("full", "diag", "tied")


class GaussianMixture(GenerativeModel):
    """p(v) = sum_j pi_j N(v; mu_j, Sigma_j), maximum likelihood by EM (Dempster, Laird and Rubin 1977,
    doi:10.1111/j.2517-6161.1977.tb01600.x; Bishop 2006, section 9.2), started from k-means.

    Images are modelled as u = (k + U[0, 1)) / L in [0, 1), dequantised once before the fit, and their likelihood
    is the dequantised bound; vectors have an exact density.

    components: number of Gaussians k.
    covariance: "full" (one matrix each), "tied" (one matrix for all) or "diag" (variances alone).
    regularisation: added to the diagonal of every covariance, in units of v squared (u for images).
    converged: whether the last fit met EM's tolerance within 200 iterations; None before a fit.
    """

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
        require_kind(data, "gaussian_mixture")
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
        """EM on the whole train split; returns the floating-point operations of its iterations, counted as

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
        v = self.draw(n, generator).view(n, *self.data.shape)
        return quantise(v, self.data) if self.data.kind == "image" else v.float()

    def draw(self, n: int, generator: Generator, *, temperature: float = 1.0) -> Tensor:
        """n draws of v, float64 (n, D); temperature: the factor on deviations from a component's mean."""
        d = self.data.dimensions
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)  # (n,)
        noise = temperature * torch.randn(n, d, dtype=torch.float64, generator=generator, device=self.device)
        v = self.means[chosen]  # (n, D)
        for j in range(self.components):
            rows = chosen == j
            factor = self._factor(j)
            v[rows] += noise[rows] * factor if factor.ndim == 1 else noise[rows] @ factor.T
        return v

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, condition: Tensor | None = None) -> Likelihood:
        """Exact for vectors; for images the dequantised bound with one noise draw an example."""
        log_density = self.log_density(self._to_modelled(x, self.evaluation_generator()))
        if self.data.kind == "vector":
            return Likelihood(log_density, LikelihoodKind.EXACT)
        return Likelihood(dequantised_log_prob(log_density, self.data), LikelihoodKind.DEQUANTISED)

    def log_density(self, v: Tensor) -> Tensor:
        """log p(v) in nats, float64 (n,), of values v (n, D) as the mixture models them."""
        v = v.to(torch.float64)
        d = v.shape[1]
        joint = []
        for j in range(self.components):
            factor, centred = self._factor(j), v - self.means[j]
            if factor.ndim == 1:
                whitened, log_det = centred / factor, factor.log().sum()
            else:
                whitened = torch.linalg.solve_triangular(factor, centred.T, upper=False).T  # (n, D)
                log_det = factor.diagonal().log().sum()
            log_normal = -0.5 * whitened.square().sum(1) - log_det - 0.5 * d * math.log(2 * math.pi)
            joint.append(self.weights[j].log() + log_normal)
        return torch.stack(joint).logsumexp(0)

    def _to_modelled(self, x: Tensor, generator: Generator) -> Tensor:
        """Examples (n, *data.shape) to v, float64 (n, D)."""
        v = dequantise(x, self.data, generator) if self.data.kind == "image" else x
        return v.flatten(1).to(torch.float64)

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
