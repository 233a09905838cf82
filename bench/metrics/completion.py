"""Imputation error: how well missing entries are completed."""

from __future__ import annotations

import math

from torch import Tensor

from .base import NORMAL_95, MetricValue, UndefinedError


def imputation_error(
    incomplete_x: Tensor, missing: Tensor, completed_x: Tensor, mean_completed_x: Tensor
) -> MetricValue:
    """Root mean squared error of completed entries over that of filling in the train mean; lower is better.

    incomplete_x: (n, ...) what the examples truly are; missing: bool like it, which entries were hidden;
    completed_x, mean_completed_x: the examples with these filled in by the model, and by the mean of the train split.
    0 is perfect, 1 no better than the mean. The 95% interval is normal in the logarithm, of a ratio of sums over
    examples by linearisation.

    References: Stekhoven and Bühlmann, doi:10.1093/bioinformatics/btr597, for errors over the data's own deviation;
        the interval, Cochran, Sampling Techniques, section 6.
    """
    shapes = {tuple(t.shape) for t in (incomplete_x, missing, completed_x, mean_completed_x)}
    if len(shapes) != 1:
        raise ValueError(f"examples, masks and completions of shapes {sorted(shapes)}; wanted one shape")
    ours, means = (
        ((guess - incomplete_x).double() * missing).flatten(1).square().sum(1)
        for guess in (completed_x, mean_completed_x)
    )
    total, baseline = float(ours.sum()), float(means.sum())
    if not math.isfinite(total):
        raise UndefinedError("completed entries are not finite")
    if not baseline > 0.0:
        raise UndefinedError("the train mean is never wrong")
    ratio = total / baseline
    value, n = math.sqrt(ratio), len(ours)
    if n < 2 or ratio == 0.0:
        return MetricValue(value)
    deviation = float((ours - ratio * means).std()) / (total / n) / math.sqrt(n)  # of log(ratio)
    margin = math.exp(0.5 * NORMAL_95 * deviation)
    return MetricValue(value, value / margin, value * margin)
