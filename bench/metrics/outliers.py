"""Whether a model's typicality score tells outliers from inliers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import NORMAL_95, MetricValue, UndefinedError
from .means import require_vectors


def outlier_auroc(inlier_scores: Tensor, outlier_scores: Tensor) -> MetricValue:
    """P(inlier's score > outlier's score) + ½ P(equal), the area under the ROC curve; higher is better.

    Scores (n,), (m,): higher means more typical, such as a log-likelihood; they may be infinite. Below ½ outliers
    look more typical than inliers, as they do to many likelihoods. The 95% interval is normal in the logit, with
    DeLong's variance; there is none at 0 and at 1, where that variance vanishes.

    References: DeLong et al., doi:10.2307/2531595; on likelihoods, Nalisnick et al., arXiv:1810.09136.
    """
    inliers, outliers = require_vectors(inlier_scores=inlier_scores, outlier_scores=outlier_scores)
    n, m = len(inliers), len(outliers)
    if n < 1 or m < 1:
        raise UndefinedError(f"needs scores of inliers and of outliers, got {n} and {m}")
    if inliers.isnan().any() or outliers.isnan().any():
        raise UndefinedError("scores are not numbers")
    by_inlier = _share_below(inliers, outliers)  # (n,)
    area = float(by_inlier.mean())
    if n < 2 or m < 2 or not 0.0 < area < 1.0:
        return MetricValue(area)
    by_outlier = 1.0 - _share_below(outliers, inliers)  # (m,)
    deviation = math.sqrt(float(by_inlier.var()) / n + float(by_outlier.var()) / m)
    if deviation == 0.0:
        return MetricValue(area)
    logit, margin = math.log(area / (1.0 - area)), NORMAL_95 * deviation / (area * (1.0 - area))
    return MetricValue(area, _expit(logit - margin), _expit(logit + margin))


def _expit(x: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * x))


def _share_below(scores: Tensor, others: Tensor) -> Tensor:
    """Of each score (n,), the share of the others (m,) that lie below it, ties counting half."""
    ordered, scores = others.sort().values, scores.contiguous()
    below = torch.searchsorted(ordered, scores, right=False)
    up_to = torch.searchsorted(ordered, scores, right=True)
    return (below + up_to).double() / (2 * len(others))
