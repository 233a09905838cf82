"""Image-to-image translation with a conditional GAN.

Glossary: as in `translation`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..base import Batch, Losses, Stage
from ..data_spec import DataSpec
from ..nets.skip_generator import SkipGenerator
from .base import Norm
from .translation import PatchDiscriminator, TranslationModel, cross_entropy


class Pix2Pix(TranslationModel):
    """Isola et al., "Image-to-image translation with conditional adversarial networks", arXiv:1611.07004.

    discriminator   -1/2 E log sigma(D(c, x)) - 1/2 E log(1 - sigma(D(c, G(c))))
    generator       -E log sigma(D(c, G(c))) + lambda E |x - G(c)|    (equation 4)

    G is a U-Net with skip connections whose only noise is dropout, in training and in sampling; D judges patches of the
    image beside its condition. Both rest on c, which is brought to the size of x.

    l1_weight: lambda. dropout: its probability, on the two lowest maps of G's way up. width: w, of the first maps of
    both networks. discriminator_norm: as `normalise` has it. The others are as in the GANs of this package.
    """

    family = "pix2pix"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 2e-3,
        learning_rate_discriminator: float = 1e-3,
        beta1: float = 0.5,
        l1_weight: float = 100.0,
        dropout: float = 0.2,
        width: int = 24,
        discriminator_norm: Norm = "spectral",
    ) -> None:
        super().__init__(data)
        self.rates, self.beta1, self.l1_weight = (
            (learning_rate_discriminator, learning_rate_generator),
            beta1,
            l1_weight,
        )
        both = self.condition_channels + self.channels
        self.discriminator = PatchDiscriminator(both, self.size, width=width, norm=discriminator_norm)
        self.generator = SkipGenerator(self.condition_channels, self.channels, self.size, width=width, dropout=dropout)

    def stages(self) -> tuple[Stage, ...]:
        networks = self.discriminator, self.generator
        losses = self.discriminator_loss, self.generator_loss
        return (self.adversarial_stage(networks, losses, self.rates, self.beta1),)

    def discriminator_loss(self, batch: Batch, generator: Generator) -> Losses:
        c = self.seen(batch.condition)
        with torch.no_grad():
            fake = self._translated(c, generator)
        real_score, fake_score = (self.discriminator(torch.cat((c, x), dim=1)) for x in (batch.x, fake))
        return Losses(
            cross_entropy(real_score, fake_score), {"distance": (real_score.mean() - fake_score.mean()).detach()}
        )

    def generator_loss(self, batch: Batch, generator: Generator) -> Losses:
        c = self.seen(batch.condition)
        fake = self._translated(c, generator)
        adversarial = F.softplus(-self.discriminator(torch.cat((c, fake), dim=1))).mean()
        distance = (fake - batch.x).abs().mean()
        return Losses(adversarial + self.l1_weight * distance, {"l1": distance.detach()})

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor, generator: Generator) -> Tensor:
        """n images of conditions (n, C', h, w), rounded to the lattice."""
        return self.data.to_lattice(self._translated(self.seen(condition), generator))

    def _translated(self, c: Tensor, generator: Generator) -> Tensor:
        return torch.tanh(self.generator(c, generator).float())
