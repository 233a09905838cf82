"""Alignment of samples with their conditions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import NORMAL_95, MetricValue, UndefinedError
from .means import mean_interval

CLIP_SCORE_WEIGHT = 2.5  # w of Hessel et al.
_CANDIDATES = 100  # texts among which the own one is found; arXiv:1711.10485, section 4
_ROWS = 1_000  # samples at a time


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


def text_accuracy(sample_embeddings: Tensor, asked_embeddings: Tensor, asked_meanings: Tensor) -> MetricValue:
    """How often a sample lies closer to its own text than to 99 others that were asked for; higher is better.

    sample_embeddings, asked_embeddings: (n, e), of samples and of their texts, from one image-text evaluator.
    asked_meanings: (n, f), rows that are equal where texts say the same; such texts are no others.

    The mean over samples of the probability that no text of a draw without repeats beats the own one: with m others of
    which w do not beat it, C(w, 99) / C(m, 99), so that nothing is drawn; all others where there are fewer. A text that
    ties with the own one beats it. The 95% interval is normal, from the standard error over samples.

    References: Xu et al., arXiv:1711.10485, section 4 (R-precision).
    """
    n = len(sample_embeddings)
    if sample_embeddings.ndim != 2 or sample_embeddings.shape != asked_embeddings.shape or len(asked_meanings) != n:
        raise ValueError(
            f"embeddings of shapes {tuple(sample_embeddings.shape)} and {tuple(asked_embeddings.shape)} and "
            f"{len(asked_meanings)} meanings; wanted (n, e) of both and n"
        )
    _, meaning = asked_meanings.unique(dim=0, return_inverse=True)
    shares = []
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        cosines = sample_embeddings[rows] @ asked_embeddings.T
        own = (sample_embeddings[rows] * asked_embeddings[rows]).sum(1, keepdim=True)
        other = meaning[rows, None] != meaning
        worse = (other & (cosines < own)).sum(1).double()
        shares.append(_none_drawn(worse, other.sum(1).double()))
    found = torch.cat(shares) if shares else torch.empty(0)
    found = found[found.isfinite()]
    if not len(found):
        raise UndefinedError("needs texts of at least 2 meanings")
    return mean_interval(found)


def _none_drawn(worse: Tensor, others: Tensor) -> Tensor:
    """The probability that all of min(99, others) texts drawn without repeats are among the worse ones; NaN of none."""
    drawn = others.clamp(max=_CANDIDATES - 1)
    log_share = worse.add(1).lgamma() - (worse - drawn).clamp(min=0).add(1).lgamma()
    log_share = log_share - others.add(1).lgamma() + (others - drawn).add(1).lgamma()
    share = torch.where(worse >= drawn, log_share.exp(), 0.0)
    return torch.where(others > 0, share, torch.nan)


def wilson_interval(hits: float, n: float, z: float = NORMAL_95) -> tuple[float, float]:
    """Where |p̂ - p| = z √(p(1-p)/n): the score interval of a share of `hits` in `n`.

    References: Wilson, doi:10.1080/01621459.1927.10502953.
    """
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # At no hits and at all hits the bound is 0 or 1 itself, which round-off would miss.
    return (0.0 if hits == 0 else centre - margin), (1.0 if hits == n else centre + margin)
