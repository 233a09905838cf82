"""Least-squares GAN.

Glossary: as in `adversarial`, with the targets of Mao et al.:
    a, b    D's for samples and for examples
    c       G's for samples
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ..data_spec import DataSpec
from .base import AdversarialModel, AdversarialSettings, Norm

Targets = Literal["binary", "pearson"]

_TARGETS = {"binary": (0.0, 1.0, 1.0), "pearson": (-1.0, 1.0, 0.0)}  # a, b, c


class LSGAN(AdversarialModel):
    """Mao et al., "Least squares generative adversarial networks", arXiv:1611.04076, equation 2.

    discriminator  1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2
    generator      1/2 E (D(G(z)) - c)^2

    Targets: pearson, a = -1, b = 1, c = 0 (equation 8): with the best D, (p - q) / (p + q), G descends Pearson's chi^2
    divergence between p + q and 2q (section 3.2), but has almost no gradient where D cannot separate the two; binary,
    a = 0, b = c = 1 (equation 9). Samples that D classifies as real but that lie far from the boundary still get a
    gradient towards it; with a cross-entropy they get none.

    targets: see above. The others: as in `AdversarialSettings`.
    """

    family = "lsgan"

    def __init__(
        self,
        data: DataSpec,
        *,
        targets: Targets = "binary",
        learning_rate_generator: float = 3e-3,
        learning_rate_discriminator: float = 5e-3,
        beta1: float = 0.0,
        discriminator_steps: int = 3,
        discriminator_norm: Norm = "spectral",
        latent_dim: int = 32,
        width: int = 16,
        depth: int = 1,
    ) -> None:
        if targets not in _TARGETS:
            raise ValueError(f"unknown targets {targets!r}; wanted {' or '.join(_TARGETS)}")
        settings = AdversarialSettings(
            learning_rate_generator=learning_rate_generator,
            learning_rate_discriminator=learning_rate_discriminator,
            beta1=beta1,
            discriminator_steps=discriminator_steps,
            latent_dim=latent_dim,
            width=width,
            depth=depth,
            discriminator_norm=discriminator_norm,
        )
        super().__init__(data, settings)
        self.a, self.b, self.c = _TARGETS[targets]

    def discriminator_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """Of scores (n,)."""
        return 0.5 * ((real - self.b).square().mean() + (fake - self.a).square().mean())

    def generator_objective(self, fake: Tensor) -> Tensor:
        """Of scores (n,)."""
        return 0.5 * (fake - self.c).square().mean()
