"""Density and coverage.

Glossary:
    x_j  generated features, j = 1...n;  y_i  real features, i = 1...n
    r_i  distance from y_i to its k-th nearest neighbour among the other real ones
    B_i  the open ball of radius r_i around y_i, its centre always included

The centre counts even where r_i = 0 (more than k equal real examples), where a plain `<` would leave the ball
empty. The boundary does not, so that a copy of the real set scores a density of exactly 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import MetricValue
from .features import checked_pair, distances

NEIGHBOURS = 5  # k, as in Naeem et al.
_CHUNK = 1_024


@dataclass(frozen=True)
class DensityCoverage:
    density: float
    coverage: float


def density(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """(1/kn) Σ_j Σ_i 1[x_j in B_i]: expected to be 1 for equal laws; it may exceed 1. Higher is better.

    Raises ValueError where the two counts differ.

    References: Naeem et al., arXiv:2002.09797, section 3.
    """
    return MetricValue(density_and_coverage(generated_features, real_features).density)


def coverage(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """(1/n) Σ_i 1[some x_j in B_i]. Higher is better.

    For equal laws and counts about 1 - 2^-k is expected, .969 at k = 5; the expectation depends on the ratio of
    the counts, so ValueError is raised where they differ (`features.equal_counts` makes them equal).

    References: Naeem et al., arXiv:2002.09797, section 3.
    """
    return MetricValue(density_and_coverage(generated_features, real_features).coverage)


def density_and_coverage(
    generated: Tensor, real: Tensor, *, k: int = NEIGHBOURS, chunk: int = _CHUNK
) -> DensityCoverage:
    """Both from one pass over the real examples, `chunk` of them at a time; the result does not depend on it."""
    x, y = checked_pair(generated, real, at_least=k + 1)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} generated and {len(y)} real examples; wanted equal counts")
    inside_balls, covered = 0, 0
    for rows in y.split(chunk):
        radius = distances(rows, y).kthvalue(k + 1, dim=1, keepdim=True).values  # (c, 1); the first is itself
        gap = distances(rows, x)  # (c, n)
        inside = (gap < radius) | (gap == 0)
        inside_balls += int(inside.sum())
        covered += int(torch.count_nonzero(inside.any(dim=1)))
    return DensityCoverage(inside_balls / (k * len(x)), covered / len(y))
