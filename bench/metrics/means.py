"""Means, crossed means and paired ratios with 95% intervals; no interval where it would have no width."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import NORMAL_95, MetricValue


def mean_interval(values: Tensor) -> MetricValue:
    """The mean of independent figures (n,) and its normal interval."""
    mean, n = float(values.mean()), len(values)
    spread = float(values.std()) if n > 1 else 0.0
    return around(mean, NORMAL_95 * spread / math.sqrt(n))


def crossed_interval(values: Tensor, *, lowest: float = -math.inf, highest: float = math.inf) -> MetricValue:
    """The mean of a table (draws, examples), both of which are samples, and Student's interval.

    The variance is s_d²/k + s_e²/n, from the k draws' means and the n examples' means: a little too large, since
    what belongs to single cells is in both. k - 1 degrees of freedom; cut to [lowest, highest].

    References: Owen, arXiv:0712.1111, section 4.
    """
    from scipy.stats import t

    draws, examples = values.shape
    mean = float(values.mean())
    if draws < 2 or examples < 2:
        return MetricValue(mean)
    variance = float(values.mean(dim=1).var()) / draws + float(values.mean(dim=0).var()) / examples
    return around(mean, float(t.ppf(0.975, draws - 1)) * math.sqrt(variance), lowest=lowest, highest=highest)


def paired_ratio_interval(first: Tensor, second: Tensor) -> MetricValue:
    """The ratio p1/p2 of two shares over the same n examples, from hits (n,) bool; the second has some hit.

    The interval is normal in log(p1/p2), of variance (b + c)/(n² p1 p2) with b and c the examples that only one of
    the two hits.

    References: the delta method's interval in Bonett and Price, Statistics in Medicine 25 (2006).
    """
    n = len(first)
    p1, p2 = float(first.double().mean()), float(second.double().mean())
    ratio = p1 / p2
    discordant = int((first != second).sum())
    if p1 == 0.0 or discordant == 0:
        return MetricValue(ratio)
    factor = math.exp(NORMAL_95 * math.sqrt(discordant / p1 / p2) / n)
    return MetricValue(ratio, ratio / factor, ratio * factor)


def around(value: float, margin: float, *, lowest: float = -math.inf, highest: float = math.inf) -> MetricValue:
    """value ± margin, cut to [lowest, highest]; no interval where the margin is zero."""
    if not margin > 0.0:
        return MetricValue(value)
    return MetricValue(value, max(lowest, value - margin), min(highest, value + margin))


def require_vectors(**named: Tensor) -> tuple[Tensor, ...]:
    """Each as float64 (n,) on the CPU; ValueError for other shapes."""
    for name, values in named.items():
        if values.ndim != 1:
            raise ValueError(f"{name.replace('_', ' ')} of shape {tuple(values.shape)}; wanted (n,)")
    return tuple(values.detach().to("cpu", torch.float64) for values in named.values())
