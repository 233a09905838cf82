"""Layers of the GANs that grow from a small image: equalised learning rates, pixel norm, minibatch deviation.

Shapes: n examples, C channels, H x W pixels.

References: Karras et al., "Progressive growing of GANs", arXiv:1710.10196, sections 3 and 4.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data_spec import DataSpec
from ..nets.sides import SMALLEST_SIDE, Size, image_shape, shrunk

SLOPE = 0.2  # of the leaky rectifiers


def resolutions(spec: DataSpec, family: str) -> tuple[Size, ...]:
    """(H, W) from the smallest image to the data's own, each half of the next one, rounded up.

    Halved while neither side falls below 4; images whose sides are multiples of 4 only while both sides are even.
    8 x 8 grows from 4 x 4, 28 x 28 from 7 x 7, 14 x 14 from 4 x 4 over 7 x 7.
    Raises ValueError for other data than images, and for images with a side below 4.
    """
    size = image_shape(spec, family)[1:]
    rounded = any(side % 4 for side in size)
    found = [size]
    while min(shrunk(size)) >= SMALLEST_SIDE and (rounded or not any(side % 2 for side in size)):
        size = shrunk(size)
        found.insert(0, size)
    return tuple(found)


def channels_of(width: int, levels: int) -> tuple[int, ...]:
    """Channels at each resolution, from the lowest: 4w, 2w, then w."""
    return tuple(max(width, 4 * width >> level) for level in range(levels))


class EqualisedLinear(nn.Module):
    """A linear layer whose weights are drawn from N(0, 1) and scaled as they are used, by gain / sqrt(inputs).

    Adam's steps do not depend on the scale of gradients, so all layers learn equally fast; a `learning_rate` below 1
    slows a layer down.

    References: arXiv:1710.10196, section 4.1; the scale of the learning rate: arXiv:1812.04948, appendix C.
    """

    def __init__(
        self, inputs: int, outputs: int, *, gain: float = 1.0, bias: float = 0.0, learning_rate: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / learning_rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / learning_rate))
        self.scale = gain * learning_rate / math.sqrt(inputs)
        self.learning_rate = learning_rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.learning_rate)


class EqualisedConv(nn.Module):
    """The same of a convolution of an odd size that keeps the sides."""

    def __init__(self, inputs: int, outputs: int, size: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(inputs * size**2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)


class Leaky(nn.LeakyReLU):
    """A leaky rectifier times sqrt(2), which keeps the second moment of a normal input up to 2%."""

    def __init__(self) -> None:
        super().__init__(SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        return math.sqrt(2.0) * super().forward(x)


class PixelNorm(nn.Module):
    """Features (n, C, ...) over their root mean square, for each example and pixel; arXiv:1710.10196, section 4.2."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class MinibatchDeviation(nn.Module):
    """Appends one channel (n, 1, H, W): the deviation over the batch, averaged over channels and pixels.

    It shows the discriminator how much samples differ. arXiv:1710.10196, section 3.
    """

    def forward(self, x: Tensor) -> Tensor:
        deviation = ((x - x.mean(0)).square().mean(0) + 1e-8).sqrt().mean()  # much faster than `var`
        return torch.cat((x, deviation.expand(len(x), 1, *x.shape[2:])), dim=1)


class Head(nn.Sequential):
    """The discriminator's end at the smallest image: minibatch deviation, a convolution, two dense layers to (n, 1)."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__(
            MinibatchDeviation(),
            EqualisedConv(channels + 1, channels, 3),
            Leaky(),
            nn.Flatten(),
            EqualisedLinear(channels * size[0] * size[1], channels),
            Leaky(),
            EqualisedLinear(channels, 1),
        )


def down(x: Tensor) -> Tensor:
    """Half the sides, by the mean of four pixels; at the end of an odd side, of those that there are."""
    return F.avg_pool2d(x, 2, ceil_mode=True)
