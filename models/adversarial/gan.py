"""The original generative adversarial network.

Glossary: as in `adversarial`.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ..data_spec import DataSpec
from .base import AdversarialModel, AdversarialSettings, Norm

Loss = Literal["non_saturating", "minimax"]


class GAN(AdversarialModel):
    """Goodfellow et al., "Generative adversarial nets", arXiv:1406.2661, equation 1 and section 3.

    discriminator              -E log sigma(D(x)) - E log(1 - sigma(D(G(z))))
    generator, minimax          E log(1 - sigma(D(G(z))))
    generator, non-saturating  -E log sigma(D(G(z)))

    For the best D, with sigma(D) = p / (p + q), minimax is 2 JS(p, q) - 2 log 2 from G's side. Where D is
    confident (sigma(D) near 0), minimax has almost no gradient; the non-saturating loss has one, with the same fixed
    points.

    loss: the generator's. The others: as in `AdversarialSettings`.
    """

    family = "gan"

    def __init__(
        self,
        data: DataSpec,
        *,
        loss: Loss = "non_saturating",
        learning_rate_generator: float = 3e-3,
        learning_rate_discriminator: float = 3e-3,
        beta1: float = 0.0,
        discriminator_steps: int = 2,
        discriminator_norm: Norm = "spectral",
        latent_dim: int = 32,
        width: int = 16,
        depth: int = 1,
    ) -> None:
        if loss not in ("non_saturating", "minimax"):
            raise ValueError(f"unknown loss {loss!r}; wanted non_saturating or minimax")
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
        self.saturating = loss == "minimax"

    def generator_objective(self, fake: Tensor) -> Tensor:
        """Of scores (n,); log(1 - sigma(D)) = -softplus(D)."""
        return -F.softplus(fake).mean() if self.saturating else super().generator_objective(fake)
