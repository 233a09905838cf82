"""Fairness between classes: bias amplification and uneven coverage."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import checked_pair, distances
from .manifold import NEIGHBOURS

_FEWEST_OF_CLASS = 5  # real examples that a class must have for a recall of its own
_CHUNK = 1_024


def class_frequency_gap(generated_probabilities: Tensor, real_labels: Tensor) -> MetricValue:
    """½ Σ_c |q(c) - p(c)|, the total variation distance between class frequencies; lower is better.

    q are the frequencies of the evaluator's most probable classes of the samples, p those of the real labels. Of
    samples drawn without conditions it is the model's own bias; with conditions as frequent as in the train split, what
    the model makes of them. It is biased upwards at small n. Undefined where the real labels are of one class.

    References: Zhao et al., arXiv:1707.09457 (bias amplification); Choi et al., arXiv:1910.12008 (fair
        generators).
    """
    if generated_probabilities.ndim != 2 or real_labels.ndim != 1:
        raise ValueError(
            f"probabilities of shape {tuple(generated_probabilities.shape)} and labels of shape "
            f"{tuple(real_labels.shape)}; wanted (n, classes) and (m,)"
        )
    n, classes = generated_probabilities.shape
    if n < 1 or len(real_labels) < 1:
        raise UndefinedError(f"needs at least 1 sample of either side, got {min(n, len(real_labels))}")
    if not generated_probabilities.isfinite().all():
        raise UndefinedError("probabilities are not finite")
    labels = _checked(real_labels, classes)
    predicted = generated_probabilities.detach().cpu().argmax(dim=1)
    q, p = (torch.bincount(c, minlength=classes).double() / len(c) for c in (predicted, labels))  # (classes,)
    return MetricValue(0.5 * float((q - p).abs().sum()))


def class_recall_gap(generated_features: Tensor, real_features: Tensor, real_labels: Tensor) -> MetricValue:
    """max_c r(c) - min_c r(c), with r(c) the share of the real examples of class c that have a sample in their
    neighbourhood, the ball that reaches to the fifth neighbour among all real examples; lower is better.

    So `coverage` is the mean of r(c), weighted by frequency. The balls are the real examples' own, unlike those of
    `recall`: where samples collapse those shrink to points, no class is recalled, and the gap would be 0. Biased
    upwards at small counts: the floor shows by how much. Classes with fewer than 5 real examples are left out;
    undefined where fewer than 2 remain.

    References: Naeem et al., arXiv:2002.09797, section 3 (coverage); Hashimoto et al., arXiv:1806.08010 (the worst-off
        group as the measure).
    """
    recalls = recall_by_class(generated_features, real_features, real_labels)
    if len(recalls) < 2:
        raise UndefinedError(f"needs at least 2 classes with {_FEWEST_OF_CLASS} real examples, got {len(recalls)}")
    return MetricValue(max(recalls.values()) - min(recalls.values()))


def recall_by_class(
    generated: Tensor, real: Tensor, labels: Tensor, *, fewest: int = _FEWEST_OF_CLASS, chunk: int = _CHUNK
) -> dict[int, float]:
    """r(c) of every class with at least `fewest` real examples; the result does not depend on `chunk`.

    As with coverage, r(c) grows with the number of samples: ValueError where the counts differ.
    """
    x, y = checked_pair(generated, real, at_least=NEIGHBOURS + 1)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} generated and {len(y)} real examples; wanted equal counts")
    if labels.shape != y.shape[:1]:
        raise ValueError(f"{len(y)} real features and labels of shape {tuple(labels.shape)}; wanted ({len(y)},)")
    labels = _checked(labels)
    covered = []
    for rows in y.split(chunk):
        radius = distances(rows, y).kthvalue(NEIGHBOURS + 1, dim=1).values  # (c,); the first neighbour is itself
        gap = distances(rows, x).amin(dim=1)
        covered.append((gap < radius) | (gap == 0))
    found = torch.cat(covered)  # (n,)
    return {
        int(label): float(found[labels == label].double().mean())
        for label in labels.unique()
        if int((labels == label).sum()) >= fewest
    }


def _checked(labels: Tensor, classes: int | None = None) -> Tensor:
    labels = labels.detach().to("cpu", torch.int64)
    if int(labels.min()) < 0 or (classes is not None and int(labels.max()) >= classes):
        wanted = "0 or more" if classes is None else f"0 to {classes - 1}"
        raise ValueError(f"labels from {int(labels.min())} to {int(labels.max())}; wanted {wanted}")
    if len(labels.unique()) < 2:
        raise UndefinedError("the real labels are of one class")
    return labels
