"""Deep convolutional GAN: an architecture with which GANs on images train reliably.

Glossary: as in `adversarial`; images (n, C, H, W).
"""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor, nn

from ..data_spec import DataSpec
from ..nets.layers import ConvEncoder, require_kind
from ..nets.sides import DoublingConv, image_shape, shrunk
from .base import AdversarialModel, AdversarialSettings, Norm

_OVERLAP = 4  # pixels of its input that a pixel sees of a transposed convolution of size 4 and stride 2


class DCGAN(AdversarialModel):
    """Radford et al., "Unsupervised representation learning with deep convolutional GANs", arXiv:1511.06434, section 3.

    Strided convolutions in place of pooling, transposed ones in G, batch normalisation in both networks but for G's
    output and D's input, no hidden dense layers, rectifiers in G and leaky ones in D. The losses are those of
    `AdversarialModel`; codes are normal, not uniform, so that truncation means the same for every family. Weights are
    drawn with He's deviation sqrt(2 / inputs), which for the paper's 1,024 channels is its 0.02: a smaller one would
    leave the running variances, which start at 1, wrong for hundreds of steps.

    G normalises by the statistics of its batch while it trains, and by their running means when it samples. Those
    belong to the last weights, not to an average of them: so the EMA of the weights is not searched.

    depth: convolutions at each lower resolution. The others: as in `AdversarialSettings`.
    """

    family = "dcgan"
    beta2 = 0.999

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 3e-3,
        learning_rate_discriminator: float = 1e-3,
        beta1: float = 0.5,
        discriminator_steps: int = 1,
        discriminator_norm: Norm = "batch",
        latent_dim: int = 32,
        width: int = 16,
        depth: int = 1,
    ) -> None:
        require_kind(data, self.family, ("image",))
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

    def _build_discriminator(self, width: int, depth: int) -> nn.Module:
        shape = image_shape(self.data, self.family)
        return ConvEncoder(shape, 1, width=width, depth=depth, activation=partial(nn.LeakyReLU, 0.2))

    def _build_generator(self, width: int, depth: int) -> nn.Module:
        return TransposedDecoder(self.latent_dim, image_shape(self.data, self.family), width=width, depth=depth)

    def _initialise(self) -> None:
        super()._initialise()
        for module in self.generator.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / (_OVERLAP * module.in_channels)))


class TransposedDecoder(nn.Module):
    """Codes (n, inputs) to images (n, C, H, W) by transposed convolutions of stride 2: 4w -> 2w -> C channels."""

    def __init__(self, inputs: int, shape: tuple[int, int, int], *, width: int, depth: int) -> None:
        super().__init__()
        channels, size = shape[0], shape[1:]
        lowest = (4 * width, *shrunk(size, 4))
        blocks: list[nn.Module] = [
            nn.Linear(inputs, lowest[0] * lowest[1] * lowest[2], bias=False),
            nn.Unflatten(1, lowest),  # (n, 4w, H/4, W/4)
        ]
        for inside, outside, larger in ((4 * width, 2 * width, shrunk(size)), (2 * width, channels, size)):
            blocks += _normalised(inside)
            for _ in range(depth - 1):
                blocks += [nn.Conv2d(inside, inside, 3, padding=1, bias=False), *_normalised(inside)]
            blocks.append(DoublingConv(inside, outside, larger, bias=outside == channels))
        self.body = nn.Sequential(*blocks)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


def _normalised(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()]
