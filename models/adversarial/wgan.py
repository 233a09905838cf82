"""Wasserstein GAN with weight clipping.

Glossary: as in `adversarial`, with D the critic.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..base import Stage
from ..data_spec import DataSpec
from .base import AdversarialModel, AdversarialSettings


class Wasserstein(AdversarialModel):
    """The objectives of Wasserstein GANs; a family adds what keeps the critic Lipschitz.

    Kantorovich-Rubinstein: W_1(p, q) = sup over 1-Lipschitz D of E D(x) - E D(G(z)); arXiv:1701.07875, equation 2.
    """

    beta2 = 0.9

    def discriminator_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """E D(G(z)) - E D(x), of scores (n,)."""
        return fake.mean() - real.mean()

    def generator_objective(self, fake: Tensor) -> Tensor:
        """-E D(G(z))."""
        return -fake.mean()


class WGAN(Wasserstein):
    """Arjovsky et al., "Wasserstein GAN", arXiv:1701.07875, algorithm 1.

    critic     E D(G(z)) - E D(x),   every weight clipped to [-clip, clip] after each step
    generator  -E D(G(z))

    The critic is then Lipschitz with an unknown constant, so that the distance is right up to a factor. The
    paper's RMSProp is Adam with beta1 = 0, but for the bias correction.

    clip: bound of the weights. The others: as in `AdversarialSettings`; spectral normalisation is not offered, since it
    would undo the clipping.
    """

    family = "wgan"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 3e-3,
        learning_rate_discriminator: float = 3e-3,
        beta1: float = 0.0,
        discriminator_steps: int = 3,
        discriminator_norm: Literal["none", "batch", "layer"] = "none",
        clip: float = 0.3,
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
        self.clip = clip
        self.clip_weights()  # the first step, too, is of a critic within bounds

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("adversarial", phases=self._phases(after=self.clip_weights)),)

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Every parameter of the critic into [-clip, clip]."""
        for parameter in self.discriminator.parameters():
            parameter.clamp_(-self.clip, self.clip)
