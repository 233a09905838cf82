"""Checks and subsampling that the metrics on features share."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .base import UndefinedError

_Result = TypeVar("_Result")


def once_for_pair(function: Callable[[Tensor, Tensor], _Result]) -> Callable[[Tensor, Tensor], _Result]:
    """The same function, which remembers its result as long as the first tensor lives.

    Several metrics look at the neighbours of the same features. Nobody changes features in place.
    """
    known: WeakIdKeyDictionary = WeakIdKeyDictionary()  # first tensor -> the second, weakly, and the result

    @wraps(function)
    def remembering(a: Tensor, b: Tensor) -> _Result:
        other, result = known.get(a, (None, None))
        if other is None or other() is not b:
            result = function(a, b)
            known[a] = weakref.ref(b), result
        return result

    return remembering


def subset(n: int, size: int, seed: int) -> Tensor:
    """Sorted indices (size,) of a random subset of 0...n-1 without replacement."""
    if size > n:
        raise ValueError(f"a subset of {size} was asked for, of {n}")
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(n, generator=generator)[:size].sort().values


def equal_counts(a: Tensor, b: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Both with as many rows as the smaller one has: the larger is subsampled by seed, its order kept.

    Coverage and, through its bias, FID depend on the counts of both sides.
    """
    size = min(len(a), len(b))
    a, b = (x if len(x) == size else x[subset(len(x), size, seed).to(x.device)] for x in (a, b))
    return a, b


def checked_pair(generated: Tensor, real: Tensor, *, at_least: int) -> tuple[Tensor, Tensor]:
    """Both as float64 (n, d) on the CPU.

    Raises ValueError for wrong shapes, UndefinedError for too few rows, for values that are not finite, and
    where all real rows are equal, so that there is no scale to measure by.
    """
    if generated.ndim != 2 or real.ndim != 2 or generated.shape[1] != real.shape[1]:
        raise ValueError(
            f"features of shapes {tuple(generated.shape)} and {tuple(real.shape)}; wanted (n, d) and (m, d)"
        )
    fewest = min(len(generated), len(real))
    if fewest < at_least:
        raise UndefinedError(f"needs at least {at_least} samples of either side, got {fewest}")
    generated, real = (x.detach().to("cpu", torch.float64) for x in (generated, real))
    if not (generated.isfinite().all() and real.isfinite().all()):
        raise UndefinedError("features are not finite")
    if (real == real[0]).all():
        raise UndefinedError("all real features are equal")
    return generated, real


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (n, m) between rows.

    Computed from differences: the usual expansion of the square leaves equal rows a little apart and depends
    on how the rows are cut into chunks.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
