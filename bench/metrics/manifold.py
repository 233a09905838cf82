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
from .features import checked_pair, distances, once_for_pair
from .intervals import LeftOut, jackknife, jackknife_share
from .support import radii

NEIGHBOURS = 5  # k, as in Naeem et al.
_CHUNK = 1_024


@dataclass(frozen=True)
class DensityCoverage:
    density: LeftOut
    coverage: LeftOut


def density(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """(1/kn) Σ_j Σ_i 1[x_j in B_i]: expected to be 1 for equal laws; it may exceed 1. Higher is better.

    Raises ValueError where the two counts differ. The interval is the delete-one jackknife's.

    References: Naeem et al., arXiv:2002.09797, section 3.
    """
    return jackknife(_both(generated_features, real_features).density, lowest=0.0)


def coverage(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """(1/n) Σ_i 1[some x_j in B_i]. Higher is better.

    For equal laws and counts about 1 - 2^-k is expected, .969 at k = 5; the expectation depends on the ratio of
    the counts, so ValueError is raised where they differ (`features.equal_counts` makes them equal). The interval is
    the delete-one jackknife's.

    References: Naeem et al., arXiv:2002.09797, section 3.
    """
    return jackknife_share(_both(generated_features, real_features).coverage, len(real_features))


def density_and_coverage(
    generated: Tensor, real: Tensor, *, k: int = NEIGHBOURS, chunk: int = _CHUNK
) -> DensityCoverage:
    """Both, with and without each example, from one pass over the real ones, `chunk` of them at a time.

    The result does not depend on `chunk`.
    """
    x, y = checked_pair(generated, real, at_least=k + 1)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} generated and {len(y)} real examples; wanted equal counts")
    n = len(x)
    balls = radii(y, k, chunk=chunk)
    held, held_when_grown, only = (torch.zeros(n, dtype=torch.int64) for _ in range(3))  # of each ball
    balls_of = torch.zeros(n, dtype=torch.int64)  # how many balls hold each x_j
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        gap = distances(y[rows], x)  # (c, n)
        inside = (gap < balls.radius[rows, None]) | (gap == 0)
        held[rows], balls_of = inside.sum(1), balls_of + inside.sum(0)
        held_when_grown[rows] = ((gap < balls.grown[rows, None]) | (gap == 0)).sum(1)
        only[rows] = inside.int().argmax(1)  # the sample held, where it is one
    total, covered = int(held.sum()), held > 0
    # Without y_i its ball is gone, and the balls that it bounded grow.
    total_without = total - held + balls.of_bounds(held_when_grown - held)
    covered_without = covered.sum() - covered.long() + balls.of_bounds((held_when_grown > 0).long() - covered.long())
    alone = torch.bincount(only[held == 1], minlength=n)  # balls that x_j alone is in
    return DensityCoverage(
        LeftOut(total / (k * n), (total - balls_of).double() / (k * (n - 1)), total_without.double() / (k * n)),
        LeftOut(int(covered.sum()) / n, (covered.sum() - alone).double() / n, covered_without.double() / (n - 1)),
    )


@once_for_pair
def _both(generated: Tensor, real: Tensor) -> DensityCoverage:
    return density_and_coverage(generated, real)
