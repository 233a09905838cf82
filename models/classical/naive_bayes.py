"""Naive Bayes: coordinates that are independent given the class.

Glossary: models/marginals.py.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..base import Batch, GenerativeModel, Likelihood, LikelihoodKind, Stage
from ..data_spec import DataSpec
from ..likelihoods import marginal_log_prob
from ..nets.layers import require_kind
from .bins import BinnedMarginals
from .marginals import (
    GaussianMarginals,
    KernelMarginals,
    LevelMarginals,
    Marginals,
    counted,
    examples_of,
    gaussian_levels,
    kernel_levels,
    values_of,
)

CONDITIONALS = ("gaussian", "histogram", "kernel_density")


class NaiveBayes(GenerativeModel):
    """p(x, y) = p(y) prod_d p(x_d | y), with p(y) the train split's frequencies. It generates, and by Bayes' rule it
    classifies (`classify`; the metric `bayes_accuracy`). Without labels there is one class.

    Images: exact probabilities of their levels, whatever the conditionals: a Gaussian's or a kernel's mass on the
    interval of each level, the tails at both ends. Vectors: an exact density.

    conditionals: what p(x_d | y) is: "gaussian" (John and Langley 1995, arXiv:1302.4964, compares it with kernels),
        "histogram" (with a pseudocount) or "kernel_density" (Gaussian kernels).
    bins, pseudocount: of histograms, as in `Histogram`.
    bandwidth: of kernels. regularisation: added to a Gaussian's variances. Both in units of v (u in [0, 1) for images).
    """

    prior: Tensor  # (K,) float64

    def __init__(
        self,
        data: DataSpec,
        *,
        conditionals: str = "histogram",
        bins: int = 40,
        pseudocount: float = 0.1,
        bandwidth: float = 0.05,
        regularisation: float = 1e-3,
    ) -> None:
        super().__init__(data)
        require_kind(data, "naive_bayes")
        if conditionals not in CONDITIONALS:
            raise ValueError(f"conditionals is {conditionals!r}; wanted one of {', '.join(CONDITIONALS)}")
        K = max(1, data.classes)
        self.register_buffer("prior", torch.full((K,), 1.0 / K, dtype=torch.float64))
        self.marginals: Marginals
        if data.kind == "image":
            law = {
                "gaussian": gaussian_levels(regularisation, data),
                "histogram": counted(pseudocount, bins),
                "kernel_density": kernel_levels(bandwidth),
            }[conditionals]
            self.marginals = LevelMarginals(K, data, law)
        elif conditionals == "gaussian":
            self.marginals = GaussianMarginals(K, data.dimensions, regularisation)
        elif conditionals == "histogram":
            self.marginals = BinnedMarginals(K, data.dimensions, bins=bins, pseudocount=pseudocount)
        else:
            self.marginals = KernelMarginals(K, data.dimensions, bandwidth)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("counting", fit=self.fit),)

    def fit(self, data: Batch, generator: Generator) -> float:
        """Class frequencies and conditionals of the train split; returns its operations, a few for each value.

        Raises ValueError where labels are missing that the data should have.
        """
        if not self.data.classes:
            y = torch.zeros(len(data), dtype=torch.int64, device=data.x.device)
        elif data.labels is None:
            raise ValueError(
                f"data {self.data.name!r} has {self.data.classes} classes; naive_bayes was given no labels"
            )
        else:
            y = data.labels
        counts = torch.bincount(y, minlength=len(self.prior)).to(torch.float64)
        self.prior.copy_(counts / counts.sum())
        return self.marginals.fit(values_of(data.x, self.data), y)

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        """n draws (n, *data.shape), of the classes `condition` (n,) or of classes drawn by their frequency."""
        if condition is None:
            condition = torch.multinomial(self.prior, n, replacement=True, generator=generator)
        return examples_of(self.marginals.sample(condition, generator), self.data)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """Exact: of levels for images, a density for vectors; log p(x), or log p(x|y) with labels y (n,)."""
        by_class = self.marginals.class_log_probs(values_of(batch.x, self.data))  # (n, K)
        if batch.labels is None:
            log_prob = marginal_log_prob(by_class, self.prior.log())
        else:
            log_prob = by_class.gather(1, batch.labels[:, None]).squeeze(1)
        return Likelihood(log_prob, LikelihoodKind.EXACT)

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """log p(y|x), (n, K), by Bayes' rule."""
        return (self.prior.log() + self.marginals.class_log_probs(values_of(x, self.data))).log_softmax(1)

    @torch.no_grad()
    def impute(self, batch: Batch, missing: Tensor, generator: Generator) -> Tensor:
        """x with the entries where `missing` replaced by their expectation given the others: each class's mean,
        weighted by the class's probability given the observed entries.
        """
        log_probs = self.marginals.log_prob(values_of(batch.x, self.data))  # (n, K, D)
        observed = torch.where(missing.flatten(1)[:, None], 0.0, log_probs).sum(2)
        weights = (self.prior.log() + observed).softmax(1)  # (n, K)
        expected = examples_of(weights @ self.marginals.expectation(), self.data)
        return torch.where(missing, expected, batch.x)
