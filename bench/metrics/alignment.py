"""Alignment of samples with their conditions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import NORMAL_95, MetricValue, UndefinedError
from .means import mean_interval

CLIP_SCORE_WEIGHT = 2.5  # w of Hessel et al.


def condition_accuracy(generated_probabilities: Tensor, conditions: Tensor) -> MetricValue:
    """Share of samples whose most probable class is the label that they were asked for; higher is better.

    The 95% interval is Wilson's.

    References: Shmelkov et al., arXiv:1807.09499 (GAN-test); Wilson,
        doi:10.1080/01621459.1927.10502953.
    """
    if generated_probabilities.ndim != 2 or conditions.shape != generated_probabilities.shape[:1]:
        raise ValueError(
            f"probabilities of shape {tuple(generated_probabilities.shape)} and conditions of shape "
            f"{tuple(conditions.shape)}; wanted (n, classes) and (n,)"
        )
    n, classes = generated_probabilities.shape
    if classes < 2:
        raise UndefinedError("needs at least 2 classes")
    if n < 1:
        raise UndefinedError("needs at least 1 sample, got 0")
    if not generated_probabilities.isfinite().all():
        raise UndefinedError("probabilities are not finite")
    asked = conditions.detach().to("cpu", torch.int64)
    if int(asked.min()) < 0 or int(asked.max()) >= classes:
        raise ValueError(f"conditions from {int(asked.min())} to {int(asked.max())}; wanted 0 to {classes - 1}")
    hits = int((generated_probabilities.detach().cpu().argmax(dim=1) == asked).sum())
    low, high = wilson_interval(hits, n)
    return MetricValue(hits / n, low, high)


def clip_score(image_embeddings: Tensor, text_embeddings: Tensor) -> MetricValue:
    """The mean over pairs of w·max(cos(image, text), 0), w = 2.5, from 0 to 2.5; higher is better.

    Embeddings (n, e) of images and of the texts that they were asked for, from one CLIP model; row i belongs to row i.
    The paper embeds "A photo depicts" and then the text. Figures of different CLIP models do not compare. (Some tools
    report 100·max(cos, 0): 40 times this figure.) The 95% interval is normal, from the standard error over pairs.

    References: Hessel et al., arXiv:2104.08718, section 3.
    """
    if image_embeddings.ndim != 2 or image_embeddings.shape != text_embeddings.shape:
        raise ValueError(
            f"embeddings of shapes {tuple(image_embeddings.shape)} and {tuple(text_embeddings.shape)}; "
            "wanted (n, e) of both"
        )
    if not len(image_embeddings):
        raise UndefinedError("needs at least 1 pair, got 0")
    image, text = (x.detach().to("cpu", torch.float64) for x in (image_embeddings, text_embeddings))
    if not (image.isfinite().all() and text.isfinite().all()):
        raise UndefinedError("embeddings are not finite")
    lengths = image.norm(dim=1), text.norm(dim=1)
    if not (lengths[0].all() and lengths[1].all()):
        raise UndefinedError("an embedding is zero, so it has no direction")
    cosine = (image * text).sum(dim=1) / (lengths[0] * lengths[1])  # (n,)
    return mean_interval(CLIP_SCORE_WEIGHT * cosine.clamp_min(0.0))


def wilson_interval(hits: float, n: float, z: float = NORMAL_95) -> tuple[float, float]:
    """Where |p̂ - p| = z √(p(1-p)/n): the score interval of a share of `hits` in `n`.

    References: Wilson, doi:10.1080/01621459.1927.10502953.
    """
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # At no hits and at all hits the bound is 0 or 1 itself, which round-off would miss.
    return (0.0 if hits == 0 else centre - margin), (1.0 if hits == n else centre + margin)
