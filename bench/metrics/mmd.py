"""Maximum mean discrepancy with Gaussian kernels.

Glossary:
    X generated features (n, d);  Y real features (m, d)
    σ₀ median distance between different real features;  σ_b = 2^b σ₀ for b = -4...1
    k(x, y) = mean over b of exp(-|x - y|² / 2σ_b²), so that k(x, x) = 1
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import checked_pair
from .intervals import LeftOut, jackknife
from .kernel_sums import squared_distance

_BANDWIDTHS = 6  # halving from 2σ₀: the median alone is blind to structure finer than the whole cloud
_LARGEST = 2.0
_MEDIAN_OF = 1_000  # real examples, evenly spaced, whose pairs give the median


def mmd(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """The unbiased estimate of the *squared* MMD; lower is better, and it may be negative.

    Bandwidths come from the real features alone, so that scores against one reference compare. The interval is the
    delete-one jackknife's, at these bandwidths.

    References: Gretton et al., JMLR 13 (2012), 723-773, equation 3; sums of kernels as in Li et al.,
        arXiv:1705.08584.
    """
    return jackknife(squared_mmd(generated_features, real_features))


def squared_mmd(generated: Tensor, real: Tensor) -> LeftOut:
    """The estimate, and what it is without each example."""
    x, y = checked_pair(generated, real, at_least=2)
    centre = y.mean(0)  # far from the origin, squares would lose the distances between points
    return squared_distance(x - centre, y - centre, partial(_kernel, scale=median_distance(y)))


def median_distance(y: Tensor) -> float:
    """σ₀: the median of the distances between real examples that are not equal."""
    picked = torch.linspace(0, len(y) - 1, min(len(y), _MEDIAN_OF)).round().long()
    gaps = torch.pdist(y[picked])
    gaps = gaps[gaps > 0]
    if not len(gaps):
        raise UndefinedError(f"{len(picked)} real features, evenly spaced, are all equal")
    return float(gaps.median())


def _kernel(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """k(a_i, b_j), (n, m)."""
    # Distances by matrix products: their round-off is nothing to a smooth kernel, and they are many times quicker.
    squares = torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True)).clamp_min_(0)
    power = torch.exp(squares.div_(-2 * (_LARGEST * scale) ** 2))
    total = power.clone()
    for _ in range(_BANDWIDTHS - 1):
        total += power.square_().square_()  # half the bandwidth: the fourth power
    return total.div_(_BANDWIDTHS)
