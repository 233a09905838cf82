"""Scores under corrupted conditions.

A label that is replaced asks for another class, and a good model obeys: its samples then fit the original labels no
more often than the corruption left them. Corrupted labels are therefore for *training*: a model trained under label
noise is sampled with clean labels. Corrupted images are for either: their content survives in part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import MetricValue, UndefinedError
from .means import paired_ratio_interval


def condition_robustness(
    generated_probabilities: Tensor, corrupted_probabilities: Tensor, conditions: Tensor
) -> MetricValue:
    """The share of its condition accuracy that a model keeps under corruption; higher is better.

    generated_probabilities: (n, classes), the evaluator's, of samples without corruption.
    corrupted_probabilities: (n, classes), of samples for the same conditions by the model trained under label noise,
        or conditioned on corrupted images.
    conditions: (n,) the uncorrupted labels.

    The 95% interval covers the samples.

    References: Thekumparampil et al., arXiv:1811.03205, section 5 (generator label accuracy).
    """
    clean, corrupted = (
        _hits(probabilities, conditions) for probabilities in (generated_probabilities, corrupted_probabilities)
    )
    if not clean.any():
        raise UndefinedError("no sample without corruption is what was asked for")
    return paired_ratio_interval(corrupted, clean)


def corrupt_labels(conditions: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """Labels (n,) of which round(share·n), chosen by seed, are replaced by other classes, uniformly."""
    _require_share(share)
    if conditions.ndim != 1 or conditions.is_floating_point():
        raise ValueError(f"conditions of shape {tuple(conditions.shape)}, {conditions.dtype}; wanted labels (n,)")
    if classes < 2:
        raise ValueError(f"labels of {classes} classes cannot be replaced")
    if len(conditions) and not 0 <= int(conditions.min()) <= int(conditions.max()) < classes:
        raise ValueError(f"labels from {int(conditions.min())} to {int(conditions.max())}; wanted 0 to {classes - 1}")
    generator = torch.Generator().manual_seed(seed)
    n = len(conditions)
    chosen = torch.randperm(n, generator=generator)[: round(share * n)].to(conditions.device)
    shifts = torch.randint(1, classes, (len(chosen),), generator=generator).to(conditions.device)
    corrupted = conditions.clone()
    corrupted[chosen] = (corrupted[chosen] + shifts.to(corrupted.dtype)) % classes
    return corrupted


def corrupt_images(conditions: Tensor, share: float, seed: int) -> Tensor:
    """Images (n, C, H, W) in [-1, 1] whose pixels, all channels together, become grey (0) with probability `share`."""
    _require_share(share)
    if conditions.ndim != 4:
        raise ValueError(f"conditions of shape {tuple(conditions.shape)}; wanted images (n, C, H, W)")
    n, _, height, width = conditions.shape
    draws = torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return conditions.masked_fill((draws < share).to(conditions.device), 0.0)


def _require_share(share: float) -> None:
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share of {share}; wanted 0 to 1")


def _hits(probabilities: Tensor, conditions: Tensor) -> Tensor:
    """(n,) bool: the most probable class is the one that was asked for."""
    if probabilities.ndim != 2 or conditions.shape != probabilities.shape[:1]:
        raise ValueError(
            f"probabilities of shape {tuple(probabilities.shape)} and conditions of shape {tuple(conditions.shape)}; "
            "wanted (n, classes) and (n,)"
        )
    if probabilities.shape[1] < 2:
        raise UndefinedError("needs at least 2 classes")
    if not len(conditions):
        raise UndefinedError("needs at least 1 sample, got 0")
    if not probabilities.isfinite().all():
        raise UndefinedError("probabilities are not finite")
    return probabilities.detach().cpu().argmax(dim=1) == conditions.detach().to("cpu", torch.int64)
