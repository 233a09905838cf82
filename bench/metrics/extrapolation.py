"""FID extrapolated to infinitely many samples.

Glossary:
    n, m  samples and real examples;  d  their dimensions
    F̄(k)  mean FID between the k-th parts of both sides, n/k samples against m/k real examples;  k = 1 ... K
    F̄(k) ≈ F∞ + b k, fitted by least squares: the biases of both sides, of order k/n and k/m, grow together
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import checked_pair
from .frechet import frechet
from .intervals import LEAST, normal_interval, variance_of_influence

_MOST_PARTS = 5  # K
_SAMPLES_PER_DIMENSION = 2  # in the smallest part: with fewer, FID is no longer straight in 1/s


def fd_infinity(generated_features: Tensor, real_features: Tensor, seed: int) -> MetricValue:
    """F∞, the FID that is left when the bias of order 1/n is taken off; lower is better, and it may be negative.

    Both sides, shuffled by seed, are cut into 1 to 5 disjoint parts, as far as a part keeps two of either side for each
    dimension; the FIDs of parts are averaged. Both sides are cut, so that the biases of both are taken off, whatever
    their counts: the paper draws its real statistics from one large set. The interval is the infinitesimal jackknife's
    of the whole fit: the fit's own residuals share their samples and would make it too narrow.

    References: Chong & Forsyth, arXiv:1911.07023, section 3.
    """
    x, y = checked_pair(generated_features, real_features, at_least=2)
    sides, d = (x, y), x.shape[1]
    fewest = min(len(x), len(y))
    least_part = max(LEAST, _SAMPLES_PER_DIMENSION * d)
    parts = [k for k in range(1, _MOST_PARTS + 1) if fewest // k >= least_part]
    if len(parts) < 2:
        raise UndefinedError(f"needs at least {2 * least_part} samples of either side in {d} dimensions, got {fewest}")
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(z), generator=generator) for z in sides]
    # k itself, but for the examples that are left over: it stands for the size of the parts.
    inverse_size = torch.tensor([1 / (fewest // k) for k in parts], dtype=torch.float64)
    weights = _weights_at_zero(inverse_size)
    value = 0.0
    influence = [torch.zeros(len(z), dtype=torch.float64) for z in sides]
    for weight, k in zip(weights.tolist(), parts, strict=True):
        for number in range(k):
            rows = [order[number * (len(order) // k) :][: len(order) // k] for order in orders]
            part = frechet(x[rows[0]], y[rows[1]])
            value += weight * part.value / k
            for side, psi in enumerate((part.of_generated, part.of_real)):
                # An example's weight in its own part is n / size times that in the whole; the part counts for 1/k.
                influence[side][rows[side]] += weight * psi * len(sides[side]) / (len(psi) * k)
    return normal_interval(value, variance_of_influence(*influence), variance_of_influence(influence[0]))


def _weights_at_zero(inverse_size: Tensor) -> Tensor:
    """w with Σ w_i F_i the intercept of the least-squares line through (1/s_i, F_i)."""
    design = torch.stack([torch.ones_like(inverse_size), inverse_size], dim=1)  # (sizes, 2)
    return torch.linalg.pinv(design)[0]
