"""From a trained model to scores: equal counts, matched classes, one pass through each evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models.base import Batch, GenerativeModel, Likelihood
from .data import DataSet, Split
from .data import load as load_data
from .evaluators import Evaluator, Features, evaluators_for, load_or_train
from .metrics import METRICS, CostReport, Measurement, measure
from .seeds import derive

SAMPLES = 2_000  # the most examples of each side that sample metrics see
_LIKELIHOOD_EXAMPLES = 20_000  # the most examples whose likelihood is computed
_CHUNK = 500  # examples sampled or evaluated at a time; part of the protocol, since chunks have their own seeds


@dataclass(frozen=True)
class Reference:
    """The real side of a comparison: examples of a split and how each evaluator sees them."""

    batch: Batch
    features: Features


@lru_cache(maxsize=2)
def evaluator_pair(data_name: str, cache: str) -> tuple[Evaluator, Evaluator]:
    """The primary and the second evaluator of a data set, from the cache or trained now."""
    data = load_data(data_name)
    first, second = (load_or_train(data, name, cache=Path(cache)) for name in evaluators_for(data))
    return first, second


def reference_batch(data: DataSet, split: Split, count: int | None = None) -> Batch:
    """Up to SAMPLES examples of a split (or `count`), chosen by a fixed seed where there are more."""
    batch = data.splits[split]
    count = min(SAMPLES, len(batch)) if count is None else count
    if count == len(batch):
        return batch
    generator = torch.Generator().manual_seed(derive(0, "subsample", split, count))
    return batch[torch.randperm(len(batch), generator=generator)[:count].sort().values]


@lru_cache(maxsize=16)
def _reference(data_name: str, cache: str, split: Split, second: bool, count: int) -> Reference:
    batch = reference_batch(load_data(data_name), split, count)
    return Reference(batch, evaluator_pair(data_name, cache)[second].describe(batch.x))


def sample_like(
    model: GenerativeModel, batch: Batch, *, conditional: bool, settings: Mapping[str, Any], seed: int
) -> Batch:
    """As many samples as `batch` has examples, with its conditions where the model takes them; on the CPU."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(batch), _CHUNK):
            rows = batch[slice(start, start + _CHUNK)].to(model.device)
            generator = torch.Generator(model.device).manual_seed(derive(seed, "chunk", start))
            condition = rows.condition if conditional else None
            parts.append(model.sample(len(rows), condition=condition, generator=generator, **settings).cpu())
    return Batch(torch.cat(parts), batch.condition if conditional else None)


def likelihood_of(model: GenerativeModel, batch: Batch, *, seed: int) -> tuple[Likelihood | None, Batch]:
    """log p(x) of (at most 20,000) examples, unconditionally, and these examples; None where not defined."""
    examples = Batch(batch.x[:_LIKELIHOOD_EXAMPLES])
    compute = getattr(model, "log_likelihood", None)
    if compute is None:
        return None, examples
    parts: list[Likelihood] = []
    with torch.no_grad():
        for start in range(0, len(examples), _CHUNK):
            model.evaluation_seed = derive(seed, "likelihood", start)
            parts.append(compute(examples.x[start : start + _CHUNK].to(model.device)))
    errors = [part.standard_error for part in parts]
    joined = replace(
        parts[0],
        log_prob=torch.cat([part.log_prob.cpu().double() for part in parts]),
        standard_error=None
        if any(e is None for e in errors)
        else torch.cat([e.cpu() for e in errors if e is not None]),
    )
    return joined, examples


def score(
    data: DataSet,
    split: Split,
    generated: Batch,
    *,
    cache: str,
    second: bool,
    likelihood: Likelihood | None = None,
    examples: Batch | None = None,
    cost: CostReport | None = None,
) -> Measurement:
    """Every metric in the catalogue that has what it needs, through one evaluator.

    generated: samples, or real examples for the floor. The real side is subsampled to the same count.
    likelihood, examples: log-likelihoods and the examples they belong to.
    """
    reference = _reference(data.spec.name, cache, split, second, len(generated))
    seen = evaluator_pair(data.spec.name, cache)[second].describe(generated.x)
    density: Tensor | None = None
    if data.log_density is not None and examples is not None and likelihood is not None:
        density = data.log_density(examples.x)
    inputs = {
        "generated_features": seen.features,
        "real_features": reference.features.features,
        "generated_probabilities": seen.probabilities,
        "conditions": generated.condition,
        "likelihood": likelihood,
        "spec": data.spec,
        "true_log_density": density,
        "cost": cost,
        "seed": derive(0, "metrics"),
    }
    return measure(METRICS, inputs)
