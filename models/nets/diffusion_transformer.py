"""A denoising transformer over the patches of an image.

Takes (x (n, C, H, W), t float (n,) in [0, 1], condition (n, w)) and returns a tensor of the shape of x, which starts at
zero.

Glossary:
    w   width;  p  side of a patch;  P = H/p W/p  patches in raster order
    e   (n, w) the embedded time and condition

References: Peebles and Xie, arXiv:2212.09748.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .causal_transformer import sinusoids
from .sides import Size, cut, padded, shrunk
from .unet import TimeEmbedding

_TIME_FEATURES = 256  # the paper's code
_SMALL = 0.02  # deviation of the weights that embed the time


class DiffusionTransformer(nn.Module):
    """Patches become tokens with fixed 2-D sinusoidal positions, pass blocks that e modulates, and become patches.

    shape: (C, H, W) of images; sides that p does not divide are padded with zeros, and cut again. patch: p.
    width: w, which `heads` has to divide. depth: blocks. outputs: channels of the result; None: C.

    Raises ValueError where `heads` does not divide the width.
    """

    position: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"the width of a transformer is {width}; wanted a multiple of its {heads} heads")
        channels, size = shape[0], shape[1:]
        outputs = outputs or channels
        self.patch, self.size, self.grid = patch, size, shrunk(size, patch)
        self.embedding = nn.Conv2d(channels, width, patch, stride=patch)
        self.register_buffer("position", sinusoids(_places(self.grid), width), persistent=False)
        self.time = TimeEmbedding(_TIME_FEATURES, width)
        self.blocks = nn.ModuleList(ModulatedBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.last = nn.Linear(width, patch * patch * outputs)
        self._initialise()

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        e = F.silu(self.time(t) + condition)
        h = self.embedding(padded(x, self.patch)).flatten(2).transpose(1, 2) + self.position  # (n, P, w)
        for block in self.blocks:
            h = block(h, e)
        shift, scale = self.modulation(e)[:, None].chunk(2, dim=-1)
        patches: Tensor = self.last(_modulated(self.norm(h), shift, scale))
        return self._image(patches)

    def _image(self, patches: Tensor) -> Tensor:
        """Patches (n, P, p p outputs) put together: (n, outputs, H, W)."""
        rows, columns = self.grid
        p = self.patch
        grid = patches.unflatten(1, (rows, columns)).unflatten(-1, (p, p, -1))  # (n, rows, columns, p, p, outputs)
        return cut(grid.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3), self.size)

    def _initialise(self) -> None:
        """Uniform weights by fan-in and fan-out, no biases; zeros where e modulates, and in the last layer, so that
        every block starts as the identity (section 3.2, adaLN-Zero, and the paper's code)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight.flatten(1))
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        for module in self.time.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_SMALL)
        nn.init.zeros_(self.last.weight)
        for module in self.modules():
            if isinstance(module, ModulatedBlock | DiffusionTransformer):
                nn.init.zeros_(module.modulation.weight)


class ModulatedBlock(nn.Module):
    """Self-attention and a perceptron, each on input that e shifts and scales, and with a gate by e on what it adds."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.to_heads = nn.Linear(width, 3 * width)
        self.from_heads = nn.Linear(width, width)
        gelu = nn.GELU(approximate="tanh")
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), gelu, nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(e)[:, None].chunk(6, dim=-1)
        h = h + gate_1 * self._attended(_modulated(self.norm(h), shift_1, scale_1))
        return h + gate_2 * self.perceptron(_modulated(self.norm(h), shift_2, scale_2))

    def _attended(self, h: Tensor) -> Tensor:
        """Each token (n, P, w) with the others mixed in."""
        parts: Tensor = self.to_heads(h)
        q, k, v = parts.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # (n, heads, P, w / heads)
        mixed: Tensor = self.from_heads(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


def _modulated(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalised tokens (n, P, w), shifted and scaled by (n, 1, w)."""
    return torch.addcmul(shift, h, 1.0 + scale)


def _places(grid: Size) -> Tensor:
    """Rows and columns (P, 2) of a grid's places in raster order."""
    rows, columns = (torch.arange(side) for side in grid)
    return torch.cartesian_prod(rows, columns)
