"""Scores what is no trial: real examples in place of samples, draws of a perfect model, and answers without a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ...models.base import Batch
from ..artifacts.pictures import write_answers, write_samples
from ..data import DataSet, open_data
from ..protocol import CHUNK
from ..runs.provenance import provenance
from ..runs.records import Record
from ..runs.run_folder import RecordFolder
from ..scoring.baselines import baselines
from ..scoring.conditions import asked_rows
from ..scoring.context import ScoringContext
from ..scoring.perfect_model import perfect_model
from ..scoring.references import evaluators_by_role, real_examples, reference_batch, reference_features, reference_rows
from ..scoring.scorer import Scope, metric_names, score
from .jobs import FloorJob
from .scored_records import evaluators_of, now, split_named, with_scores


def run_floor(job: FloorJob, folder: RecordFolder) -> Record:
    """Scores real examples of `against` as if they were samples, and draws of a perfect model.

    folder: takes the records of the baselines, of what answers to conditions without a model, and of both floors.
    """
    data = open_data(job.data)
    started = now()
    split, against = split_named(job.split), split_named(job.against)
    count = min(len(reference_batch(data, split)), len(reference_batch(data, against)))
    real = reference_batch(data, against, count)
    evaluators = evaluators_by_role(data, job.cache, job.evaluators)
    classes = data.classes_of(against)
    context = ScoringContext(
        data,
        split,
        real,
        evaluators.get("primary"),
        Path(job.cache),
        classes=None if classes is None else classes[reference_rows(data, against, count)],
    )
    scope: Scope = "all" if split == "test" else "quick"
    first = score(context, metric_names(scope, named=job.measured))
    second = None
    if "second" in evaluators:
        second = score(replace(context, evaluator=evaluators["second"]), metric_names(scope, through_evaluator=True))
    record = Record(
        role="reference",
        family="floor",
        number=job.number,
        seed=0,
        split=job.split,
        state="complete",
        params={"real examples of": job.against},
        samples=count,
        started=started,
        finished=now(),
        data=data.as_recorded(job.data),
        evaluators=evaluators_of(data, job, second=True),
        provenance=provenance() | {"device": "cpu"},
    )
    for name, measured in baselines(data, split).items():  # before the floor, which marks all as done
        folder.write_record(replace(with_scores(record, measured, None), family=name, params={}, evaluators={}))
    if split == "test" and data.yardstick is not None:
        answered = _answered(context)
        scored = with_scores(record, score(answered, metric_names("all")), None)
        primary = {role: about for role, about in record.evaluators.items() if role == "primary"}
        scored = replace(
            scored, family=data.yardstick.name, params={}, samples=len(answered.generated), evaluators=primary
        )
        write_shown(folder, scored.name, answered, maker=data.yardstick.name)
        folder.write_record(scored)
    if evaluators and job.samples is not None:
        folder.write_record(_of_perfect_model(job, record, data, job.samples))
    record = with_scores(record, first, second)
    folder.write_record(record)
    return record


def _of_perfect_model(job: FloorJob, floor: Record, data: DataSet, n: int) -> Record:
    """The floor's record with the scores of n samples of a perfect model in their place."""
    split = split_named(job.split)
    count = real_examples(data, split)
    first, *others = (
        perfect_model(reference_features(data, split, count, evaluator=each, cache=job.cache).features, n)
        for each in evaluators_by_role(data, job.cache, job.evaluators).values()
    )
    scored = with_scores(floor, first, others[0] if others else None)
    return replace(scored, family="perfect_model", params={"normal draws": count}, samples=n)


def write_shown(folder: RecordFolder, name: str, context: ScoringContext, *, maker: str) -> None:
    """Writes the picture of some samples: beside conditions that are images, and the targets of pairs."""
    generated, spec, place = context.generated, context.data.spec, folder.artifact("samples")
    if spec.kind == "image" and spec.condition.kind == "image" and generated.condition is not None:
        write_answers(place, name, generated, context.targets, spec, maker=maker)
    else:
        write_samples(place, name, generated, spec, maker=maker)


def _answered(real: ScoringContext) -> ScoringContext:
    """What answers to the conditions of the split without a model, in the place of samples."""
    data, split = real.data, real.split
    assert data.yardstick is not None
    rows = asked_rows(data, split, len(reference_batch(data, split)))
    conditions = data.splits[split].condition
    assert rows is not None
    assert conditions is not None
    answers = [data.spec.to_lattice(data.yardstick.answer(conditions[part])) for part in rows.split(CHUNK)]
    shown = None if data.source_labels is None else data.source_labels[split][rows]
    batch = Batch(torch.cat(answers), conditions[rows])
    return ScoringContext(data, split, batch, real.evaluator, real.cache, asked=rows, classes=shown)
