"""A generator of images from images: a U-Net whose noise is dropout."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from .layers import he_initialise
from .sides import Enlarged, HalvingConv, Size, shrunk
from .unet import group_norm

_LOWEST = 3  # pixels: maps whose shorter side is at most this are not halved again
_WIDEST = 8  # times the width


class SkipGenerator(nn.Module):
    """Images (n, inputs, H, W) to (n, outputs, H, W), not squashed: halved until a side is at most 3 pixels, and back.

    Widths double with each halving, up to 8 times `width`; each map on the way up stands beside that of its size on the
    way down, and the last one beside the input. The maps of the two lowest sizes on the way up have dropout, drawn by a
    generator.

    Normalisation is by groups of about 8 channels: over each map alone, as the paper's is with batches of one image,
    nothing would be left of the lowest maps.

    References: Isola et al., arXiv:1611.07004, section 3.2.1 and appendix 6.1.
    """

    def __init__(self, inputs: int, outputs: int, size: Size, *, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        sizes, widths = [size], [width]
        while min(sizes[-1]) > _LOWEST:
            sizes.append(shrunk(sizes[-1]))
            widths.append(min(2 * widths[-1], _WIDEST * width))
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Sequential(nn.LeakyReLU(0.2), HalvingConv(a, b), group_norm(b)) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList()
        below = widths[-1]
        for larger, here in zip(sizes[-2::-1], widths[-2::-1], strict=True):
            self.up.append(
                nn.Sequential(nn.ReLU(), Enlarged(larger), nn.Conv2d(below, here, 3, padding=1), group_norm(here))
            )
            below = 2 * here  # beside the map on the way down
        self.last = nn.Conv2d(below + inputs, outputs, 3, padding=1)
        he_initialise(self)

    def forward(self, x: Tensor, generator: Generator) -> Tensor:
        h = self.first(x)
        skips = []
        for narrow in self.down:
            skips.append(h)
            h = narrow(h)
        for number, widen in enumerate(self.up):
            h = widen(h)
            if number < 2:
                h = dropped_out(h, self.dropout, generator)
            h = torch.cat((h, skips.pop()), dim=1)
        return self.last(torch.cat((h.relu(), x), dim=1))


def dropped_out(x: Tensor, probability: float, generator: Generator) -> Tensor:
    """Dropout whose draws come from a generator, in training and in sampling alike."""
    if probability == 0.0:
        return x
    kept = torch.rand(x.shape, generator=generator, device=x.device) >= probability
    return x * kept / (1.0 - probability)
