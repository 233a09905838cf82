"""Runs one trial from its job to its record: train, sample, score, record."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ...models.base import Batch, GenerativeModel
from ..artifacts.finalist import write_completions, write_outliers, write_sample_details
from ..artifacts.text_samples import write_text_samples
from ..budget.kinds import Spent, UnpricedError
from ..budget.time_limit import TookTooLongError
from ..data import DataSet, Split, open_data
from ..evaluators import load_or_train
from ..files import write_atomically
from ..metrics import METRICS
from ..protocol import shares_between
from ..runs.provenance import provenance
from ..runs.records import TOO_SLOW, Record, State
from ..runs.run_folder import RecordFolder
from ..runs.spool import Delivery, Outbox
from ..scoring.collapse import MOST, diversity, varied_by_value
from ..scoring.conditions import asked_conditions, asked_rows
from ..scoring.context import ScoringContext
from ..scoring.held_out import held_out_examples, held_out_likelihood
from ..scoring.references import evaluators_by_role, real_examples, reference_batch
from ..scoring.sampling import TrialError, check_samples, cost_report, draw_samples
from ..scoring.scorer import Scope, labels_of_likelihood, metric_names, score
from ..seeds import derive
from ..training.checkpoints import ModelCard, save_model
from ..training.loop import DeadlineError, DivergedError, TrainingRun
from ..training.setting import SettingByRole, split_setting
from .energy import Meter
from .floors import run_floor, write_shown
from .jobs import EvaluatorJob, FloorJob, Job, TrialJob
from .model_training import Clock, TellPart, TellProgress, Trained, retrained_on_part, trained_model
from .scored_records import evaluators_of, now, split_named, with_scores


def run_job(
    job: Job, spool: Path, on_progress: TellProgress | None = None, on_part: TellPart | None = None
) -> Delivery | None:
    """Runs a job in this process and returns its delivery in the spool; evaluators deliver nothing.

    spool: the folder of the run's deliveries. on_progress, on_part: see `run_trial`.
    """
    if isinstance(job, EvaluatorJob):
        load_or_train(open_data(job.data), job.evaluator, cache=Path(job.cache))
        return None
    outbox = Outbox(spool, job.name)
    try:
        if isinstance(job, FloorJob):
            run_floor(job, outbox)
        else:
            run_trial(job, outbox, on_progress, on_part)
        return outbox.close()
    except BaseException:
        outbox.discard()
        raise


def run_trial(
    job: TrialJob, folder: RecordFolder, on_progress: TellProgress | None = None, on_part: TellPart | None = None
) -> Record:
    """Runs a trial. A setting that fails gives a failed record, never an exception.

    folder: takes the record, the artifacts and, where the family's code fails, a log.
    on_progress: called with the share of the training that is done. on_part: called with the part of the trial that
    begins, as `Record.seconds` names it.
    """
    base = job.record(started=now())
    clock = Clock(torch.device(job.device), job.limits, on_progress, on_part)
    run = TrainingRun()
    try:
        record = _carry_out(job, base, folder, clock, run)
    except (DivergedError, DeadlineError, TrialError) as error:
        state: State = "stopped" if isinstance(error, DeadlineError) else "failed"
        prefix = "diverged: " if isinstance(error, DivergedError) else ""
        record = replace(base, state=state, reason=f"{prefix}{error}")
    except TookTooLongError as error:
        record = replace(base, reason=f"{TOO_SLOW} {error}")
    except Exception as error:  # noqa: BLE001 - a family may fail in any way; the log has the traceback
        _log_failure(folder, base.name)
        reason = "out of memory" if _is_out_of_memory(error) else f"{type(error).__name__}: {error}"
        if job.device.startswith("cuda"):
            torch.cuda.empty_cache()  # frees what the failed model held for the next trial
        record = replace(base, reason=" ".join(reason.split())[:500])
    if record.objectives is None:  # failed, or past its deadline
        record = replace(record, cost=job.budget.charge(job.cost, _spent(job, run, clock, None)))
    data = open_data(job.data)
    record = replace(
        record,
        seconds={"train": run.seconds_now, "kept": run.seconds_kept, **clock.seconds},
        finished=now(),
        data=data.as_recorded(job.data),
        evaluators=evaluators_of(data, job, second=job.second_evaluator),
        provenance=provenance() | {"device": _device_name(job.device)},
    )
    folder.write_record(record)
    return record


def _carry_out(job: TrialJob, base: Record, folder: RecordFolder, clock: Clock, run: TrainingRun) -> Record:
    data = open_data(job.data)
    card = job.family.card
    setting = split_setting(card, job.params)
    device = torch.device(job.device)
    split = split_named(job.split)
    conditional = card.fit(data.spec.kind, data.spec.condition.kind).condition != "none"
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    meter = Meter(device)
    with meter.running():
        trained = trained_model(job, setting, data, split, run, clock, conditional=conditional)
    model = trained.model
    base = _as_trained(base, trained)
    lines = "".join(json.dumps(entry) + "\n" for entry in run.history)
    write_atomically(folder.artifact("trials", base.name, "history.jsonl"), lines)

    asked = _asked(job, data, split)
    with meter.running(), clock.timing("sample"):
        condition = asked.condition if conditional else None
        generated = draw_samples(model, asked.n, condition, settings=setting.sample, seed=derive(job.seed, "samples"))
    check_samples(generated, asked.n, data)
    with clock.timing("measure"):
        spent = _spent(job, run, clock, _counted(job, trained))
        operations = spent.operations
        context = _context(job, data, model, generated, asked, conditional=conditional)
        if trained.fidelity == 1.0:  # an early model may look like an untrained network, and its score is still useful
            _check_diversity(context.blocks[0])
        cost = partial(
            cost_report,
            model,
            run,
            sample_seconds=clock.seconds["sample"],
            samples=len(generated),
            operations=operations.get("train", 0.0) + operations.get("sample", 0.0),
            per_sample=operations.get("sample", 0.0) / len(generated),
            energy=meter.joules,
        )
        # The likelihoods come first: they are part of the memory that a trial takes.
        context = replace(_with_likelihoods(job, context), cost=cost())
        record = _measure(job, replace(base, operations=operations), context)
        if job.keep_samples:
            write_shown(folder, base.name, context.blocks[0], maker=base.family)
        if job.keep_model:
            seed = job.seed if job.training_seed is None else job.training_seed
            card_of_model = ModelCard(card.name, job.data, data.fingerprint, dict(job.params), seed)
            save_model(folder.artifact("models", base.name), model, card_of_model)
        if job.role == "final" and job.number == 0 and not job.lean:
            _write_details(job, base.name, folder, context.blocks[0], setting)
    record = replace(record, cost=_charge(job, spent))
    if trained.stopped is not None:
        share = f"{trained.fidelity:g}".removeprefix("0")
        record = replace(record, state="stopped", reason=f"stopped at {share} of a training: {trained.stopped}")
    return record


@dataclass(frozen=True)
class _Asked:
    """How many samples a job draws, what they are asked for, and how many real examples they are compared with.

    rows, classes: as `ScoringContext.asked` and `classes`.
    """

    n: int
    condition: torch.Tensor | None
    rows: torch.Tensor | None
    classes: torch.Tensor | None
    real_count: int | None = None


def _asked(job: TrialJob, data: DataSet, split: Split) -> _Asked:
    n = len(reference_batch(data, split)) if job.samples is None else job.samples
    rows = asked_rows(data, split, n)
    shown = None if rows is None or data.source_labels is None else data.source_labels[split][rows]
    if job.samples is None:
        return _Asked(n, asked_conditions(data, split, n), rows, shown)
    conditions = asked_conditions(data, split, n, seed=derive(job.seed, "conditions"))
    return _Asked(n, conditions, rows, shown, real_examples(data, split))


def _context(
    job: TrialJob, data: DataSet, model: GenerativeModel, generated: Batch, asked: _Asked, *, conditional: bool
) -> ScoringContext:
    """The context of a job's samples, through the primary evaluator."""
    return ScoringContext(
        data,
        split_named(job.split),
        generated,
        evaluators_by_role(data, job.cache, job.evaluators).get("primary"),
        Path(job.cache),
        asked.real_count,
        model=model,
        asked=asked.rows if conditional else None,
        classes=asked.classes if conditional else None,
    )


def _write_details(
    job: TrialJob, name: str, folder: RecordFolder, context: ScoringContext, setting: SettingByRole
) -> None:
    """Writes the artifacts of a first finalist; they look at as many samples as real examples."""
    card, data, model = job.family.card, context.data, context.model
    assert model is not None
    write_sample_details(folder, name, card, context, setting.sample, seed=derive(job.seed, "guidance"))
    write_outliers(folder, name, context, partial(retrained_on_part, job, setting) if job.thorough else None)
    write_completions(folder, name, card, data, model, context.generated)
    write_text_samples(folder, name, card.name, context, setting.sample, seed=derive(job.seed, "texts"))


def _as_trained(base: Record, trained: Trained) -> Record:
    """The record with the results of the training."""
    return replace(
        base,
        training=trained.training,
        fidelity=trained.fidelity,
        curve=tuple({"fidelity": p.fidelity, "objectives": p.values} for p in trained.points),
    )


def _counted(job: TrialJob, trained: Trained) -> dict[str, float]:
    """The counted operations that were carried out: a stopped trial has done a part of the planned ones."""
    if job.stopping is None:
        return {**job.operations}
    goal, begun, scores = job.fidelity, job.stopping.begun, len(shares_between(job.stopping.begun, job.fidelity)) + 1
    # A kept run may have had all of its training.
    done = (trained.fidelity - begun) / (goal - begun) if goal > begun else 1.0
    shares = {"train": done, "score": len(trained.points) / scores}
    return {part: shares.get(part, 1.0) * count for part, count in job.operations.items()}


def _charge(job: TrialJob, spent: Spent) -> float:
    """What the trial costs. Raises TrialError for a family whose cost cannot be determined."""
    try:
        return job.budget.charge(job.cost, spent)
    except UnpricedError as error:
        raise TrialError(f"{job.family.card.name} {error}") from error


def _spent(job: TrialJob, run: TrainingRun, clock: Clock, counted: Mapping[str, float] | None) -> Spent:
    """What the job's budget charges for; `counted` is None for a trial that failed."""
    return Spent(
        planned=job.operations,
        counted=counted,
        fitted=run.fit_operations,
        training=run.seconds,
        paid=job.paid,
        sampling=clock.seconds.get("sample", 0.0),
        scoring=clock.seconds.get("score", 0.0),
    )


def _scope(job: TrialJob) -> Scope:
    """Which metrics a job measures."""
    return "named" if job.lean else "all" if job.split == "test" else "quick"


def _with_likelihoods(job: TrialJob, context: ScoringContext) -> ScoringContext:
    """The context with the likelihoods of held-out examples that the job's metrics need."""
    assert context.model is not None
    labels = labels_of_likelihood(
        _scope(job),
        objective=job.objective,
        measured=job.measured,
        takes_labels=context.generated.labels is not None,
    )
    held_out = None
    if labels is not None:
        examples = held_out_examples(context.data, context.split)
        seed = derive(job.seed, "likelihood")
        held_out = held_out_likelihood(context.model, context.data, examples, labels=labels, seed=seed)
    return replace(context, features=context.generated_features, held_out=held_out)


def _measure(job: TrialJob, base: Record, context: ScoringContext) -> Record:
    """The record with the scores through the job's evaluators. Raises TrialError where the objective is not defined.

    context: the samples through the primary evaluator, their model, likelihoods and cost.
    """
    scope, held_out = _scope(job), context.held_out
    first = score(context, metric_names(scope, named=(*job.objective, *job.measured)))
    second = None
    evaluator = evaluators_by_role(context.data, job.cache, job.evaluators).get("second")
    if job.second_evaluator and evaluator is not None:
        names = metric_names(scope, named=job.objective, through_evaluator=True)
        second = score(replace(context, evaluator=evaluator, features=None), names)
    record = with_scores(replace(base, samples=len(context.generated)), first, second)
    if held_out is not None:
        given = {"given": context.data.spec.condition.kind} if held_out.given else {}
        own = {"classes": "own"} if held_out.labels == "own" else {}
        found = held_out.likelihood
        record = replace(record, likelihood={"kind": str(found.kind), "samples": found.samples, **given, **own})
    missing = [name for name in job.objective if name not in first.values]
    if missing:
        raise TrialError(f"{missing[0]} is not defined: {first.undefined.get(missing[0], 'unknown metric')}")
    measured = {name: first.values[name] for name in job.objective}
    return replace(
        record,
        state="complete",
        objectives=tuple(value.value for value in measured.values()),
        errors=tuple(METRICS[name].error_between_models(value) for name, value in measured.items()),
    )


def _check_diversity(context: ScoringContext) -> None:
    """Raises TrialError where the samples have collapsed, as the primary evaluator sees them."""
    drawn, real = context.generated_features, context.reference_features
    if drawn is None or real is None:
        return
    labels = (context.generated.labels, context.reference.labels)
    images = context.data.spec.kind == "image"
    found = diversity(drawn.features, real.features, *labels, images=images)
    if found is None or found.collapsed is None:
        return
    train = reference_batch(context.data, "train", min(MOST, len(context.data.splits["train"]))).x
    if not (images and varied_by_value(context.generated.x, context.reference.x, train)):
        raise TrialError(f"collapsed: {found.collapsed}")


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)  # the CPU allocator's words


def _log_failure(folder: RecordFolder, name: str) -> None:
    write_atomically(folder.log_path / f"{name}.txt", traceback.format_exc())


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
