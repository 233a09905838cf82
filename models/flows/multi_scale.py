"""The multi-scale flow over images: steps at several resolutions, between which half of the channels are done.

Glossary:
    x, z        data and code of a flow; every `forward` goes from x to z and adds log|det dz/dx| (n,)
    squeeze     blocks of 2 x 2 positions to channels: (C, H, W) to (4C, H/2, W/2)
    real        bool, the entries of a squeezed map that come from the image. An odd side gets one more row or column
                of zeros before it is squeezed; no step changes these, and they are no part of z
    context     what a step's network depends on in addition to x; the family says what it is

References: Dinh et al., "Density estimation using Real NVP", arXiv:1605.08803.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nets.sides import Size, cut, padded


class Step(nn.Module):
    """An invertible map of squeezed maps (n, C, H, W), which leaves what is not real as it is."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x to z, and log|det dz/dx|, (n,) or () where it does not depend on x."""
        raise NotImplementedError

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        raise NotImplementedError


class MultiScaleFlow(nn.Module):
    """At every level a map is squeezed and goes through steps; after each but the last, half of the channels are done.

    shape: (C, H, W). levels: squeezes. steps: makes the steps of a level, of its real entries (4C, H/2, W/2).

    References: arXiv:1605.08803, sections 3.4-3.6.
    """

    def __init__(self, shape: tuple[int, ...], levels: int, steps: Callable[[Tensor], Iterable[Step]]) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        self.codes = nn.ModuleList()
        real = torch.ones(shape, dtype=torch.bool)
        for level in range(levels):
            size = (real.shape[1], real.shape[2])
            real = squeeze(real)
            self.levels.append(nn.ModuleList(steps(real)))
            done = len(real) if level == levels - 1 else len(real) // 2
            self.codes.append(_Code(real[:done], size))
            real = real[done:]

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) to flat codes (n, D) and log|det| (n,)."""
        log_det = torch.zeros(x.shape[0], dtype=x.dtype, device=x.device)
        codes = []
        for steps, code in zip(self.levels, self._codes(), strict=True):
            x = squeeze(x)
            for step in steps.children():
                x, change = step(x, context)
                log_det = log_det + change
            codes.append(code.flat(x[:, : code.shape[0]]))
            x = x[:, code.shape[0] :]
        return torch.cat(codes, dim=1), log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Flat codes (n, D) to images (n, C, H, W)."""
        codes = self._codes()
        parts = z.split([code.length for code in codes], dim=1)
        x = z.new_empty(0)
        for level in reversed(range(len(self.levels))):
            own = codes[level].map(parts[level])
            x = own if x.numel() == 0 else torch.cat((own, x), dim=1)
            for step in reversed(list(self.levels[level].children())):
                assert isinstance(step, Step)
                x = step.inverse(x, context)
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


def squeeze(x: Tensor) -> Tensor:
    """(..., C, H, W) to (..., 4C, H/2, W/2), an odd side padded by zeros."""
    return F.pixel_unshuffle(padded(x), 2)
