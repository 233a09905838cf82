"""Variational dequantisation: noise inside a level's bin from a conditional flow.

Glossary:
    k       levels of an image; u = (k + v) / L with noise v in (0, 1)
    q(v|k)  density of the noise; log P(k) >= E_q [log p(u) - log q(v|k)] - D log L, for uniform noise log q = 0
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..data_spec import DataSpec
from ..likelihoods import levels_of, standard_normal_log_prob
from ..nets.sides import cut, size_of
from .couplings import BoundedCoupling, CouplingNetwork, masks
from .multi_scale import squeeze

_COUPLINGS = 4
_FEATURES = 16
_HIDDEN = 32


class VariationalNoise(nn.Module):
    """q(v|k): a normal e, affine couplings that see features of the image, and v = Phi(y), the normal's distribution.

    Where the couplings are the identity, as at the start, v is uniform.

    References: Ho et al., "Flow++", arXiv:1902.00275, section 3.1, equation 12; with Phi in place of a sigmoid.

    data: images (C, H, W); couplings work on 2 x 2 blocks.
    """

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.data = data
        real = squeeze(torch.ones(data.shape, dtype=torch.bool))
        channels, *sides = real.shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, _HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HIDDEN, _FEATURES, 3, padding=1),
            nn.ReLU(),
        )
        self.couplings = nn.ModuleList()
        for mask in masks(channels, _COUPLINGS):
            kept = int(mask.sum())
            network = CouplingNetwork(
                kept + _FEATURES, 2 * (channels - kept), (sides[0], sides[1]), hidden=_HIDDEN, depth=0
            )
            self.couplings.append(BoundedCoupling(real, mask, network))

    def forward(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Images x (n, C, H, W) to u, and log q(v|k) (n,) of the noise that was drawn."""
        e = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        y, log_det = self._to_noise(e, x)
        v = torch.special.ndtr(y)
        u = (self.data.to_levels(x) + v) / levels_of(self.data)
        return u, standard_normal_log_prob(e) - log_det - standard_normal_log_prob(y)

    def _to_noise(self, e: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """e to y (both like x), and log|det dy/de| (n,)."""
        features = self.features(squeeze(x))
        y, log_det = squeeze(e), torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for coupling in self.couplings:
            y, change = coupling(y, features)
            log_det = log_det + change
        return cut(F.pixel_shuffle(y, 2), size_of(x)), log_det
