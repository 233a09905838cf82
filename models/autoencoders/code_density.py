"""A density of an autoencoder's codes, fitted after the autoencoder, which makes it generative.

References: Ghosh et al., "From Variational to Deterministic Autoencoders", arXiv:1903.12436, section 4.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ..base import Batch
from ..classical.gaussian_mixture import GaussianMixture
from ..data_spec import DataSpec

CODE_DENSITIES = ("gaussian", "mixture")
_REGULARISATION = 1e-4  # added to the variances of codes of unit deviation


class CodeDensity(nn.Module):
    """A Gaussian or a mixture of Gaussians of codes (n, latent_dim), full covariances, on standardised codes.

    kind: "gaussian" or "mixture", the latter of `components`. Raises ValueError for any other.
    """

    centre: Tensor  # (latent_dim,) mean of the codes
    spread: Tensor  # (latent_dim,) their deviation; 1 where a code is constant

    def __init__(self, latent_dim: int, *, kind: str, components: int) -> None:
        super().__init__()
        if kind not in CODE_DENSITIES:
            raise ValueError(f"code_density is {kind!r}; wanted {' or '.join(CODE_DENSITIES)}")
        self.mixture = GaussianMixture(
            DataSpec("codes", "vector", (latent_dim,)),
            components=components if kind == "mixture" else 1,
            regularisation=_REGULARISATION,
        )
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("spread", torch.ones(latent_dim))

    def fit(self, codes: Tensor, generator: Generator) -> float:
        """Maximum likelihood by EM; returns its floating-point operations.

        Raises ValueError where there are fewer codes than components.
        """
        self.centre.copy_(codes.mean(0))
        deviation = codes.std(0, correction=0)
        self.spread.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))
        return self.mixture.fit(Batch(self._standardised(codes)), generator)

    def draw(self, n: int, generator: Generator, *, temperature: float = 1.0) -> Tensor:
        """n codes (n, latent_dim); temperature: the factor on deviations from a component's mean."""
        return self.centre + self.spread * self.mixture.draw(n, generator, temperature=temperature).float()

    def log_density(self, codes: Tensor) -> Tensor:
        """log p(z) in nats, (n,)."""
        return self.mixture.log_density(self._standardised(codes)).float() - self.spread.log().sum()

    def _standardised(self, codes: Tensor) -> Tensor:
        return (codes - self.centre) / self.spread
