"""FID extrapolated to infinitely many samples.

Glossary:
    n  samples of either side;  d  their dimensions
    F̄(s)  mean FID between disjoint parts of s samples of either side;  s = n, n/2, ... n/K
    F̄(s) ≈ F∞ + b/s, fitted by least squares over the sizes
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import checked_pair, equal_counts
from .frechet import frechet
from .intervals import LEAST, normal_interval, variance_of_influence

_MOST_PARTS = 5  # K
_SAMPLES_PER_DIMENSION = 2  # in the smallest part: with fewer, FID is no longer straight in 1/s


def fd_infinity(generated_features: Tensor, real_features: Tensor, seed: int) -> MetricValue:
    """F∞, the FID that is left when the bias of order 1/n is taken off; lower is better, and it may be negative.

    The sizes are n, n/2, n/3, n/4 and n/5, as far as a part keeps two samples for each dimension; at each size the
    samples, shuffled by seed, are cut into disjoint parts whose FIDs are averaged. Both sides have the same count n
    (the larger one is subsampled), so that the biases of both are taken off: the paper draws its real statistics
    from one large set. The interval is the infinitesimal jackknife's of the whole fit: the fit's own residuals
    share their samples and would make it too narrow.

    References: Chong & Forsyth, arXiv:1911.07023, section 3.
    """
    x, y = checked_pair(generated_features, real_features, at_least=2)
    x, y = equal_counts(x, y, seed)
    n, d = x.shape
    least_part = max(LEAST, _SAMPLES_PER_DIMENSION * d)
    parts = [k for k in range(1, _MOST_PARTS + 1) if n // k >= least_part]
    if len(parts) < 2:
        raise UndefinedError(f"needs at least {2 * least_part} samples of either side in {d} dimensions, got {n}")
    generator = torch.Generator().manual_seed(seed)
    order_x, order_y = (torch.randperm(n, generator=generator) for _ in range(2))
    inverse_size = torch.tensor([1 / (n // k) for k in parts], dtype=torch.float64)
    weights = _weights_at_zero(inverse_size)
    value = 0.0
    influence = [torch.zeros(n, dtype=torch.float64) for _ in range(2)]
    for weight, k in zip(weights.tolist(), parts, strict=True):
        size = n // k
        for start in range(0, size * k, size):
            rows_x, rows_y = order_x[start : start + size], order_y[start : start + size]
            part = frechet(x[rows_x], y[rows_y])
            value += weight * part.value / k
            # An example's weight in its own part is n / size times that in the whole, and the part counts for 1/k.
            influence[0][rows_x] += weight * part.of_generated * n / (size * k)
            influence[1][rows_y] += weight * part.of_real * n / (size * k)
    return normal_interval(value, variance_of_influence(*influence), variance_of_influence(influence[0]))


def _weights_at_zero(inverse_size: Tensor) -> Tensor:
    """w with Σ w_i F_i the intercept of the least-squares line through (1/s_i, F_i)."""
    design = torch.stack([torch.ones_like(inverse_size), inverse_size], dim=1)  # (sizes, 2)
    return torch.linalg.pinv(design)[0]
