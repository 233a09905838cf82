"""Affine couplings for images and the multi-scale flow that they make up.

Glossary:
    x, z        data and code of a flow; every `forward` goes from x to z and adds log|det dz/dx| (n,)
    squeeze     blocks of 2 x 2 positions to channels: (C, H, W) to (4C, H/2, W/2)
    real        bool, the entries of a squeezed map that come from the image. An odd side gets one more row or column
                of zeros before it is squeezed; no coupling changes these, and they are no part of z

References: Dinh et al., "Density estimation using Real NVP", arXiv:1605.08803.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..likelihoods import sum_per_example
from ..nets.sides import Size, cut, padded


class MultiScaleFlow(nn.Module):
    """Couplings at several resolutions: after each level but the last, half of the channels are done.

    Every level squeezes and then applies `transforms` couplings, the first half of them under checkerboard masks
    and the others under channel masks. A checkerboard on the full resolution is a choice of two of the four
    positions in every 2 x 2 block, so after the squeeze both kinds of mask are choices of channels, and the
    networks run at half the resolution.

    shape: (C, H, W). Two levels, and a third where the sides are divisible by 8 and at least 16. hidden, depth:
    channels and residual blocks of every coupling's network.

    References: arXiv:1605.08803, sections 3.4-3.6.
    """

    def __init__(self, shape: tuple[int, ...], *, transforms: int, hidden: int, depth: int) -> None:
        super().__init__()
        _, height, width = shape
        halvings = 3 if height % 8 == 0 and width % 8 == 0 and min(height, width) >= 16 else 2
        self.levels = nn.ModuleList()
        self.codes = nn.ModuleList()
        real = torch.ones(shape, dtype=torch.bool)
        for level in range(halvings):
            masks = _masks(len(real), transforms)
            size = (real.shape[1], real.shape[2])
            real = _squeeze(real)
            self.levels.append(nn.ModuleList(AffineCoupling(real, mask, hidden, depth) for mask in masks))
            done = len(real) if level == halvings - 1 else len(real) // 2
            self.codes.append(_Code(real[:done], size))
            real = real[done:]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) to flat codes (n, D) and log|det| (n,)."""
        log_det = torch.zeros(x.shape[0], device=x.device)
        codes = []
        for couplings, code in zip(self.levels, self._codes(), strict=True):
            x = _squeeze(x)
            for coupling in couplings.children():
                x, change = coupling(x)
                log_det = log_det + change
            codes.append(code.flat(x[:, : code.shape[0]]))
            x = x[:, code.shape[0] :]
        return torch.cat(codes, dim=1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Flat codes (n, D) to images (n, C, H, W)."""
        codes = self._codes()
        parts = z.split([code.length for code in codes], dim=1)
        x = z.new_empty(0)
        for level in reversed(range(len(self.levels))):
            own = codes[level].map(parts[level])
            x = own if x.numel() == 0 else torch.cat((own, x), dim=1)
            for coupling in reversed(list(self.levels[level].children())):
                assert isinstance(coupling, AffineCoupling)
                x = coupling.inverse(x)
            x = cut(F.pixel_shuffle(x, 2), codes[level].size)
        return x

    def _codes(self) -> list[_Code]:
        return [code for code in self.codes.children() if isinstance(code, _Code)]


class _Code(nn.Module):
    """The part of the code that is done after a level: maps (n, *shape) to the real ones of their entries, and back.

    real: (C, H, W), which entries these are. size: height and width of the level's maps before the squeeze.
    """

    places: Tensor | None

    def __init__(self, real: Tensor, size: Size) -> None:
        super().__init__()
        self.shape, self.size = real.shape, size
        self.length = int(real.sum())
        self.register_buffer("places", None if real.all() else real.flatten().nonzero()[:, 0], persistent=False)

    def flat(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return x if self.places is None else x[:, self.places]

    def map(self, z: Tensor) -> Tensor:
        if self.places is not None:
            z = z.new_zeros(len(z), self.shape.numel()).index_copy(1, self.places, z)
        return z.unflatten(1, self.shape)


class AffineCoupling(nn.Module):
    """Some channels are scaled and shifted by functions of the others: z_b = x_b exp(s(x_a)) + t(x_a).

    s is bounded by a learned scale times a hyperbolic tangent. The network's output starts at zero, and the
    coupling with it as the identity. real: bool (C, H, W), the entries that may change. mask: bool (C,), true for the
    channels a that stay as they are.

    References: arXiv:1605.08803, equations 4-8 and section 4.1.
    """

    kept: Tensor
    changed: Tensor
    order: Tensor
    real: Tensor | None

    def __init__(self, real: Tensor, mask: Tensor, hidden: int, depth: int) -> None:
        super().__init__()
        kept, changed = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("changed", changed, persistent=False)
        self.register_buffer("order", torch.argsort(torch.cat((kept, changed))), persistent=False)
        self.register_buffer("real", None if real.all() else real[changed].float(), persistent=False)
        self.network = CouplingNetwork(len(kept), 2 * len(changed), (real.shape[1], real.shape[2]), hidden, depth)
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
        log_scale = self.bound * torch.tanh(raw)
        return (log_scale, shift) if self.real is None else (log_scale * self.real, shift * self.real)


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


def _squeeze(x: Tensor) -> Tensor:
    return F.pixel_unshuffle(padded(x), 2)


def _masks(channels: int, transforms: int) -> list[Tensor]:
    """Masks (4C,) for `transforms` couplings after a squeeze of C channels; each pair is complementary."""
    position = torch.arange(4 * channels) % 4  # within a block: 0 1 above 2 3
    checkerboard = (position == 0) | (position == 3)
    halves = torch.arange(4 * channels) < 2 * channels
    with_checkerboard = (transforms + 1) // 2
    kinds = [checkerboard] * with_checkerboard + [halves] * (transforms - with_checkerboard)
    return [mask if i % 2 == 0 else ~mask for i, mask in enumerate(kinds)]
