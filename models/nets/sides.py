"""Sides of images that networks halve and double again.

The half of an odd side is rounded up: the missing last row or column counts as zeros on the way down, and is cut off on
the way up. So networks take images of any sides from `SMALLEST_SIDE` on.

Shapes: n examples, C channels, H x W pixels; a size is (H, W).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..data_spec import DataSpec

SMALLEST_SIDE = 4  # networks halve the resolution twice
Size = tuple[int, int]


def image_shape(spec: DataSpec, user: str) -> tuple[int, int, int]:
    """(C, H, W) of image data. user: who asks, for errors.

    Raises ValueError for data of another kind, and where a side is shorter than 4.
    """
    if spec.kind != "image":
        raise ValueError(f"{user} takes image data, data {spec.name!r} is {spec.kind}")
    channels, height, width = spec.shape
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"{user} needs images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, "
            f"data {spec.name!r} has {height} x {width}"
        )
    return channels, height, width


def size_of(x: Tensor) -> Size:
    """Of maps (..., H, W)."""
    return x.shape[-2], x.shape[-1]


def shrunk(size: Size, factor: int = 2) -> Size:
    """A size whose sides are divided by `factor` and rounded up."""
    return -(-size[0] // factor), -(-size[1] // factor)


def padded(x: Tensor, factor: int = 2) -> Tensor:
    """x (..., H, W) with zeros below and on the right, up to multiples of `factor`."""
    below, right = (-side % factor for side in size_of(x))
    return F.pad(x, (0, right, 0, below)) if below or right else x


def cut(x: Tensor, size: Size) -> Tensor:
    """The first rows and columns of x (..., H, W)."""
    return x[..., : size[0], : size[1]] if size_of(x) != size else x


def enlarged(x: Tensor, size: Size) -> Tensor:
    """x (n, C, H, W) with sides twice as long, by nearest neighbour, cut to `size`."""
    return cut(F.interpolate(x, scale_factor=2.0, mode="nearest"), size)


class Enlarged(nn.Module):
    """`enlarged` as a layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return enlarged(x, self.size)


class HalvingConv(nn.Conv2d):
    """A 4 x 4 convolution of stride 2: (n, C, H, W) to (n, outputs, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(padded(x))


class DoublingConv(nn.ConvTranspose2d):
    """A transposed 4 x 4 convolution of stride 2 to images of `size`."""

    def __init__(self, inputs: int, outputs: int, size: Size, *, bias: bool) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1, bias=bias)
        self.size = size

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return cut(super().forward(x, output_size), self.size)
