"""One trial from a proposal to a record: train, sample, measure, write down."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..models.base import Batch, GenerativeModel
from ..models.data_spec import DataSpec
from ..search_spaces import FamilyCard
from . import registry
from .checkpoints import KeptTraining, ModelCard, save_model
from .collapse import diversity
from .data import DataSet, Split
from .data import load as load_data
from .energy import Meter
from .evaluators import Features, load_or_train
from .files import write_atomically
from .finals import write_extras
from .jobs import EvaluatorJob, FloorJob, Job, TrialJob
from .measurement import evaluator_pair, likelihood_of, reference_batch, reference_for, sample_like, score
from .metrics import CostReport, Measurement, MetricValue
from .pictures import write_samples
from .provenance import provenance
from .records import Figure, Record, State
from .seeds import derive
from .storage import RunFolder
from .training import DeadlineError, DivergedError, LoopSettings, TrainingRun, plan, train
from .training_cache import TrainingCache, cache_limit, state_name
from .training_key import TrainingKey

Progress = Callable[[float], None]


class TrialError(RuntimeError):
    """A setting that does not lead to a score; the message is the record's reason."""


@dataclass(frozen=True)
class Setting:
    """A setting taken apart by who uses it: the constructor, `sample`, the training loop, and the end of a training.

    average: half-life of the weights' average with which a training ends.
    """

    train: dict[str, Any]
    sample: dict[str, Any]
    loop: LoopSettings
    average: float


def split_setting(card: FamilyCard, params: Mapping[str, Any]) -> Setting:
    """A setting by role; what the space does not search stays at the family's default."""
    by_role: dict[str, dict[str, Any]] = {"train": {}, "sample": {}}
    by_role |= {"loop": card.loop.only("loop").default(), "average": card.loop.only("average").default()}
    for name, value in params.items():
        by_role[card.space[name].role][name] = value
    loop = LoopSettings(**by_role["loop"], averages=card.averaged)
    return Setting(by_role["train"], by_role["sample"], loop, by_role["average"]["ema_half_life"])


def build_model(
    family: type[GenerativeModel], spec: DataSpec, arguments: Mapping[str, Any], seed: int
) -> GenerativeModel:
    """A fresh model; its initial weights are drawn on the CPU, so that they are the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "weights"))
        return family(spec, **arguments)


def run_job(job: Job, on_progress: Progress | None = None) -> Record | None:
    """Does a job in this process and returns the record that it has written (evaluators leave none)."""
    if isinstance(job, EvaluatorJob):
        load_or_train(load_data(job.data), job.evaluator, cache=Path(job.cache))
        return None
    return run_floor(job) if isinstance(job, FloorJob) else run_trial(job, on_progress)


def run_trial(job: TrialJob, on_progress: Progress | None = None) -> Record:
    """Carries a trial out. Whatever the setting does wrong becomes a failed record, never an exception."""
    for plugin in job.plugins:
        registry.load_plugin(plugin)
    base = job.record(started=_now())
    folder = RunFolder(job.folder)
    clock = _Clock(torch.device(job.device))
    run = TrainingRun()
    try:
        record = _carry_out(job, base, folder, clock, run, on_progress)
    except (DivergedError, DeadlineError, TrialError) as error:
        state: State = "stopped" if isinstance(error, DeadlineError) else "failed"
        prefix = "diverged: " if isinstance(error, DivergedError) else ""
        record = replace(base, state=state, reason=f"{prefix}{error}")
    except Exception as error:  # noqa: BLE001 - a family may fail in any way; the study goes on and the log tells
        _log_failure(folder, base.name)
        reason = "out of memory" if _is_out_of_memory(error) else f"{type(error).__name__}: {error}"
        if job.device.startswith("cuda"):
            torch.cuda.empty_cache()  # what the failed model held is the next trial's
        record = replace(base, reason=" ".join(reason.split())[:500])
    if job.budget == "seconds":
        charged = max(0.0, run.seconds - job.paid)  # the same whatever the cache holds
        record = replace(record, cost=charged + clock.seconds.get("sample", 0.0))
    data = load_data(job.data)
    record = replace(
        record,
        seconds={"train": run.seconds_now, "kept": run.seconds_kept, **clock.seconds},
        finished=_now(),
        data={"name": data.spec.name, "fingerprint": data.fingerprint},
        evaluators=_evaluators(job.data, job.cache, job.second_evaluator),
        provenance=provenance() | {"device": _device_name(job.device)},
    )
    folder.write_record(record)
    return record


def run_floor(job: FloorJob) -> Record:
    """Scores real examples of `against` as if they were samples: what a perfect model could reach."""
    data = load_data(job.data)
    started = _now()
    split, against = _split(job.split), _split(job.against)
    count = min(len(reference_batch(data, split)), len(reference_batch(data, against)))
    real = reference_batch(data, against, count)
    thorough = split == "test"
    first, second = (
        score(data, split, real, cache=job.cache, second=number == 1, thorough=thorough) for number in range(2)
    )
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
        finished=_now(),
        data={"name": data.spec.name, "fingerprint": data.fingerprint},
        evaluators=_evaluators(job.data, job.cache, True),
        provenance=provenance() | {"device": "cpu"},
    )
    record = _with_scores(record, first, second)
    RunFolder(job.folder).write_record(record)
    return record


def _carry_out(
    job: TrialJob, base: Record, folder: RunFolder, clock: _Clock, run: TrainingRun, on_progress: Progress | None
) -> Record:
    data = load_data(job.data)
    family = registry.family(job.family)
    card = family.require_card()
    setting = split_setting(card, job.params)
    device = torch.device(job.device)
    seed = job.seed if job.training_seed is None else job.training_seed
    model = build_model(family.load(), data.spec, setting.train, seed).to(device)
    steps = card.full_steps(data.spec.name, data.spec.kind)
    base, kept = _kept_training(job, base, model, setting, data, steps=steps, seed=seed)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    meter = Meter(device)
    with meter.running():
        train(
            model,
            data.splits["train"].to(device),
            setting.loop,
            steps=steps,
            seed=derive(seed, "training"),
            fidelity=job.fidelity,
            average=setting.average,
            kept=kept,
            deadline=None if job.deadline is None else time.monotonic() + job.deadline + job.paid,
            on_progress=on_progress,
            run=run,
        )
    lines = "".join(json.dumps(entry) + "\n" for entry in run.history)
    write_atomically(folder.artifact("trials", base.name, "history.jsonl"), lines)

    split = _split(job.split)
    reference = reference_batch(data, split)
    conditional = card.conditional == "label" and data.spec.condition == "label"
    with meter.running(), clock.timing("sample"):
        generated = sample_like(
            model, reference, conditional=conditional, settings=setting.sample, seed=derive(job.seed, "samples")
        )
    _check_samples(generated, len(reference), data)
    with clock.timing("measure"):
        operations = {**job.operations}
        if run.fit_operations:
            operations["train"] = operations.get("train", 0.0) + run.fit_operations
        record = _measure(job, base, data, split, model, generated, operations, clock, run, meter)
        if job.keep_samples:
            write_samples(folder.artifact("samples"), base.name, generated, data.spec, maker=base.family)
        if job.keep_model:
            card_of_model = ModelCard(job.family, job.data, data.fingerprint, dict(job.params), seed)
            save_model(folder.artifact("models", base.name), model, card_of_model)
        if job.role == "final" and job.number == 0:
            write_extras(
                folder,
                base.name,
                card,
                data,
                model,
                generated,
                setting.sample,
                cache=job.cache,
                seed=derive(job.seed, "guidance"),
            )
    if job.budget == "flops" and not job.cost:  # trained by `fit`: known only now
        if not run.fit_operations:
            raise TrialError(f"{job.family} does not count the operations of its fit; use --trainings or --seconds")
        record = replace(record, cost=sum(operations.values()))
    return record


def _kept_training(
    job: TrialJob, base: Record, model: GenerativeModel, setting: Setting, data: DataSet, *, steps: int, seed: int
) -> tuple[Record, KeptTraining | None]:
    """The record with its training's name, and where that training is kept; None where nothing is."""
    card = registry.family(job.family).require_card()
    key = TrainingKey.of(card, type(model), setting.train, setting.loop, data, seed=seed, device=model.device)
    if key is None:
        return base, None
    planned = plan(model.stages(), steps, job.fidelity)
    keys = key.of_stages(model, planned, setting.average)
    named = replace(base, training=state_name(keys[-1], planned[-1].until))
    if not job.cache or not cache_limit():
        return named, None
    return named, KeptTraining(TrainingCache(Path(job.cache)), keys, family=card.name, data=data.spec.name)


def _measure(
    job: TrialJob,
    base: Record,
    data: DataSet,
    split: Split,
    model: GenerativeModel,
    generated: Batch,
    operations: dict[str, float],
    clock: _Clock,
    run: TrainingRun,
    meter: Meter,
) -> Record:
    seen = evaluator_pair(data.spec.name, job.cache)[0].describe(generated.x)
    _check_diversity(seen, generated, data, split, job.cache)
    likelihood, examples = likelihood_of(model, data.splits[split], seed=derive(job.seed, "likelihood"))
    trained = sum(p.numel() for p in model.parameters()) or sum(b.numel() for b in model.buffers())
    device = model.device
    peak = max(run.peak_memory or 0.0, torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
    cost = CostReport(
        train_seconds=run.seconds,
        sample_seconds=clock.seconds["sample"],
        samples=len(generated),
        parameters=trained,
        peak_memory=peak,
        operations=sum(operations.values()),
        energy=None if run.seconds_kept else meter.joules,  # what kept parts drew is not known
    )
    record = replace(base, samples=len(generated), operations=operations)
    scoring = partial(
        score,
        data,
        split,
        generated,
        cache=job.cache,
        wanted=job.objective,
        thorough=split == "test",
        model=model,
        conditional=generated.condition is not None,
    )
    first = scoring(second=False, seen=seen, likelihood=likelihood, examples=examples, cost=cost)
    second = scoring(second=True) if job.second_evaluator else None
    record = _with_scores(record, first, second)
    if likelihood is not None:
        record = replace(record, likelihood={"kind": str(likelihood.kind), "samples": likelihood.samples})
    missing = [name for name in job.objective if name not in first.values]
    if missing:
        raise TrialError(f"{missing[0]} is not defined: {first.undefined.get(missing[0], 'unknown metric')}")
    return replace(record, state="complete", objectives=tuple(first.values[name].value for name in job.objective))


def _with_scores(record: Record, first: Measurement, second: Measurement | None) -> Record:
    record = replace(record, metrics=_figures(first.values), undefined=dict(first.undefined))
    if second is None:
        return record
    return replace(record, second_metrics=_figures(second.values), second_undefined=dict(second.undefined))


def _figures(values: Mapping[str, MetricValue]) -> dict[str, Figure]:
    return {name: {"value": v.value, "low": v.low, "high": v.high} for name, v in values.items()}


def _check_samples(generated: Batch, count: int, data: DataSet) -> None:
    if tuple(generated.x.shape) != (count, *data.spec.shape):
        raise TrialError(f"samples have shape {tuple(generated.x.shape)}; wanted {(count, *data.spec.shape)}")
    if generated.x.is_floating_point() and not torch.isfinite(generated.x).all():
        raise DivergedError("samples are not finite")


def _check_diversity(seen: Features, generated: Batch, data: DataSet, split: Split, cache: str) -> None:
    """Raises TrialError where the samples have collapsed, as the primary evaluator sees them."""
    real = reference_for(data.spec.name, cache, split, False, len(generated))
    labels = (generated.condition, real.batch.condition)
    found = diversity(seen.features, real.features.features, *labels, images=data.spec.kind == "image")
    if found is not None and found.collapsed is not None:
        raise TrialError(f"collapsed: {found.collapsed}")


def _evaluators(data: str, cache: str, second: bool) -> dict[str, dict[str, Any]]:
    pair = evaluator_pair(data, cache)
    roles = ("primary", "second") if second else ("primary",)
    return {role: {"name": e.name, "fingerprint": e.fingerprint} for role, e in zip(roles, pair, strict=False)}


def _split(name: str) -> Split:
    assert name in ("train", "validation", "test"), name
    return name  # type: ignore[return-value]


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)  # the CPU allocator's words


def _log_failure(folder: RunFolder, name: str) -> None:
    write_atomically(folder.log_path / f"{name}.txt", traceback.format_exc())


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Clock:
    """Seconds by part of the trial; a part that fails is counted too."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        start = self._now()
        try:
            yield
        finally:
            self.seconds[part] = self._now() - start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
