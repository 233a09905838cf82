"""What a perfect model would score, by metrics that are biased at finite counts."""

from __future__ import annotations

from statistics import fmean

import torch
from torch import Tensor

from ..metrics import Measurement, MetricValue, measure
from ..seeds import derive

DRAWS = 5
BIASED = ("fid", "sliced_wasserstein")  # KID, MMD and FD∞ are unbiased: a perfect model's average is 0


def perfect_model(real: Tensor, n: int) -> Measurement:
    """Mean scores of n draws against as many draws as there are real features (m, d), both of one normal law.

    The law has the moments of the real features. Five pairs of draws, always the same. On features that are not normal
    this is an estimate: FID's own bias depends on moments up to the fourth.
    """
    mean, covariance = real.mean(0), torch.atleast_2d(real.T.cov())
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()  # (d, d)
    generator = torch.Generator().manual_seed(derive(0, "perfect model", n, len(real)))
    drawn = []
    for number in range(DRAWS):
        x, y = (
            mean + torch.randn(count, real.shape[1], generator=generator, dtype=real.dtype) @ root.T
            for count in (n, len(real))
        )
        drawn.append(measure(BIASED, {"generated_features": x, "real_features": y, "seed": derive(number, "metrics")}))
    undefined = drawn[0].undefined
    return Measurement(
        {name: MetricValue(fmean(each.values[name].value for each in drawn)) for name in drawn[0].values}, undefined
    )
