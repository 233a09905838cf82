"""Maximum mean discrepancy with Gaussian kernels.

Glossary:
    X generated features (n, d);  Y real features (m, d)
    σ₀ median distance between different real features;  σ_b = 2^b σ₀ for b = -4...1
    k(x, y) = mean over b of exp(-|x - y|² / 2σ_b²), so that k(x, x) = 1
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import checked_pair, distances

_BANDWIDTHS = 6  # halving from 2σ₀: the median alone is blind to structure finer than the whole cloud
_LARGEST = 2.0
_MEDIAN_OF = 1_000  # real examples, evenly spaced, whose pairs give the median
_CHUNK = 128  # rows: the block stays in the processor's cache


def mmd(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """The unbiased estimate of the *squared* MMD; lower is better, and it may be negative.

    Bandwidths come from the real features alone, so that scores against one reference compare.

    References: Gretton et al., JMLR 13 (2012), 723-773, equation 3; sums of kernels as in Li et al.,
        arXiv:1705.08584.
    """
    return MetricValue(squared_mmd(generated_features, real_features))


def squared_mmd(generated: Tensor, real: Tensor, *, chunk: int = _CHUNK) -> float:
    """`chunk` rows of the kernel matrices are held at a time; but for round-off the result does not depend on it."""
    x, y = checked_pair(generated, real, at_least=2)
    scale = median_distance(y)
    across = math.fsum(_kernel_sum(rows, y, scale) for rows in x.split(chunk))
    within_x, within_y = (_mean_of_pairs(z, scale, chunk) for z in (x, y))
    return within_x + within_y - 2 * across / (len(x) * len(y))


def median_distance(y: Tensor) -> float:
    """σ₀: the median of the distances between real examples that are not equal."""
    picked = torch.linspace(0, len(y) - 1, min(len(y), _MEDIAN_OF)).round().long()
    gaps = torch.pdist(y[picked])
    gaps = gaps[gaps > 0]
    if not len(gaps):
        raise UndefinedError(f"{len(picked)} real features, evenly spaced, are all equal")
    return float(gaps.median())


def _mean_of_pairs(z: Tensor, scale: float, chunk: int) -> float:
    """Mean of k(z_i, z_j) over i ≠ j; each pair is computed once but within the blocks on the diagonal."""
    n = len(z)
    sums = []
    for start in range(0, n, chunk):
        rows = z[start : start + chunk]
        sums += [_kernel_sum(rows, rows, scale) - len(rows), 2 * _kernel_sum(rows, z[start + chunk :], scale)]
    return math.fsum(sums) / (n * (n - 1))


def _kernel_sum(a: Tensor, b: Tensor, scale: float) -> float:
    """Σ k(a_i, b_j) over all i, j."""
    kernel = torch.exp(distances(a, b).square_().div_(-2 * (_LARGEST * scale) ** 2))  # (n, m)
    total = float(kernel.sum())
    for _ in range(_BANDWIDTHS - 1):
        kernel = kernel.square_().square_()  # half the bandwidth: the fourth power
        total += float(kernel.sum())
    return total / _BANDWIDTHS
