"""Chooses a family's setting by retrainings on validation: the default, or one that beats it clearly.

The winner's curse makes a study's best trial look better than it is. So few settings are retrained with the same new
seeds, and the default stands until another beats its mean by a part of the standard error of their difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CHALLENGERS = 2  # settings, at most, that are retrained besides the first
LEAST_PROBABILITY = 0.1  # of being better than the first that a setting needs to be retrained
# Standard errors of a difference of means by which a challenger has to beat the default. Without any, one of several
# settings that are all as good as the default takes its place by luck; with one, real gains are left lying. Of 500
# simulated studies with nothing to gain a half harmed 5.4%, three quarters 3.4%, and the loss was .175 and .179 where
# the default was worse than the best by .3.
MARGIN = 0.75

Scores = Sequence[float | None]  # of one setting, by seed; None where the training failed


def choose(
    scores: Sequence[Scores],
    *,
    lower: bool,
    log_scale: bool,
    protected: bool,
    violations: Sequence[float] = (),
) -> int:
    """The index of the chosen setting.

    scores: of each setting, as many for all. lower: whether low scores are better. log_scale: whether scores that are
    all positive are compared on logarithms. protected: whether the first setting, the default, stands until another
    beats its mean by `MARGIN` standard errors; else the best mean is chosen. violations: by how much each setting
    breaks constraints, 0 where it keeps them; empty: all keep them.

    A training that failed counts as the worst score of all. A setting whose every training failed is not chosen while
    another gave any score, and protects nothing; nor is one that breaks a constraint while another keeps all. Where all
    break one, the least violating is chosen.
    """
    worked = [i for i, row in enumerate(scores) if any(value is not None for value in row)]
    if not worked:
        return 0
    beyond = list(violations) or [0.0] * len(scores)
    kept = [i for i in worked if beyond[i] == 0]
    if not kept:
        return min(worked, key=lambda i: beyond[i])
    costs = _as_costs([scores[i] for i in kept], lower=lower, log_scale=log_scale)  # (settings, seeds)
    means = costs.mean(axis=1)
    best = int(np.argmin(means))
    if protected and kept[0] == 0 and means[best] >= means[0] - MARGIN * _standard_error(costs):
        return 0
    return kept[best]


def _as_costs(scores: Sequence[Scores], *, lower: bool, log_scale: bool) -> np.ndarray:
    """The scores (settings, seeds) as figures to be minimised, failures as the worst of them."""
    known = [value for row in scores for value in row if value is not None]
    scale = math.log if log_scale and min(known) > 0 else float
    sign = 1.0 if lower else -1.0
    worst = max(sign * scale(value) for value in known)
    return np.array([[worst if value is None else sign * scale(value) for value in row] for row in scores])


def _standard_error(costs: np.ndarray) -> float:
    """The standard error of a difference of two means, from the variance within settings, pooled over them.

    0 with one seed, which tells nothing of it.
    """
    seeds = costs.shape[1]
    return 0.0 if seeds < 2 else math.sqrt(2.0 * float(costs.var(axis=1, ddof=1).mean()) / seeds)
