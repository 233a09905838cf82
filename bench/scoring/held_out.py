"""Log-likelihoods of held-out examples: log p(x), marginalised over the classes of a family that takes labels.

Glossary:
    K       classes of the data set
    p(y)    the train split's class frequencies
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.base import Batch, GenerativeModel, Likelihood
from ...models.data_spec import DataSpec
from ...models.likelihoods import marginal_log_prob
from .. import protocol
from ..data import DataSet, Split
from ..seeds import derive
from .references import reference_batch

Labels = Literal["none", "own", "all"]


@dataclass(frozen=True)
class HeldOut:
    """Held-out examples, with their conditions, and their log-likelihoods; on the CPU.

    likelihood: log p(x), as `labels` says, with room for outliers (`with_outliers`); log p(x|condition) where `given`
        is true: of a family that requires a text, and where the data are conditioned on images, of which families that
        can do without learn from few examples.
    labels: none: of a family that takes none; all: log p(x) marginalised over the data's classes; own: log p(x, y) with
        the example's own label y, a lower bound on log p(x) that is close where the model knows y from x.
    by_class: log p(x|y), float64 (n, K), of all classes, where `labels` is "all".
    """

    examples: Batch
    likelihood: Likelihood
    labels: Labels = "none"
    by_class: Tensor | None = None
    given: bool = False


def held_out_examples(data: DataSet, split: Split) -> Batch:
    """The examples whose likelihood is computed, the same for every family: of labelled data as many fewer as there are
    classes, since each class may take a pass of the model.
    """
    count = max(1, protocol.LIKELIHOOD_EXAMPLES // max(1, data.spec.classes))
    return reference_batch(data, split, min(count, len(data.splits[split])))


def held_out_likelihood(
    model: GenerativeModel, data: DataSet, examples: Batch, *, labels: Labels, seed: int
) -> HeldOut | None:
    """Log-likelihoods of examples of a data set; None for a family without.

    labels: as of `HeldOut`. All classes get the same noise, so that they differ by what they say of x alone. A
        network's branch for no label is no substitute for them: it has learned from the few examples without a label.
    """
    compute: Callable[[Batch], Likelihood] | None = getattr(model, "log_likelihood", None)
    if compute is None:
        return None
    given = labels == "none" and (model.requires_condition() or data.spec.condition.kind == "image")
    log_prior = None if labels == "none" else class_frequencies(data).log()
    parts: list[Likelihood] = []
    columns: list[Tensor] = []
    for start in range(0, len(examples), protocol.CHUNK):
        model.evaluation_seed = derive(seed, "likelihood", start)
        rows = examples[start : start + protocol.CHUNK].to(model.device)
        with torch.no_grad():
            if log_prior is None:
                parts.append(compute(rows if given else Batch(rows.x)))
            elif labels == "own":
                found = compute(rows)
                assert rows.labels is not None
                parts.append(replace(found, log_prob=found.log_prob.cpu().double() + log_prior[rows.labels.cpu()]))
            else:
                none = torch.zeros(len(rows), dtype=torch.int64, device=model.device)
                of_classes = [compute(Batch(rows.x, none + y)) for y in range(len(log_prior))]
                columns.append(torch.stack([found.log_prob.cpu().double() for found in of_classes], dim=1))
                parts.append(_marginalised(of_classes, columns[-1], log_prior))
    likelihood = with_outliers(_joined(parts), examples.x, data.spec)
    return HeldOut(examples, likelihood, labels, torch.cat(columns) if columns else None, given)


def with_outliers(likelihood: Likelihood, x: Tensor, spec: DataSpec) -> Likelihood:
    """Log-likelihoods of log((1 - e) p(x) + e q(x)), e = 0.001, for vectors x (n, D) of an unknown density.

    q: independent logistic distributions with the train split's means and deviations, which are 0 and 1. Without it a
    few rows decide the figure: where entries nearly determine each other, narrow kernels and the steep maps of a flow
    give rows that they have not seen exp(-10^9). With it no row costs more than 6.9 nats beyond what q says, and p
    loses 0.001. A lower bound stays one. Other data, and vectors whose true density models are measured by, keep p.
    """
    if spec.kind != "vector" or spec.entropy is not None:
        return likelihood
    scale = math.sqrt(3.0) / math.pi  # of a logistic distribution with deviation 1
    z = x.cpu().double() / scale
    log_q = (F.logsigmoid(z) + F.logsigmoid(-z) - math.log(scale)).sum(1)
    own = likelihood.log_prob.cpu().double() + math.log1p(-protocol.OUTLYING)
    log_prob = torch.logaddexp(own, log_q + math.log(protocol.OUTLYING))
    error = likelihood.standard_error
    return replace(
        likelihood,
        log_prob=log_prob,
        standard_error=None if error is None else error.cpu().double() * (own - log_prob).exp(),
    )


def class_frequencies(data: DataSet) -> Tensor:
    """p(y), float64 (K,): how frequent each class of labelled data is in the train split."""
    labels = data.splits["train"].labels
    assert labels is not None
    counts = torch.bincount(labels, minlength=data.spec.classes).double()
    return counts / counts.sum()


def _marginalised(of_classes: list[Likelihood], by_class: Tensor, log_prior: Tensor) -> Likelihood:
    """log p(x) of one chunk. Its standard error, as the classes share their noise, is the classes' mean by p(y|x)."""
    log_prob = marginal_log_prob(by_class, log_prior)
    errors = [found.standard_error for found in of_classes]
    error = None
    if all(e is not None for e in errors):
        given_x = (by_class + log_prior - log_prob[:, None]).exp()  # p(y|x)
        error = (given_x * torch.stack([e.cpu().double() for e in errors if e is not None], dim=1)).sum(1)
    return replace(of_classes[0], log_prob=log_prob, standard_error=error)


def _joined(parts: list[Likelihood]) -> Likelihood:
    errors = [part.standard_error for part in parts]
    return replace(
        parts[0],
        log_prob=torch.cat([part.log_prob.cpu().double() for part in parts]),
        standard_error=None
        if any(e is None for e in errors)
        else torch.cat([e.cpu() for e in errors if e is not None]),
    )
