"""The sliced Wasserstein distance."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import MetricValue
from .features import checked_pair

_PROJECTIONS = 500
_CHUNK = 100  # projections at a time


def sliced_wasserstein(generated_features: Tensor, real_features: Tensor, seed: int) -> MetricValue:
    """Mean over random directions of the 1-Wasserstein distance between the projections; lower is better.

    500 directions, uniform on the sphere by seed; one in one dimension. In the features' own units. The distance in one
    dimension is the integral of the gap between quantiles: between equal counts, the mean gap between sorted values.
    Biased upwards by the order of n^-½, n the smaller count. No interval: near equal laws the distance is the mean of
    absolute values, not normal, and directions share their samples.

    A shift by δ in d dimensions scores |δ| Γ(d/2) / (√π Γ((d + 1)/2)), whatever the law.

    References: Bonneel et al., doi:10.1007/s10851-014-0506-3; Karras et al., arXiv:1710.10196, section 5.
    """
    x, y = checked_pair(generated_features, real_features, at_least=2)
    of_x, of_y, width = _quantiles(len(x), len(y))
    generator = torch.Generator().manual_seed(seed)
    count = 1 if x.shape[1] == 1 else _PROJECTIONS
    directions = torch.randn(x.shape[1], count, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=0)  # (d, directions)
    gaps = [
        width @ ((x @ part).sort(dim=0).values[of_x] - (y @ part).sort(dim=0).values[of_y]).abs()
        for part in directions.split(_CHUNK, dim=1)
    ]
    return MetricValue(float(torch.cat(gaps).mean()))


def _quantiles(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where the quantile functions of n and of m values are constant: the ranks (s,) of both, and each step's width."""
    # In units of 1/nm all steps end at integers.
    ends = torch.cat([m * torch.arange(1, n + 1), n * torch.arange(1, m + 1)]).unique()  # (s,)
    widths = ends.diff(prepend=ends.new_zeros(1))
    return (ends - 1) // m, (ends - 1) // n, widths.double() / (n * m)
