"""Intermediate scores: at which shares of a training, on how many samples, and what they are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...models.base import Batch, GenerativeModel
from .. import registry
from ..data import DataSet, Split
from ..proposal import Point
from ..protocol import FEW, SIGNS
from ..scoring.conditions import asked_conditions, asked_rows
from ..scoring.context import ScoringContext
from ..scoring.held_out import held_out_likelihood
from ..scoring.references import evaluators_by_role, reference_batch
from ..scoring.sampling import check_samples, cost_report, draw_samples
from ..scoring.scorer import labels_of_likelihood, metric_names, score
from ..seeds import derive
from ..training.loop import TrainingRun
from .jobs import TrialJob


def few_of(data: DataSet, split: Split) -> Batch:
    """The examples of a split that intermediate scores are taken against."""
    return reference_batch(data, split, min(FEW, len(reference_batch(data, split))))


def intermediate_score(
    job: TrialJob,
    data: DataSet,
    split: Split,
    model: GenerativeModel,
    fidelity: float,
    run: TrainingRun,
    *,
    settings: Mapping[str, Any],
    conditional: bool,
) -> Point:
    """The job's objectives, all to be minimised, of a model at a share of its training, on few samples.

    Raises DivergedError for samples that are not finite.
    """
    few = few_of(data, split)
    began = time.perf_counter()
    condition = asked_conditions(data, split, len(few)) if conditional else None
    generated = draw_samples(model, len(few), condition, settings=settings, seed=derive(job.seed, "few"))
    seconds = time.perf_counter() - began
    check_samples(generated, len(few), data)
    held_out = None
    takes_labels = generated.labels is not None
    if labels := labels_of_likelihood("named", objective=job.objective, takes_labels=takes_labels):
        held_out = held_out_likelihood(model, data, few, labels=labels, seed=derive(job.seed, "likelihood"))
    sampling = job.operations.get("sample", 0.0)
    operations = job.operations.get("train", 0.0) * fidelity / job.fidelity + sampling
    drawn = job.samples or len(reference_batch(data, split))
    cost = cost_report(
        model,
        run,
        sample_seconds=seconds,
        samples=len(few),
        operations=operations,
        per_sample=sampling / drawn,
        energy=None,
    )
    context = ScoringContext(
        data,
        split,
        generated,
        evaluators_by_role(data, job.cache, job.evaluators).get("primary"),
        Path(job.cache),
        model=model,
        held_out=held_out,
        cost=cost,
        asked=asked_rows(data, split, len(few)) if conditional else None,
    )
    found = score(context, metric_names("named", named=job.objective)).values
    if any(name not in found for name in job.objective):
        return Point(fidelity, None)
    return Point(fidelity, tuple(SIGNS[registry.metric(n).direction] * found[n].value for n in job.objective))
