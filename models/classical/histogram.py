"""Histograms: counting, coordinate by coordinate, or in the plane jointly.

Glossary: models/marginals.py.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..base import Batch, GenerativeModel, Likelihood, LikelihoodKind, Stage
from ..data_spec import DataSpec
from ..nets.layers import require_kind
from .bins import BinnedMarginals, JointBins
from .marginals import LevelMarginals, Marginals, counted, examples_of, values_of


class Histogram(GenerativeModel):
    """p(x) = prod_d (count_d(bin of x_d) + alpha) / (n + alpha B): coordinates are independent, except that vectors of
    two dimensions have one joint histogram (Laplace's smoothing; Bishop 2006, sections 2.2 and 2.5).

    Images: exact probabilities of their levels. Vectors: an exact density, uniform within equal bins over the train
    split's range and exponential outside.

    bins: for each coordinate; images: at most these, and of more levels neighbours share a bin.
    pseudocount: alpha, added to the count of every bin (cell, for joint histograms).
    """

    def __init__(self, data: DataSpec, *, bins: int = 40, pseudocount: float = 0.1) -> None:
        super().__init__(data)
        require_kind(data, "histogram")
        self.joint: JointBins | None = None
        self.marginals: Marginals | None = None
        if data.kind == "image":
            self.marginals = LevelMarginals(1, data, counted(pseudocount, bins))
        elif data.dimensions == 2:
            self.joint = JointBins(bins=bins, pseudocount=pseudocount)
        else:
            self.marginals = BinnedMarginals(1, data.dimensions, bins=bins, pseudocount=pseudocount)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("counting", fit=self.fit),)

    def fit(self, data: Batch, generator: Generator) -> float:
        """Counts the train split; returns its operations, one for each value and each bin."""
        values = values_of(data.x, self.data)
        if self.joint is not None:
            return self.joint.fit(values)
        return self._marginals.fit(values, self._one_class(len(values)))

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        """n draws (n, *data.shape)."""
        if self.joint is not None:
            values = self.joint.sample(n, generator)
        else:
            values = self._marginals.sample(self._one_class(n), generator)
        return examples_of(values, self.data)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """Exact: of levels for images, a density for vectors."""
        values = values_of(batch.x, self.data)
        if self.joint is not None:
            log_prob = self.joint.log_prob(values)
        else:
            log_prob = self._marginals.class_log_probs(values)[:, 0]
        return Likelihood(log_prob, LikelihoodKind.EXACT)

    @torch.no_grad()
    def impute(self, batch: Batch, missing: Tensor, generator: Generator) -> Tensor:
        """x with the entries where `missing` replaced by their expectation given the others."""
        if self.joint is not None:
            return self.joint.complete(values_of(batch.x, self.data), missing).float()
        expected = examples_of(self._marginals.expectation(), self.data)  # (1, *data.shape)
        return torch.where(missing, expected, batch.x)

    @property
    def _marginals(self) -> Marginals:
        assert self.marginals is not None
        return self.marginals

    def _one_class(self, n: int) -> Tensor:
        return torch.zeros(n, dtype=torch.int64, device=self.device)
