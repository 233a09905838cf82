"""Balls around examples that reach to a neighbour, and what they hold when an example is left out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .features import distances

_CHUNK = 1_024


@dataclass(frozen=True)
class Radii:
    """Balls around n centres.

    radius: (n,) distance to the k-th nearest other centre.
    grown: (n,) what the radius becomes when one of those k is left out; infinite where there is no further centre.
    bounds: (n, k) which centres the k are.
    """

    radius: Tensor
    grown: Tensor
    bounds: Tensor

    def of_bounds(self, values: Tensor) -> Tensor:
        """(n,): for each centre the sum of `values` (n,), int64, over the balls that it bounds."""
        spread = values[:, None].expand_as(self.bounds)
        return torch.zeros_like(values).index_add_(0, self.bounds.flatten(), spread.flatten())


@dataclass(frozen=True)
class Support:
    """The share of points that some ball holds; without_point (n,), without_ball (m,): the share without each one."""

    share: float
    without_point: Tensor
    without_ball: Tensor


def radii(centres: Tensor, k: int, *, chunk: int = _CHUNK) -> Radii:
    """The balls around centres (n, d), n > k."""
    n = len(centres)
    wanted = min(k + 1, n - 1)
    parts = []
    for start in range(0, n, chunk):
        gap = distances(centres[start : start + chunk], centres)
        gap.diagonal(start).fill_(torch.inf)  # not its own neighbour; equal examples are neighbours at zero
        parts.append(gap.topk(wanted, dim=1, largest=False))
    nearest = torch.cat([part.values for part in parts])  # (n, wanted) in rising order
    bounds = torch.cat([part.indices for part in parts])[:, :k]
    grown = nearest[:, k] if wanted > k else torch.full((n,), torch.inf, dtype=nearest.dtype)
    return Radii(nearest[:, k - 1], grown, bounds)


def support(points: Tensor, centres: Tensor, k: int, *, chunk: int = _CHUNK) -> Support:
    """Which points (n, d) lie in a closed ball around one of the centres (m, d), m > k.

    References: Kynkäänniemi et al., arXiv:1904.06991, equation 1.
    """
    n, m = len(points), len(centres)
    balls = radii(centres, k, chunk=chunk)
    holders = torch.zeros(n, dtype=torch.int64)  # how many balls hold each point
    holder = torch.zeros(n, dtype=torch.int64)  # which one, where it is one: the sum of the indices
    shells = []  # (c, n) points that a ball would hold if it grew
    for start in range(0, m, chunk):
        rows = slice(start, start + chunk)
        gap = distances(centres[rows], points)  # (c, n)
        inside = gap <= balls.radius[rows, None]
        shells.append((gap <= balls.grown[rows, None]) & ~inside)
        holders += inside.sum(0)
        holder += (inside * torch.arange(start, start + len(gap))[:, None]).sum(0)
    held = holders > 0
    total = int(held.sum())
    # Without a centre its ball is gone, and the balls that it bounded grow: only points in at most one ball can change.
    few = torch.nonzero(holders <= 1).flatten()
    ball, position = torch.nonzero(torch.cat(shells)[:, few], as_tuple=True)
    reached = torch.unique(balls.bounds[ball] * n + few[position][:, None])  # centre · n + point, each pair once
    newly = reached[~held[reached % n]] // n
    single = torch.nonzero(holders == 1).flatten()
    lost = holder[single][~torch.isin(holder[single] * n + single, reached)]
    change = torch.bincount(newly, minlength=m) - torch.bincount(lost, minlength=m)
    without_point = (total - held.long()).double() / max(1, n - 1)
    return Support(total / n, without_point, (total + change).double() / n)
