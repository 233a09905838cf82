"""The sliced Wasserstein distance."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import MetricValue
from .features import checked_pair, equal_counts

_PROJECTIONS = 500
_CHUNK = 100  # projections at a time


def sliced_wasserstein(generated_features: Tensor, real_features: Tensor, seed: int) -> MetricValue:
    """Mean over random directions of the 1-Wasserstein distance between the projections; lower is better.

    500 directions, uniform on the sphere by seed; one in one dimension. In the features' own units. Between equal
    counts the distance in one dimension is the mean gap between sorted values; of unequal counts the larger side is
    subsampled. Biased upwards by the order of n^-½. No interval: near equal laws the distance is the mean of absolute
    values, not normal, and directions share their samples.

    A shift by δ in d dimensions scores |δ| Γ(d/2) / (√π Γ((d + 1)/2)), whatever the law.

    References: Bonneel et al., doi:10.1007/s10851-014-0506-3; Karras et al., arXiv:1710.10196, section 5.
    """
    x, y = checked_pair(generated_features, real_features, at_least=2)
    x, y = equal_counts(x, y, seed)
    generator = torch.Generator().manual_seed(seed)
    count = 1 if x.shape[1] == 1 else _PROJECTIONS
    directions = torch.randn(x.shape[1], count, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=0)  # (d, directions)
    gaps = [
        ((x @ part).sort(dim=0).values - (y @ part).sort(dim=0).values).abs().mean(0)
        for part in directions.split(_CHUNK, dim=1)
    ]
    return MetricValue(float(torch.cat(gaps).mean()))
