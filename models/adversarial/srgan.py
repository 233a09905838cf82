"""Super-resolution with a GAN.

Glossary: as in `translation`; c keeps its own size.
    f   the features of D, before its last layer
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..base import Adam, Batch, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..nets.image_conditions import at_size
from ..nets.layers import ResidualBlock, he_initialise
from .base import Norm
from .translation import PatchDiscriminator, TranslationModel, cross_entropy

_PRETRAINING = 0.5  # share of the steps


class SRGAN(TranslationModel):
    """Ledig et al., "Photo-realistic single image super-resolution using a GAN", arXiv:1609.04802.

    pretraining    E |x - G(c)|^2
    discriminator  -1/2 E log sigma(D(x)) - 1/2 E log(1 - sigma(D(G(c))))
    generator      E |x - G(c)|^2 + beta E |f(x) - f(G(c))|^2 - alpha E log sigma(D(G(c)))    (section 2.2)

    All squares are means over their entries. The paper's features are those of a VGG network trained on ImageNet, which
    is not at hand; here they are the discriminator's own, as in Larsen et al., arXiv:1512.09300, section 3.1, beside
    the squared error. Half of the steps train G by the squared error alone, from which the paper starts, too (section
    3.2).

    adversarial_weight: alpha. feature_weight: beta. blocks: residual blocks of G. width: channels of G at the size of
    c, and of D's first map. discriminator_norm: as `normalise` has it. The others are as in the GANs of this package.
    """

    family = "srgan"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 2e-3,
        learning_rate_discriminator: float = 1e-3,
        beta1: float = 0.9,
        adversarial_weight: float = 1e-3,
        feature_weight: float = 0.1,
        blocks: int = 3,
        width: int = 24,
        discriminator_norm: Norm = "spectral",
    ) -> None:
        super().__init__(data)
        self.rates, self.beta1 = (learning_rate_discriminator, learning_rate_generator), beta1
        self.adversarial_weight, self.feature_weight = adversarial_weight, feature_weight
        self.generator = Enlarger(
            self.condition_channels,
            self.channels,
            (data.condition.shape[1], data.condition.shape[2]),
            self.size,
            width=width,
            blocks=blocks,
        )
        self.discriminator = PatchDiscriminator(self.channels, self.size, width=width, norm=discriminator_norm)

    def stages(self) -> tuple[Stage, ...]:
        generator = self.generator.parameters()
        before = Phase("generator", generator, self.pixel_loss, Adam(self.rates[1], betas=(self.beta1, 0.999)))
        networks = self.discriminator, self.generator
        losses = self.discriminator_loss, self.generator_loss
        names = ("learning_rate_generator", "beta1", "blocks", "width")
        return (
            Stage("pretraining", phases=(before,), share=_PRETRAINING, depends_on=names),
            self.adversarial_stage(networks, losses, self.rates, self.beta1, share=1.0 - _PRETRAINING),
        )

    def pixel_loss(self, batch: Batch, generator: Generator) -> Losses:
        return Losses(F.mse_loss(self._enlarged(batch.condition), batch.x))

    def discriminator_loss(self, batch: Batch, generator: Generator) -> Losses:
        with torch.no_grad():
            fake = self._enlarged(batch.condition)
        return Losses(cross_entropy(self.discriminator(batch.x), self.discriminator(fake)))

    def generator_loss(self, batch: Batch, generator: Generator) -> Losses:
        fake = self._enlarged(batch.condition)
        features = self.discriminator.features(fake)
        with torch.no_grad():
            wanted = self.discriminator.features(batch.x)
        pixels, content = F.mse_loss(fake, batch.x), F.mse_loss(features.float(), wanted.float())
        adversarial = F.softplus(-self.discriminator.head(features).float()).mean()
        total = pixels + self.feature_weight * content + self.adversarial_weight * adversarial
        return Losses(total, {"pixels": pixels.detach(), "features": content.detach()})

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor, generator: Generator) -> Tensor:
        """n images of conditions (n, C', h, w), rounded to the lattice."""
        return self.data.to_lattice(self._enlarged(condition))

    def _enlarged(self, condition: Tensor | None) -> Tensor:
        return torch.tanh(self.generator(self.checked(condition)).float())


class Enlarger(nn.Module):
    """Images (n, inputs, h, w) to (n, outputs, H, W), not squashed: residual blocks at the size of the input, then the
    sides are doubled by sub-pixel convolutions (Shi et al., arXiv:1609.05158) until they are H and W.

    Sides that are no such multiples are interpolated to H x W first.

    References: Ledig et al., arXiv:1609.04802, figure 4; without its batch normalisation, as Lim et al.,
    arXiv:1707.02921, section 3.1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        given: tuple[int, int],
        size: tuple[int, int],
        *,
        width: int,
        blocks: int,
    ) -> None:
        super().__init__()
        doublings = _doublings(given, size)
        self.given = size if doublings is None else given
        self.first = nn.Sequential(nn.Conv2d(inputs, width, 5, padding=2), nn.PReLU())
        self.body = nn.Sequential(
            *(ResidualBlock(width, activation=nn.PReLU) for _ in range(blocks)),
            nn.Conv2d(width, width, 3, padding=1),
        )
        steps: list[nn.Module] = []
        for _ in range(doublings or 0):
            steps += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        self.last = nn.Sequential(*steps, nn.Conv2d(width, outputs, 5, padding=2))
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(at_size(x, self.given))
        return self.last(h + self.body(h))


def _doublings(given: tuple[int, int], size: tuple[int, int]) -> int | None:
    """How often sides double from one size to another; None where they are no such multiples."""
    for times in range(max(size).bit_length()):
        if (given[0] << times, given[1] << times) == size:
            return times
    return None
