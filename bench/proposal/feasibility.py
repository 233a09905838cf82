"""The probability that a setting can be trained at all, learned from which trials failed."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .encoding import Floats, Ints
from .surrogate import fit

# Labels jump where a lengthscale would rather be short; but what fails here mostly fails beyond as well.
_MOST_RELEVANT = 4.0


class Feasibility:
    """P(success | x) = Φ(f(x) / √(variance of f(x) + noise)) with a GP f on labels ±1.

    Least-squares classification, C. E. Rasmussen and C. K. I. Williams (2006), Gaussian Processes for Machine
    Learning, §6.5: the regression on labels learns which parameters matter, and the normal distribution function
    turns its figure into a probability. Where nothing is known this is the share of successes, drawn towards one half.

    columns (n, c) of all finished trials, failed (n,): which of them failed.
    """

    def __init__(self, columns: Floats, groups: Ints, failed: np.ndarray) -> None:
        labels = np.where(failed, -1.0, 1.0)
        # One more of each kind: a single failure among three trials is no evidence of one in three.
        share = ((labels > 0).sum() + 1.0) / (len(labels) + 2.0)
        self._centre = math.sqrt(2.0) * torch.erfinv(torch.tensor(2.0 * share - 1.0, dtype=torch.float64)).item()
        self._model = fit(columns, groups, labels - labels.mean(), most_relevant=_MOST_RELEVANT)

    def log_probability(self, x: Tensor) -> Tensor:
        """log P(success) (b,) at columns x (b, 1, c), differentiable."""
        posterior = self._model.posterior(x)
        mean, variance = posterior.mean[..., 0, 0], posterior.variance[..., 0, 0].clamp_min(0.0)
        deviation = (variance + self._model.hyperparameters.noise).sqrt()
        return torch.special.log_ndtr(self._centre + mean / deviation)
