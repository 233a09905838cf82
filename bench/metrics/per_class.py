"""Metrics of conditional samples, class by class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import equal_counts


@dataclass(frozen=True)
class PerClass:
    """A metric's figure for each label, and for labels without one the reason."""

    values: dict[int, MetricValue]
    undefined: dict[int, str]


def per_class(
    metric: Callable[[Tensor, Tensor], MetricValue],
    generated_features: Tensor,
    real_features: Tensor,
    conditions: Tensor,
    real_labels: Tensor,
    seed: int,
) -> PerClass:
    """`metric(generated, real)` of the samples asked for each label against the real examples of that label.

    The labels are those of the real examples. Within a label the larger side is subsampled by seed, so that counts
    are equal; figures of labels with different counts do not compare where a metric depends on them (FID,
    coverage).

    References: Ravuri & Vinyals, arXiv:1905.10887, section 4 (differences between classes that averages hide).
    """
    for name, features, labels in (
        ("generated", generated_features, conditions),
        ("real", real_features, real_labels),
    ):
        if labels.shape != features.shape[:1]:
            raise ValueError(f"{len(features)} {name} features and labels of shape {tuple(labels.shape)}; wanted (n,)")
    values: dict[int, MetricValue] = {}
    undefined: dict[int, str] = {}
    for label in torch.unique(real_labels).tolist():
        generated = generated_features[(conditions == label).to(generated_features.device)]
        real = real_features[(real_labels == label).to(real_features.device)]
        try:
            values[label] = metric(*equal_counts(generated, real, seed))
        except UndefinedError as reason:
            undefined[label] = str(reason)
    return PerClass(values, undefined)
