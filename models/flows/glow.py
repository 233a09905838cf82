"""Glow: actnorm, invertible 1 x 1 convolutions and affine couplings, at several scales.

Glossary: as in `multi_scale`; a position is whole where all of its channels are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..base import Batch, Stage
from ..data_spec import DataSpec
from ..nets.sides import image_shape, shrunk
from .couplings import AffineCoupling, zero_convolution
from .dequantisation import VariationalNoise
from .flow import NormalisingFlow
from .multi_scale import MultiScaleFlow, Step

_FIRST_EXAMPLES = 512  # what the actnorms' starts are computed from
_LEAST_SCALE = 0.1  # of a coupling: the inverse divides by it, and samples overflowed where nothing held it


class Glow(NormalisingFlow):
    """Images at several scales through steps of flow: actnorm, an invertible 1 x 1 convolution, an affine coupling.

    References: Kingma and Dhariwal, "Glow", arXiv:1807.03039; variational dequantisation: Ho et al., "Flow++",
    arXiv:1902.00275, section 3.1.

    dequantisation: "uniform" noise, or "variational": noise from a flow of its own, given the image.
    levels: scales, fewer where a side has shrunk to one pixel. transforms: steps at each level. hidden: channels of the
    couplings' networks.
    """

    family = "glow"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 2e-3,
        dequantisation: Literal["uniform", "variational"] = "uniform",
        levels: int = 2,
        transforms: int = 6,
        hidden: int = 48,
        weight_decay: float = 1e-6,
    ) -> None:
        super().__init__(data, learning_rate=learning_rate, weight_decay=weight_decay)
        shape = image_shape(data, self.family)

        def steps(real: Tensor) -> Iterator[Step]:
            for number in range(transforms):
                yield ActNorm(real)
                yield Mixing(real)
                yield HalfCoupling(real, hidden, self.classes, first=number % 2 == 0)

        self.image_flow = MultiScaleFlow(shape, min(levels, _most_levels(shape)), steps)
        self.noise = VariationalNoise(data) if dequantisation == "variational" else None

    def stages(self) -> tuple[Stage, ...]:
        normalisation, training = super().stages()
        return normalisation, Stage("actnorm", fit=self._fit_actnorm), training

    def _forward(self, y: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.image_flow(y, labels)

    def _inverse(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.image_flow.inverse(z, labels)

    def _dequantise(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor | None]:
        if self.noise is None:
            return super()._dequantise(x, generator)
        return self.noise(x, generator)

    @torch.no_grad()
    def _fit_actnorm(self, data: Batch, generator: Generator) -> float:
        """Every actnorm starts so that its outputs have mean 0 and deviation 1; returns the operations it took."""
        data = data[:_FIRST_EXAMPLES]
        norms = [module for module in self.image_flow.modules() if isinstance(module, ActNorm)]
        for norm in norms:
            norm.starting = True
        with FlopCounterMode(display=False) as counter:
            self._log_density(data.x, self._labels(len(data), data.labels), generator)
        for norm in norms:
            norm.starting = False
        return float(counter.get_total_flops())


class ActNorm(Step):
    """Scale and shift of every channel: z = (x + b) exp(s). While `starting`, they are set by the batch that comes.

    References: arXiv:1807.03039, section 3.1.
    """

    real: Tensor | None

    def __init__(self, real: Tensor) -> None:
        super().__init__()
        self.starting = False
        self.shift = nn.Parameter(torch.zeros(len(real), 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(len(real), 1, 1))
        self.register_buffer("counts", real.sum((1, 2)).float(), persistent=False)  # real positions of each channel
        self.register_buffer("real", None if real.all() else real, persistent=False)

    counts: Tensor

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.starting:
            self._start(x)
        log_det = (self.log_scale[:, 0, 0] * self.counts).sum()
        return self._where_real((x + self.shift) * torch.exp(self.log_scale), x), log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self._where_real(z * torch.exp(-self.log_scale) - self.shift, z)

    def _where_real(self, changed: Tensor, x: Tensor) -> Tensor:
        return changed if self.real is None else torch.where(self.real, changed, x)

    def _start(self, x: Tensor) -> None:
        n = (len(x) * self.counts.clamp(min=1))[:, None, None]  # what is not real is zero, and counts nowhere
        mean = x.sum((0, 2, 3))[:, None, None] / n
        deviation = (self._where_real(x - mean, x).square().sum((0, 2, 3))[:, None, None] / n).sqrt()
        self.shift.copy_(-mean)
        self.log_scale.copy_(-deviation.clamp(min=1e-3).log())


class Mixing(Step):
    """An invertible 1 x 1 convolution, W = P L (U + diag(s)), which starts as a random rotation.

    P and the signs of s stay; L has ones on its diagonal, so log|det W| = sum log|s|. Positions that are not whole
    are left alone.

    References: arXiv:1807.03039, section 3.2, equation 10.
    """

    permutation: Tensor
    signs: Tensor
    whole: Tensor | None

    def __init__(self, real: Tensor) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(len(real), len(real)))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("signs", diagonal.sign())
        self.log_scale = nn.Parameter(diagonal.abs().log())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        whole = real.all(0)
        self.positions = int(whole.sum())
        self.register_buffer("whole", None if whole.all() else whole, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        return self._mix(x, self.permutation @ lower @ upper), self.positions * self.log_scale.sum()

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        lower, upper = self._factors()
        half = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False, unitriangular=True)
        return self._mix(z, torch.linalg.solve_triangular(upper, half, upper=True))

    def _factors(self) -> tuple[Tensor, Tensor]:
        identity = torch.eye(len(self.signs), dtype=self.lower.dtype, device=self.lower.device)
        return self.lower.tril(-1) + identity, self.upper.triu(1) + torch.diag(self.signs * self.log_scale.exp())

    def _mix(self, x: Tensor, weights: Tensor) -> Tensor:
        mixed = F.conv2d(x, weights[:, :, None, None])
        return mixed if self.whole is None else torch.where(self.whole, mixed, x)


class HalfCoupling(AffineCoupling):
    """One half of the channels is scaled and shifted, given the other; halves take turns.

    The scale is .1 + .9 sigmoid(r + 2).

    first: whether the first half stays as it is. Labels are the context.

    References: arXiv:1807.03039, section 3.3; the sigmoid is that of the authors' code.
    """

    def __init__(self, real: Tensor, hidden: int, classes: int, *, first: bool) -> None:
        half = len(real) // 2
        mask = (torch.arange(len(real)) < half) == first
        super().__init__(real, mask, _GlowNetwork(half, (real.shape[1], real.shape[2]), hidden, classes))
        self.first = first

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = x.chunk(2, dim=1)
        return (low, high) if self.first else (high, low)

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat((kept, changed) if self.first else (changed, kept), dim=1)

    def _log_scale(self, raw: Tensor) -> Tensor:
        return torch.log(_LEAST_SCALE + (1.0 - _LEAST_SCALE) * torch.sigmoid(raw + 2.0))


class _GlowNetwork(nn.Module):
    """Convolutions of 3 x 3, 1 x 1 and 3 x 3, the last of which starts at zero; positions and labels have offsets."""

    def __init__(self, channels: int, sides: tuple[int, int], hidden: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, hidden, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(hidden, *sides))
        self.label = nn.Embedding(classes + 1, hidden) if classes else None
        self.second = nn.Conv2d(hidden, hidden, 1)
        self.last = zero_convolution(hidden, 2 * channels)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.first(x) + self.position
        if self.label is not None:
            h = h + self.label(labels)[:, :, None, None]
        return self.last(F.relu(self.second(F.relu(h))))


def _most_levels(shape: tuple[int, ...]) -> int:
    """How often a map of two pixels or more a side can be squeezed."""
    size, levels = (shape[1], shape[2]), 0
    while min(size) > 1:
        size, levels = shrunk(size), levels + 1
    return levels
