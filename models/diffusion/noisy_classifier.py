"""A classifier of noisy examples, whose gradient guides samples to a class."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data_spec import DataSpec
from ..nets.layers import HIDDEN_PER_WIDTH, Perceptron
from ..nets.sides import image_shape
from ..nets.unet import ResidualBlock, SelfAttention, TimeEmbedding


class NoisyClassifier(nn.Module):
    """Logits (n, K) of p(y | x_t) for x_t (n, ...) and times (n,) in [0, 1]; K classes.

    Images: the downward half of the U-Net, the mean over its lowest resolution, and a linear layer. Vectors: a
    perceptron of two hidden layers on the vector and its embedded time.

    width: channels at full resolution; vectors have four times as many hidden units. family: named in errors.

    References: Dhariwal and Nichol, arXiv:2105.05233, section 4.
    """

    def __init__(self, data: DataSpec, *, width: int, family: str) -> None:
        super().__init__()
        hidden = HIDDEN_PER_WIDTH * width
        self.time = TimeEmbedding(width, hidden)
        self.body: nn.Module
        if data.kind == "image":
            self.body = _Downward(image_shape(data, family), data.classes, width=width, embedding=hidden)
        else:
            self.body = _OnBoth(data.dimensions + hidden, data.classes, hidden=hidden)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        logits: Tensor = self.body(x, F.silu(self.time(time)))
        return logits

    def gradient(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """The gradient of log p(y | x_t) by x_t, like x, for labels (n,)."""
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            log_p = self(x, time).log_softmax(-1).gather(-1, labels[:, None])
            return torch.autograd.grad(log_p.sum(), x)[0]


class _Downward(nn.Module):
    """Images (n, C, H, W) and embedded times (n, embedding) to (n, outputs)."""

    def __init__(self, shape: tuple[int, int, int], outputs: int, *, width: int, embedding: int) -> None:
        super().__init__()
        channels, height, breadth = shape
        widths = [width] + [2 * width] * (1 if min(height, breadth) < 12 else 2)  # as the U-Net's
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(w, w, embedding, 0.0) for w in widths)
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.attention = SelfAttention(widths[-1])
        self.last = nn.Sequential(nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], outputs))

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = self.first(x)
        for block, narrow in zip(self.blocks, self.narrow, strict=False):  # the last block stands below
            h = narrow(block(h, e))
        h = self.attention(self.blocks[-1](h, e))
        logits: Tensor = self.last(h.mean((2, 3)))
        return logits


class _OnBoth(nn.Module):
    """Vectors (n, D) and embedded times (n, embedding) to (n, outputs)."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.perceptron = Perceptron(inputs, outputs, hidden=hidden, layers=2)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        logits: Tensor = self.perceptron(torch.cat((x, e), dim=1))
        return logits
