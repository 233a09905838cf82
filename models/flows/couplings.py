"""Affine couplings for images, their networks, and the flow of them that is RealNVP's.

Glossary: as in `multi_scale`.

References: Dinh et al., "Density estimation using Real NVP", arXiv:1605.08803.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..likelihoods import sum_per_example
from .multi_scale import MultiScaleFlow, Step


class MaskedFlow(MultiScaleFlow):
    """Affine couplings, at each level the first half of them under checkerboard masks, the others under channel masks.

    A checkerboard on the full resolution is a choice of two of the four positions in every 2 x 2 block, so after the
    squeeze both kinds of mask are choices of channels, and the networks run at half the resolution.

    shape: (C, H, W). Two levels, and a third where the sides are divisible by 8 and at least 16. transforms: couplings
    at each level. hidden, depth: channels and residual blocks of every coupling's network.

    References: arXiv:1605.08803, sections 3.4-3.6.
    """

    def __init__(self, shape: tuple[int, ...], *, transforms: int, hidden: int, depth: int) -> None:
        _, height, width = shape
        levels = 3 if height % 8 == 0 and width % 8 == 0 and min(height, width) >= 16 else 2

        def couplings(real: Tensor) -> Iterator[Step]:
            for mask in masks(len(real), transforms):
                changed = int((~mask).sum())
                sides = (real.shape[1], real.shape[2])
                network = CouplingNetwork(len(real) - changed, 2 * changed, sides, hidden, depth)
                yield BoundedCoupling(real, mask, network)

        super().__init__(shape, levels, couplings)


class AffineCoupling(Step):
    """Some channels are scaled and shifted by functions of the others: z_b = x_b exp(s(x_a)) + t(x_a).

    A subclass says how s follows from the network's output. real: bool (C, H, W), the entries that may change. mask:
    bool (C,), true for the channels a that stay as they are. network: (n, a, H, W) and a context to (n, 2b, H, W).

    References: arXiv:1605.08803, equations 4-8.
    """

    kept: Tensor
    changed: Tensor
    order: Tensor
    real: Tensor | None

    def __init__(self, real: Tensor, mask: Tensor, network: nn.Module) -> None:
        super().__init__()
        kept, changed = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("changed", changed, persistent=False)
        self.register_buffer("order", torch.argsort(torch.cat((kept, changed))), persistent=False)
        self.register_buffer("real", None if real.all() else real[changed].float(), persistent=False)
        self.network = network

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = self._split(x)
        log_scale, shift = self._scale_and_shift(kept, context)
        return self._join(kept, changed * torch.exp(log_scale) + shift), sum_per_example(log_scale)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        kept, changed = self._split(z)
        log_scale, shift = self._scale_and_shift(kept, context)
        return self._join(kept, (changed - shift) * torch.exp(-log_scale))

    def _log_scale(self, raw: Tensor) -> Tensor:
        raise NotImplementedError

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.kept], x[:, self.changed]

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat((kept, changed), dim=1)[:, self.order]

    def _scale_and_shift(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(kept, context).chunk(2, dim=1)
        log_scale = self._log_scale(raw)
        return (log_scale, shift) if self.real is None else (log_scale * self.real, shift * self.real)


class BoundedCoupling(AffineCoupling):
    """s is a learned scale times a hyperbolic tangent: the coupling starts as the identity if the network starts at 0.

    References: arXiv:1605.08803, section 4.1.
    """

    def __init__(self, real: Tensor, mask: Tensor, network: nn.Module) -> None:
        super().__init__(real, mask, network)
        self.bound = nn.Parameter(torch.ones(len(self.changed), 1, 1))

    def _log_scale(self, raw: Tensor) -> Tensor:
        return self.bound * torch.tanh(raw)


class CouplingNetwork(nn.Module):
    """A residual convolutional network, with a learned offset for every position after its first layer.

    The offset tells centre from border, which matters where objects are centred, as on digits. The output starts at
    zero. A context is a map (n, c, H, W) that the network gets in addition to its input; `channels` counts both.
    """

    def __init__(self, channels: int, out_channels: int, sides: tuple[int, int], hidden: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, hidden, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(hidden, *sides))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1))
            for _ in range(depth)
        )
        self.last = zero_convolution(hidden, out_channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.first(x if context is None else torch.cat((x, context), dim=1)) + self.position  # (n, hidden, H, W)
        for block in self.blocks:
            h = h + block(h)
        return self.last(F.relu(h))


def zero_convolution(channels: int, out_channels: int) -> nn.Conv2d:
    """A 3 x 3 convolution whose weights start at zero."""
    convolution = nn.Conv2d(channels, out_channels, 3, padding=1)
    nn.init.zeros_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def masks(channels: int, transforms: int) -> list[Tensor]:
    """Masks (channels,) for `transforms` couplings of a squeezed map, first checkerboards, then halves; each pair is
    complementary."""
    position = torch.arange(channels) % 4  # within a block: 0 1 above 2 3
    checkerboard = (position == 0) | (position == 3)
    halves = torch.arange(channels) < channels // 2
    with_checkerboard = (transforms + 1) // 2
    kinds = [checkerboard] * with_checkerboard + [halves] * (transforms - with_checkerboard)
    return [mask if i % 2 == 0 else ~mask for i, mask in enumerate(kinds)]
