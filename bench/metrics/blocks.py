"""Averages of a metric over blocks of samples, all compared with the same real examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from .base import MetricValue


def mean_of_blocks(results: Sequence[MetricValue]) -> MetricValue:
    """The mean of a metric's figures for disjoint blocks of samples, and its interval.

    Blocks share the real examples: of the mean over B blocks the generated side's variance is a B-th, the real side's
    stays. Intervals keep their shape and are narrowed by as much. Where the metric does not tell the sides apart, its
    interval stays as wide as that of one block, and the generated side's error is the spread of the blocks over √B.
    """
    if len(results) == 1:
        return results[0]
    blocks, value = len(results), fmean(result.value for result in results)
    generated = [result.generated_error for result in results if result.generated_error is not None]
    if len(generated) == blocks:
        error = math.sqrt(fmean(e * e for e in generated) / blocks)
    else:
        error = float(np.std([result.value for result in results], ddof=1)) / math.sqrt(blocks)
    mean = MetricValue(value, generated_error=error or None)
    lows, highs = ([bound for r in results if (bound := getattr(r, side)) is not None] for side in ("low", "high"))
    if len(lows) < blocks:
        return mean
    total = fmean(result.standard_error**2 for result in results)
    narrowed = 1.0
    if len(generated) == blocks and total > 0:
        narrowed = math.sqrt(max(0.0, 1 - (blocks - 1) * error**2 / total))
    below, above = value - fmean(lows), fmean(highs) - value
    return replace(mean, low=value - narrowed * below, high=value + narrowed * above)
