"""Means over blocks of samples that are compared with the same real examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gentune.bench.metrics import MetricValue
from gentune.bench.metrics.blocks import mean_of_blocks
from gentune.bench.metrics.manifold import density


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_generated_sides_variance_shrinks_and_the_real_sides_stays() -> None:
    """Deviations 3 of the samples and 4 of the real examples: 5 of one block, √(9/4 + 16) of four."""
    blocks = [
        MetricValue(10.0 + shift, 10.0 + shift - 1.959964 * 5, 10.0 + shift + 1.959964 * 5, 3.0) for shift in range(4)
    ]
    found = mean_of_blocks(blocks)
    assert found.value == 11.5
    assert found.generated_error == pytest.approx(1.5)
    assert found.standard_error == pytest.approx(math.sqrt(9 / 4 + 16), rel=1e-6)
    assert mean_of_blocks(blocks[:1]) is blocks[0]


def test_without_a_generated_sides_error_the_blocks_tell_it() -> None:
    found = mean_of_blocks([MetricValue(v) for v in (1.0, 2.0, 3.0)])
    assert found == MetricValue(2.0, generated_error=1 / math.sqrt(3))
    wide = mean_of_blocks([MetricValue(v, v - 1, v + 2) for v in (1.0, 3.0)])
    assert (wide.low, wide.high) == (1.0, 4.0)  # as of one block
    assert mean_of_blocks([MetricValue(1.0), MetricValue(1.0)]) == MetricValue(1.0)


def test_the_error_of_a_mean_is_its_spread_over_samples() -> None:
    real = normal(60, 2, 0)

    def mean(seed: int) -> MetricValue:
        samples = 1.2 * normal(300, 2, seed)
        return mean_of_blocks([density(block, real) for block in samples.split(60)])

    results = [mean(seed) for seed in range(1, 61)]
    told = np.mean([r.generated_error for r in results])
    assert told == pytest.approx(np.std([r.value for r in results], ddof=1), rel=0.3)
