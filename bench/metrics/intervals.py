"""95% intervals over examples, by the jackknife.

An interval says how far a figure would move with other samples of the same counts from the same two laws. It is
centred on the figure, so it holds the figure's expectation *at these counts*, bias included.

The bootstrap is not used: it adds to FID's bias, and the copies it draws are each other's nearest neighbours, at
distance zero. The jackknife only ever leaves examples out. By the Efron-Stein inequality its variance is too large
rather than too small, most of all between equal laws, where kernel and Fréchet distances are of second order: there
it is up to twice the true variance.

References: Efron & Stein, Annals of Statistics 9 (1981), 586-596; Arvesen, Annals of Mathematical Statistics 40
    (1969), 2076-2100, for two samples and U-statistics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from .alignment import wilson_interval
from .base import NORMAL_95, MetricValue
from .means import around

LEAST = 20  # examples of a side; a normal law of the error is not to be had from fewer


@dataclass(frozen=True)
class LeftOut:
    """A figure, and what it is without each single example of either side.

    without_generated (n,), without_real (m,).
    """

    value: float
    without_generated: Tensor
    without_real: Tensor

    @property
    def variance(self) -> float:
        """Σ over both sides of (n - 1)/n Σ_i (θ_-i - mean θ_-i)²."""
        return math.fsum(_spread(side) for side in (self.without_generated, self.without_real))

    @property
    def generated_variance(self) -> float:
        """The generated side's part of it."""
        return _spread(self.without_generated)

    @property
    def enough(self) -> bool:
        return min(len(self.without_generated), len(self.without_real)) >= LEAST


def normal_interval(value: float, variance: float, generated: float, *, lowest: float = -math.inf) -> MetricValue:
    """The figure ± 1.96 deviations, cut to the range that the figure can take; none where the variance is 0.

    generated: the generated side's part of the variance.
    """
    interval = around(value, NORMAL_95 * math.sqrt(variance), lowest=lowest)
    return replace(interval, generated_error=_deviation(generated))


def jackknife(figure: LeftOut, *, lowest: float = -math.inf) -> MetricValue:
    """The delete-one jackknife's interval; none for fewer than 20 examples of a side."""
    if not figure.enough:
        return MetricValue(figure.value)
    return normal_interval(figure.value, figure.variance, figure.generated_variance, lowest=lowest)


def jackknife_share(figure: LeftOut, counted: int) -> MetricValue:
    """Of a share of `counted` examples: Wilson's interval at the count p (1 - p) / v that the jackknife's v is worth.

    Unlike the normal one it stays within 0 and 1, and keeps a width where all or none are counted.
    """
    p, variance = figure.value, figure.variance
    if not figure.enough:
        return MetricValue(p)
    worth = p * (1 - p) / variance if variance > 0 and 0 < p < 1 else counted
    low, high = wilson_interval(p * worth, worth)
    low, high = max(0.0, min(p, low)), min(1.0, max(p, high))  # against round-off at 0 and 1
    return MetricValue(p, low, high, _deviation(figure.generated_variance))


def variance_of_influence(*influences: Tensor) -> float:
    """The infinitesimal jackknife: Σ over samples of var(ψ)/n, ψ (n,) the figure's derivative by each example's weight.

    References: Jaeckel, Bell Laboratories Memorandum MM 72-1215-11 (1972); Efron, "The jackknife, the bootstrap and
        other resampling plans" (1982), chapter 6.
    """
    return math.fsum(float(psi.var()) / len(psi) for psi in influences)


def two_sample_u_statistic(within_x: Tensor, within_y: Tensor, across_x: Tensor, across_y: Tensor) -> LeftOut:
    """The unbiased squared MMD, with and without each example, from the row sums of its kernel matrices.

    within_x (n,) Σ_{j≠i} k(x_i, x_j); within_y (m,) the same; across_x (n,) Σ_j k(x_i, y_j); across_y (m,).
    Both counts are at least 2; the figures without an example are only given for counts of 3 and more.

    References: Gretton et al., JMLR 13 (2012), 723-773, equation 3.
    """
    n, m = len(within_x), len(within_y)
    sum_x, sum_y, sum_across = (math.fsum(rows.tolist()) for rows in (within_x, within_y, across_x))
    mean_x, mean_y = sum_x / (n * (n - 1)), sum_y / (m * (m - 1))
    value = mean_x + mean_y - 2 * sum_across / (n * m)
    if min(n, m) < 3:
        return LeftOut(value, within_x[:0], within_y[:0])
    without_x = (sum_x - 2 * within_x) / ((n - 1) * (n - 2)) + mean_y - 2 * (sum_across - across_x) / ((n - 1) * m)
    without_y = mean_x + (sum_y - 2 * within_y) / ((m - 1) * (m - 2)) - 2 * (sum_across - across_y) / (n * (m - 1))
    return LeftOut(value, without_x, without_y)


def _deviation(variance: float) -> float | None:
    """Its root; None of 0, which no finite sample can know."""
    return math.sqrt(variance) if variance > 0 else None


def _spread(without: Tensor) -> float:
    n = len(without)
    return (n - 1) / n * float((without - without.mean()).square().sum())
