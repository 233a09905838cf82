"""A learned rearrangement of an image's pixels, and its inverse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sides import Size

_LARGEST = 1_024  # places of an image; the matrix has as many rows and columns
_GAIN = 10.0  # logits to a weight: Adam's steps, made for the weights of networks, are then large enough for logits
_ROUNDS = 8  # of Sinkhorn's iteration


class PositionMap(nn.Module):
    """Images (n, C, H, W) to images of the same shape, whose every pixel is a weighted mean of the pixels given.

    The weights P, of all channels and examples alike, are doubly stochastic: what a pixel takes and what it gives sum
    to 1. Training moves them from all equal towards a permutation, whose inverse P transposed is. So rotations,
    reflections and shifts of the whole image are as near as leaving it as it is.

    P = exp(10 w) with rows and columns normalised in turn, 8 times each.

    size: H, W. Of more than 1,024 pixels whole blocks are moved: the smallest squares that divide both sides and of
        which there are at most so many.

    Raises ValueError where no square divides both sides.
    References: Mena et al., "Learning latent permutations with Gumbel-Sinkhorn networks", arXiv:1802.08665.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        sides = (k for k in range(1, min(size) + 1) if size[0] % k == size[1] % k == 0)
        block = next((k for k in sides if size[0] * size[1] <= _LARGEST * k * k), None)
        if block is None:
            raise ValueError(f"no square divides {size[0]}x{size[1]} pixels into at most {_LARGEST:,}")
        self.block = block
        places = size[0] * size[1] // (block * block)
        self.logits = nn.Parameter(torch.randn(places, places) / (10.0 * _GAIN))

    def weights(self) -> Tensor:
        """P, a row for each place that is written, a column for each that is read."""
        logs = _GAIN * self.logits.float()
        for _ in range(_ROUNDS):
            logs = logs.log_softmax(1).log_softmax(0)
        return logs.exp()

    def forward(self, x: Tensor) -> Tensor:
        return self._mixed(x, self.weights())

    def inverse(self, x: Tensor) -> Tensor:
        return self._mixed(x, self.weights().T)

    def _mixed(self, x: Tensor, weights: Tensor) -> Tensor:
        blocks = F.pixel_unshuffle(x, self.block)
        mixed = (blocks.flatten(2).float() @ weights.T).unflatten(2, blocks.shape[2:])
        return F.pixel_shuffle(mixed, self.block)
