"""Wasserstein GAN with gradient penalty.

Glossary: as in `adversarial`, with D the critic, and
    lambda  weight of the gradient penalty
"""

from __future__ import annotations

from typing import Literal

from torch import Generator, Tensor

from ..base import Batch, Losses
from ..data_spec import DataSpec
from .base import AdversarialSettings, gradient_penalty
from .wgan import Wasserstein


class WGANGP(Wasserstein):
    """Gulrajani et al., "Improved training of Wasserstein GANs", arXiv:1704.00028, algorithm 1.

    critic     E D(G(z)) - E D(x) + lambda E (|grad D(x^)| - 1)^2,   x^ uniform on the line from x to G(z)
    generator  -E D(G(z))

    The critic's supremum over 1-Lipschitz functions is the Wasserstein-1 distance of data and samples. The
    critic has no normalisation across examples, since the penalty is on the gradient of each alone (section 4).

    gradient_penalty: lambda. The others: as in `AdversarialSettings`.
    """

    family = "wgan_gp"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 3e-3,
        learning_rate_discriminator: float = 3e-3,
        beta1: float = 0.0,
        discriminator_steps: int = 2,
        discriminator_norm: Literal["none", "layer", "spectral"] = "none",
        gradient_penalty: float = 1.0,
        latent_dim: int = 32,
        width: int = 16,
        depth: int = 1,
    ) -> None:
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
        self.gradient_penalty = gradient_penalty

    def discriminator_loss(self, batch: Batch, generator: Generator) -> Losses:
        """Equation 3 of the paper; the part `distance` estimates the Wasserstein distance from below."""
        fake = self._fake(batch, generator)
        losses = self._judge(batch, fake)
        penalty = self._penalty(batch.x, fake, generator)
        return Losses(losses.total + self.gradient_penalty * penalty, {**losses.parts, "gradient_penalty": penalty})

    def _penalty(self, real: Tensor, fake: Tensor, generator: Generator) -> Tensor:
        return gradient_penalty(self.discriminator, real, fake, generator)
