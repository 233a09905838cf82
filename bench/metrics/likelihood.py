"""Metrics on log-likelihoods: of the kind that the `Likelihood` names, which is shown with every figure.

Glossary:
    x held-out examples, N of them
    log p(x) in original units = log-density in standardised units - log|det|, `spec.log_scale`
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...models.base import Likelihood
from ...models.data_spec import DataSpec
from .base import NORMAL_95, MetricValue, UndefinedError


def nll(likelihood: Likelihood, spec: DataSpec) -> MetricValue:
    """-(1/N) Σ log p(x), nats per example in original units; lower is better.

    The 95% interval is normal, from the standard error over examples. An estimate's own noise, where it is
    independent between examples, is part of that spread. Of vectors of an unknown density p has room for outliers
    (`scoring/held_out.py`), else a few rows would decide the figure. Of rows of tables it is that of their vectors:
    their noise makes it, on average, an upper bound on that of the row and of the numbers that stand in for missing
    ones (`data/tables/codec.py`).

    References: Theis et al., arXiv:1511.01844, section 3.
    """
    return _mean_with_interval(_nll_of_examples(likelihood, spec))


def bits_per_dim(likelihood: Likelihood, spec: DataSpec) -> MetricValue:
    """nll / (D log 2) of an image's integer levels; lower is better. Undefined for what has no levels.

    References: Theis et al., arXiv:1511.01844, section 3.1.
    """
    if spec.kind != "image":
        raise UndefinedError(f"bits/dim is for images, not for {spec.kind} data")
    return _mean_with_interval(_nll_of_examples(likelihood, spec) / (spec.dimensions * math.log(2)))


def kl_to_truth(likelihood: Likelihood, spec: DataSpec, true_log_density: Tensor) -> MetricValue:
    """(1/N) Σ [log p*(x) - log p(x)] over examples of the truth p*, nats for each example; lower is better.

    true_log_density: (n,) log p*(x); of sequences a log-probability.

    An unbiased estimate of KL(p* || p), hence sometimes negative; of a bound on it from above where the
    likelihood is a bound. The 95% interval is normal, from the standard error over examples.

    References: Kullback and Leibler, doi:10.1214/aoms/1177729694.
    """
    if spec.kind == "image":
        raise UndefinedError("the true density is known for vectors and sequences only, not for images")
    truth = true_log_density.detach().to("cpu", torch.float64)
    negative = _nll_of_examples(likelihood, spec)
    if truth.shape != negative.shape:
        raise ValueError(f"true log-density of shape {tuple(truth.shape)}, likelihood {tuple(negative.shape)}")
    _require_finite(truth, "the true log-density")
    return _mean_with_interval(truth + negative)


def _nll_of_examples(likelihood: Likelihood, spec: DataSpec) -> Tensor:
    """(N,) float64, nats in original units."""
    log_prob = likelihood.log_prob.detach().to("cpu", torch.float64)
    if log_prob.ndim != 1:
        raise ValueError(f"log-likelihoods of shape {tuple(log_prob.shape)}; wanted (n,)")
    if not len(log_prob):
        raise UndefinedError("needs at least 1 example, got 0")
    _require_finite(log_prob, "the log-likelihood")
    return spec.log_scale - log_prob


def _require_finite(values: Tensor, what: str) -> None:
    bad = int((~values.isfinite()).sum())
    if bad:
        raise UndefinedError(f"{what} is not finite for {bad} of {len(values)} examples")


def _mean_with_interval(values: Tensor) -> MetricValue:
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return MetricValue(mean)
    margin = NORMAL_95 * float(values.std()) / math.sqrt(n)
    return MetricValue(mean, mean - margin, mean + margin)
