"""Denoising networks: a small U-Net for images and a residual MLP for vectors.

Both take (x (n, ...), t float (n,) in [0, 1], condition (n, E)) and return a tensor of the shape of x. Their last
layer starts at zero.

References: Ho et al., arXiv:2006.11239, appendix B; Nichol and Dhariwal, arXiv:2102.09672.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sides import enlarged, size_of

_Layer = TypeVar("_Layer", bound=nn.Module)


class TimeEmbedding(nn.Module):
    """Sines and cosines of t in [0, 1] at geometrically spaced frequencies, and a two-layer network on them.

    References: Vaswani et al., arXiv:1706.03762, section 3.5, for t scaled to [0, 1000].
    """

    def __init__(self, features: int, out_features: int) -> None:
        super().__init__()
        half = features // 2
        frequencies = 1000.0 * torch.exp(-math.log(10000.0) * torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.network = nn.Sequential(
            nn.Linear(2 * half, out_features), nn.SiLU(), nn.Linear(out_features, out_features)
        )

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.get_buffer("frequencies")  # (n, half)
        return self.network(torch.cat((angles.cos(), angles.sin()), dim=1))


class UNet(nn.Module):
    """A U-Net over images (n, C, H, W).

    Width doubles after the first down-sampling and then stays; images with a side under 12 are halved once,
    others twice, as `sides` says. Attention stands at the lowest resolution.

    width: channels at full resolution. depth: residual blocks per level, each way.
    embedding: features of the condition vector. context: features of tokens that the image attends to at every
    resolution below its own (Rombach et al., arXiv:2112.10752, section 3.3); None: it attends to none. beside:
    channels of images that stand before those of x in the input, and have no place in the output. outputs: channels of
    the result; None: C.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: int,
        depth: int,
        dropout: float,
        embedding: int,
        context: int | None = None,
        beside: int = 0,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        channels, height, breadth = shape
        halvings = 1 if min(height, breadth) < 12 else 2
        widths = [width] + [2 * width] * halvings

        self.first = nn.Conv2d(beside + channels, width, 3, padding=1)
        self.time = TimeEmbedding(width, embedding)
        self.down = nn.ModuleList()
        self.narrow = nn.ModuleList()
        self.widen = nn.ModuleList()
        self.up = nn.ModuleList()
        for here, below in pairwise(widths):
            self.down.append(_blocks(depth, here, here, embedding, dropout))
            self.narrow.append(nn.Conv2d(here, below, 3, stride=2, padding=1))
            self.widen.insert(0, nn.Conv2d(below, here, 3, padding=1))
            self.up.insert(0, _blocks(depth, 2 * here, here, embedding, dropout))
        lowest = widths[-1]
        self.middle_before = _blocks(depth, lowest, lowest, embedding, dropout)
        self.attention = SelfAttention(lowest)
        self.middle_after = _blocks(1, lowest, lowest, embedding, dropout)
        self.last_norm = group_norm(width)
        self.last = _zero(nn.Conv2d(width, outputs or channels, 3, padding=1))
        attending = [] if context is None else [*widths[1:], *widths[-2:0:-1]]  # channels, down and up again
        self.cross = nn.ModuleList(CrossAttention(c, context or 0) for c in attending)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor, tokens: Tokens | None = None) -> Tensor:
        """x (n, C, H, W), t (n,), condition (n, E); tokens, where it has a context."""
        e = F.silu(self.time(t) + condition)  # (n, E)
        h = self.first(x)  # (n, width, H, W)
        skips = []
        cross = iter(self.cross)
        for level, (blocks, narrow) in enumerate(zip(self.down, self.narrow, strict=True)):
            h = _run(blocks, h, e)
            if level:
                h = _attended(cross, h, tokens)
            skips.append(h)
            h = narrow(h)
        h = _run(self.middle_before, h, e)
        h = _attended(cross, self.attention(h), tokens)
        h = _run(self.middle_after, h, e)
        for widen, blocks in zip(self.widen, self.up, strict=True):
            skip = skips.pop()
            h = widen(enlarged(h, size_of(skip)))
            h = _run(blocks, torch.cat((h, skip), dim=1), e)
            if skips:
                h = _attended(cross, h, tokens)
        return self.last(F.silu(self.last_norm(h)))


class ResidualBlock(nn.Module):
    """Two convolutions with group normalisation; the embedding scales and shifts between them.

    References: Nichol and Dhariwal, arXiv:2102.09672, section 3 (scale and shift).
    """

    def __init__(self, channels: int, out_channels: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = group_norm(channels)
        self.conv_1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * out_channels)
        self.norm_2 = group_norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_2 = _zero(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        same = channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = self.conv_1(F.silu(self.norm_1(x)))
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, dim=1)
        h = self.norm_2(h) * (1.0 + scale) + shift
        return self.skip(x) + self.conv_2(self.dropout(F.silu(h)))


class SelfAttention(nn.Module):
    """Self-attention among the positions of a feature map, one head per 32 channels, with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32) if channels % max(1, channels // 32) == 0 else 1
        self.norm = group_norm(channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, breadth = x.shape
        split = self.query_key_value(self.norm(x)).reshape(n, 3, self.heads, channels // self.heads, -1)
        query, key, value = split.transpose(-1, -2).unbind(1)  # each (n, heads, positions, features)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(-1, -2).reshape(n, channels, height, breadth))


@dataclass(frozen=True)
class Tokens:
    """What a feature map may attend to: features (n, T, F), and which of them count, bool (n, T), at least one."""

    features: Tensor
    counts: Tensor


class CrossAttention(nn.Module):
    """Attention from the positions of a feature map to tokens, one head per 32 channels, with a residual connection.

    References: Rombach et al., arXiv:2112.10752, section 3.3.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32) if channels % max(1, channels // 32) == 0 else 1
        self.norm = group_norm(channels)
        self.token_norm = nn.LayerNorm(features)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Linear(features, 2 * channels)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, tokens: Tokens) -> Tensor:
        n, channels, height, breadth = x.shape
        query = self.query(self.norm(x)).reshape(n, self.heads, channels // self.heads, -1).transpose(-1, -2)
        split = self.key_value(self.token_norm(tokens.features)).unflatten(-1, (2, self.heads, -1))
        key, value = split.permute(2, 0, 3, 1, 4).unbind(0)  # each (n, heads, T, features)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=tokens.counts[:, None, None])
        return x + self.out(mixed.transpose(-1, -2).reshape(n, channels, height, breadth))


class DenoisingMLP(nn.Module):
    """A residual network over vectors (n, D), with `width` hidden features and `depth` blocks.

    beside: numbers that stand before those of x in the input, and have no place in the output. outputs: numbers in the
    result; None: D.
    """

    def __init__(
        self,
        dimensions: int,
        *,
        width: int,
        depth: int,
        dropout: float,
        embedding: int,
        beside: int = 0,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(beside + dimensions, width)
        self.time = TimeEmbedding(64, embedding)
        self.blocks = nn.ModuleList(_DenseBlock(width, embedding, dropout) for _ in range(depth))
        self.last_norm = nn.LayerNorm(width)
        self.last = _zero(nn.Linear(width, outputs or dimensions))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        e = F.silu(self.time(t) + condition)  # (n, E)
        h = _run(self.blocks, self.first(x), e)  # (n, width)
        return self.last(F.silu(self.last_norm(h)))


class _DenseBlock(nn.Module):
    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, width)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.linear_2 = _zero(nn.Linear(width, width))

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        scale, shift = self.modulation(e).chunk(2, dim=1)
        h = self.linear_1(F.silu(self.norm(x))) * (1.0 + scale) + shift
        return x + self.linear_2(self.dropout(F.silu(h)))


def _blocks(depth: int, channels: int, out_channels: int, embedding: int, dropout: float) -> nn.ModuleList:
    sizes = [channels] + [out_channels] * depth
    return nn.ModuleList(ResidualBlock(a, b, embedding, dropout) for a, b in pairwise(sizes))


def _run(blocks: nn.Module, h: Tensor, e: Tensor) -> Tensor:
    for block in blocks.children():
        h = block(h, e)
    return h


def _attended(cross: Iterator[nn.Module], h: Tensor, tokens: Tokens | None) -> Tensor:
    """h after the next attention to tokens; as it is where there are none."""
    return h if tokens is None else next(cross)(h, tokens)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with groups of about 8 channels, where that divides them."""
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)


def _zero(layer: _Layer) -> _Layer:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
