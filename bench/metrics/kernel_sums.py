"""The unbiased squared MMD of any kernel, a few rows of the kernel matrices at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .intervals import LeftOut, two_sample_u_statistic

Kernel = Callable[[Tensor, Tensor], Tensor]  # of rows (n, d) and (m, d): (n, m)

_BLOCK = 2**17  # kernel values at a time: a megabyte stays in the processor's cache


def squared_distance(x: Tensor, y: Tensor, kernel: Kernel) -> LeftOut:
    """The squared MMD between x (n, d) and y (m, d), and what it is without each example.

    kernel: symmetric. But for round-off the result does not depend on `_BLOCK`.
    """
    across_x, across_y = torch.zeros(len(x), dtype=x.dtype), torch.zeros(len(y), dtype=y.dtype)
    chunk = max(1, _BLOCK // len(y))
    for start in range(0, len(x), chunk):
        values = kernel(x[start : start + chunk], y)
        across_x[start : start + chunk] = values.sum(1)
        across_y += values.sum(0)
    return two_sample_u_statistic(_sums_of_pairs(x, kernel), _sums_of_pairs(y, kernel), across_x, across_y)


def _sums_of_pairs(z: Tensor, kernel: Kernel) -> Tensor:
    """Σ_{j≠i} k(z_i, z_j), (n,); each pair is computed once but within the blocks on the diagonal."""
    sums = torch.zeros(len(z), dtype=z.dtype)
    chunk = max(1, _BLOCK // len(z))
    for start in range(0, len(z), chunk):
        rows, rest = z[start : start + chunk], z[start + chunk :]
        sums[start : start + chunk] += kernel(rows, rows).fill_diagonal_(0.0).sum(1)
        if len(rest):
            values = kernel(rows, rest)
            sums[start : start + chunk] += values.sum(1)
            sums[start + chunk :] += values.sum(0)
    return sums
