"""A generator of images from images: a residual network at a lower resolution."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import ResidualBlock, he_initialise
from .sides import Enlarged, HalvingConv, Size, shrunk
from .unet import group_norm

_SMALL = 12  # pixels of a side below which images are halved once


class ResidualGenerator(nn.Module):
    """Images (n, inputs, H, W) to (n, outputs, H, W), not squashed: halved twice, residual blocks, and back.

    Images with a side under 12 are halved once.

    width: channels at full resolution, doubled at each halving. Normalisation is by groups of about 8 channels.
    zero_at_first: whether all that it gives is 0 before training.

    References: Zhu et al., arXiv:1703.10593, appendix 7.2; Johnson et al., arXiv:1603.08155.
    """

    def __init__(
        self, inputs: int, outputs: int, size: Size, *, width: int, blocks: int, zero_at_first: bool = False
    ) -> None:
        super().__init__()
        sizes = [size, shrunk(size)] + ([shrunk(shrunk(size))] if min(size) >= _SMALL else [])
        layers: list[nn.Module] = [nn.Conv2d(inputs, width, 3, padding=1), group_norm(width), nn.ReLU()]
        here = width
        for _ in sizes[1:]:
            layers += [HalvingConv(here, 2 * here), group_norm(2 * here), nn.ReLU()]
            here *= 2
        layers += [ResidualBlock(here, activation=nn.ReLU) for _ in range(blocks)]
        for larger in sizes[-2::-1]:
            layers += [Enlarged(larger), nn.Conv2d(here, here // 2, 3, padding=1), group_norm(here // 2), nn.ReLU()]
            here //= 2
        last = nn.Conv2d(here, outputs, 3, padding=1)
        self.body = nn.Sequential(*layers, last)
        he_initialise(self)
        if zero_at_first:
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)
