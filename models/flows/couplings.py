"""Affine couplings for images and the multi-scale flow that they make up.

Glossary:
    x, z        data and code of a flow; every `forward` goes from x to z and adds log|det dz/dx| (n,)
    squeeze     blocks of 2 x 2 positions to channels: (C, H, W) to (4C, H/2, W/2)

References: Dinh et al., "Density estimation using Real NVP", arXiv:1605.08803.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..likelihoods import sum_per_example


class MultiScaleFlow(nn.Module):
    """Couplings at several resolutions: after each level but the last, half of the channels are done.

    Every level squeezes and then applies `transforms` couplings, the first half of them under checkerboard masks
    and the others under channel masks. A checkerboard on the full resolution is a choice of two of the four
    positions in every 2 x 2 block, so after the squeeze both kinds of mask are choices of channels, and the
    networks run at half the resolution.

    shape: (C, H, W) with H and W divisible by 4. Two levels, and a third where the sides are divisible by 8 and
    at least 16. hidden, depth: channels and residual blocks of every coupling's network.

    References: arXiv:1605.08803, sections 3.4-3.6.
    """

    def __init__(self, shape: tuple[int, ...], *, transforms: int, hidden: int, depth: int) -> None:
        super().__init__()
        channels, height, width = shape
        if height % 4 or width % 4:
            raise ValueError(f"the multi-scale flow needs sides divisible by 4, got {height} x {width}")
        halvings = 3 if height % 8 == 0 and width % 8 == 0 and min(height, width) >= 16 else 2
        self.levels = nn.ModuleList()
        self.code_shapes: list[tuple[int, int, int]] = []
        for level in range(halvings):
            squeezed, height, width = 4 * channels, height // 2, width // 2
            masks = _masks(channels, transforms)
            self.levels.append(
                nn.ModuleList(AffineCoupling((squeezed, height, width), mask, hidden, depth) for mask in masks)
            )
            last = level == halvings - 1
            self.code_shapes.append((squeezed if last else squeezed // 2, height, width))
            channels = squeezed // 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) to flat codes (n, D) and log|det| (n,)."""
        log_det = torch.zeros(x.shape[0], device=x.device)
        codes = []
        for couplings, shape in zip(self.levels, self.code_shapes, strict=True):
            x = F.pixel_unshuffle(x, 2)
            for coupling in couplings.children():
                x, change = coupling(x)
                log_det = log_det + change
            codes.append(x[:, : shape[0]].flatten(1))
            x = x[:, shape[0] :]
        return torch.cat(codes, dim=1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Flat codes (n, D) to images (n, C, H, W)."""
        sizes = [c * h * w for c, h, w in self.code_shapes]
        codes = z.split(sizes, dim=1)
        x = z.new_empty(0)
        for level in reversed(range(len(self.levels))):
            code = codes[level].unflatten(1, self.code_shapes[level])
            x = code if x.numel() == 0 else torch.cat((code, x), dim=1)
            for coupling in reversed(list(self.levels[level].children())):
                assert isinstance(coupling, AffineCoupling)
                x = coupling.inverse(x)
            x = F.pixel_shuffle(x, 2)
        return x


class AffineCoupling(nn.Module):
    """Some channels are scaled and shifted by functions of the others: z_b = x_b exp(s(x_a)) + t(x_a).

    s is bounded by a learned scale times a hyperbolic tangent. The network's output starts at zero, and the
    coupling with it as the identity. mask: bool (C,), true for the channels a that stay as they are.

    References: arXiv:1605.08803, equations 4-8 and section 4.1.
    """

    kept: Tensor
    changed: Tensor
    order: Tensor

    def __init__(self, shape: tuple[int, int, int], mask: Tensor, hidden: int, depth: int) -> None:
        super().__init__()
        kept, changed = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("changed", changed, persistent=False)
        self.register_buffer("order", torch.argsort(torch.cat((kept, changed))), persistent=False)
        self.network = CouplingNetwork(len(kept), 2 * len(changed), shape[1:], hidden, depth)
        self.bound = nn.Parameter(torch.ones(len(changed), 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._scale_and_shift(x[:, self.kept])
        changed = x[:, self.changed] * torch.exp(log_scale) + shift
        return torch.cat((x[:, self.kept], changed), dim=1)[:, self.order], sum_per_example(log_scale)

    def inverse(self, z: Tensor) -> Tensor:
        log_scale, shift = self._scale_and_shift(z[:, self.kept])
        changed = (z[:, self.changed] - shift) * torch.exp(-log_scale)
        return torch.cat((z[:, self.kept], changed), dim=1)[:, self.order]

    def _scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(kept).chunk(2, dim=1)
        return self.bound * torch.tanh(raw), shift


class CouplingNetwork(nn.Module):
    """A residual convolutional network, with a learned offset for every position after its first layer.

    The offset tells centre from border, which matters where objects are centred, as on digits.
    """

    def __init__(self, channels: int, out_channels: int, sides: tuple[int, int], hidden: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, hidden, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(hidden, *sides))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1))
            for _ in range(depth)
        )
        self.last = nn.Conv2d(hidden, out_channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x) + self.position  # (n, hidden, H, W)
        for block in self.blocks:
            h = h + block(h)
        return self.last(F.relu(h))


def _masks(channels: int, transforms: int) -> list[Tensor]:
    """Masks (4C,) for `transforms` couplings after a squeeze of C channels; each pair is complementary."""
    position = torch.arange(4 * channels) % 4  # within a block: 0 1 above 2 3
    checkerboard = (position == 0) | (position == 3)
    halves = torch.arange(4 * channels) < 2 * channels
    with_checkerboard = (transforms + 1) // 2
    kinds = [checkerboard] * with_checkerboard + [halves] * (transforms - with_checkerboard)
    return [mask if i % 2 == 0 else ~mask for i, mask in enumerate(kinds)]
