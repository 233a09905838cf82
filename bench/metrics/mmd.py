"""Maximum mean discrepancy with Gaussian kernels.

Glossary:
    X generated features (n, d);  Y real features (m, d)
    σ₀ median distance between different real features;  σ_b = 2^b σ₀ for b = -4...1
    k(x, y) = mean over b of exp(-|x - y|² / 2σ_b²), so that k(x, x) = 1
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import checked_pair, distances
from .intervals import LeftOut, jackknife, two_sample_u_statistic

_BANDWIDTHS = 6  # halving from 2σ₀: the median alone is blind to structure finer than the whole cloud
_LARGEST = 2.0
_MEDIAN_OF = 1_000  # real examples, evenly spaced, whose pairs give the median
_CHUNK = 128  # rows: the block stays in the processor's cache


def mmd(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """The unbiased estimate of the *squared* MMD; lower is better, and it may be negative.

    Bandwidths come from the real features alone, so that scores against one reference compare. The interval is the
    delete-one jackknife's, at these bandwidths.

    References: Gretton et al., JMLR 13 (2012), 723-773, equation 3; sums of kernels as in Li et al.,
        arXiv:1705.08584.
    """
    return jackknife(squared_mmd(generated_features, real_features))


def squared_mmd(generated: Tensor, real: Tensor, *, chunk: int = _CHUNK) -> LeftOut:
    """The estimate, and what it is without each example.

    `chunk` rows of the kernel matrices are held at a time; but for round-off the result does not depend on it.
    """
    x, y = checked_pair(generated, real, at_least=2)
    scale = median_distance(y)
    across_x, across_y = torch.zeros(len(x), dtype=x.dtype), torch.zeros(len(y), dtype=y.dtype)
    for start in range(0, len(x), chunk):
        kernel = _kernel(x[start : start + chunk], y, scale)
        across_x[start : start + chunk] = kernel.sum(1)
        across_y += kernel.sum(0)
    within_x, within_y = (_sums_of_pairs(z, scale, chunk) for z in (x, y))
    return two_sample_u_statistic(within_x, within_y, across_x, across_y)


def median_distance(y: Tensor) -> float:
    """σ₀: the median of the distances between real examples that are not equal."""
    picked = torch.linspace(0, len(y) - 1, min(len(y), _MEDIAN_OF)).round().long()
    gaps = torch.pdist(y[picked])
    gaps = gaps[gaps > 0]
    if not len(gaps):
        raise UndefinedError(f"{len(picked)} real features, evenly spaced, are all equal")
    return float(gaps.median())


def _sums_of_pairs(z: Tensor, scale: float, chunk: int) -> Tensor:
    """Σ_{j≠i} k(z_i, z_j), (n,); each pair is computed once but within the blocks on the diagonal."""
    sums = torch.zeros(len(z), dtype=z.dtype)
    for start in range(0, len(z), chunk):
        rows, rest = z[start : start + chunk], z[start + chunk :]
        sums[start : start + chunk] += _kernel(rows, rows, scale).sum(1) - 1  # k(z_i, z_i) = 1
        if len(rest):
            kernel = _kernel(rows, rest, scale)
            sums[start : start + chunk] += kernel.sum(1)
            sums[start + chunk :] += kernel.sum(0)
    return sums


def _kernel(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """k(a_i, b_j), (n, m)."""
    power = torch.exp(distances(a, b).square_().div_(-2 * (_LARGEST * scale) ** 2))
    total = power.clone()
    for _ in range(_BANDWIDTHS - 1):
        total += power.square_().square_()  # half the bandwidth: the fourth power
    return total.div_(_BANDWIDTHS)
