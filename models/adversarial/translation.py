"""What GANs share that turn images into images: a condition beside the image, and a discriminator of patches.

Glossary:
    c   the condition, an image, brought to the size of the images
    x   the image that is wanted
    G   the generator, from c to an image
    D   the discriminator, a map of scores (logits), each of a patch
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..base import Adam, Batch, GenerativeModel, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..nets.image_conditions import at_size, condition_channels
from ..nets.layers import he_initialise
from ..nets.sides import HalvingConv, image_shape
from .base import Norm, normalise

_SMALL = 12  # pixels of a side below which a discriminator halves once, as the U-Net of the diffusion families does


class TranslationModel(GenerativeModel):
    """A family of images x given images c; a family says what its networks minimise.

    One step is one of D and one of G, each on a batch of its own. Both learning rates fall along a cosine to a tenth.
    Adam has betas (beta1, 0.999).
    """

    family: ClassVar[str]  # its name, for errors

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data)
        self.channels, *size = image_shape(data, self.family)
        self.size = (size[0], size[1])
        self.condition_channels = condition_channels(data, self.family)

    def seen(self, condition: Tensor | None) -> Tensor:
        """Conditions (n, C', h, w) at the images' size; errors as of `checked`."""
        return at_size(self.checked(condition), self.size)

    def checked(self, condition: Tensor | None) -> Tensor:
        """Conditions (n, C', h, w) on the model's device. Raises ValueError for none, and for another shape."""
        wanted = self.data.condition.shape
        if condition is None or tuple(condition.shape[1:]) != wanted:
            got = None if condition is None else tuple(condition.shape)
            raise ValueError(f"{self.family} needs images as conditions, shape {('n', *wanted)}, got {got}")
        return condition.to(self.device)

    def adversarial_stage(
        self,
        networks: tuple[nn.Module, nn.Module],
        losses: tuple[Callable[[Batch, Generator], Losses], Callable[[Batch, Generator], Losses]],
        rates: tuple[float, float],
        beta1: float,
        share: float = 1.0,
    ) -> Stage:
        """D and G in turn: networks, losses and learning rates of D, then of G."""
        adam = partial(Adam, betas=(beta1, 0.999), decay="cosine", final_share=0.1)
        phases = (
            Phase(name, network.parameters(), loss, adam(rate))
            for name, network, loss, rate in zip(("discriminator", "generator"), networks, losses, rates, strict=True)
        )
        return Stage("adversarial", phases=tuple(phases), share=share)


class PatchDiscriminator(nn.Module):
    """Images (n, channels, H, W) to scores (n, 1, h, w), each of a patch: 26 x 26 pixels of large images, 12 x 12 where
    a side is under 12, in which the image is halved once rather than twice.

    norm: as `normalise` has it. `features` gives the map before the last layer.

    References: Isola et al., arXiv:1611.07004, section 3.2.2.
    """

    def __init__(self, channels: int, size: tuple[int, int], *, width: int, norm: Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = [HalvingConv(channels, width), nn.LeakyReLU(0.2)]
        inside = width
        if min(size) >= _SMALL:
            layers += [HalvingConv(width, 2 * width), nn.LeakyReLU(0.2)]
            inside = 2 * width
        layers += [nn.Conv2d(inside, 2 * inside, 3, padding=1), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(2 * inside, 1, 3, padding=1)
        he_initialise(self)
        normalise(self, norm)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).float()


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-E log sigma(D(x)) - E log(1 - sigma(D(G(c)))), of scores of any shape; halved, as arXiv:1611.07004 has it."""
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
