"""Trains the model of a trial, or restores a kept one; a stopping rule may end the training early."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from ...models.base import GenerativeModel
from ..data import DataSet, Split, describe_data
from ..proposal import Point
from ..protocol import shares_between
from ..seeds import derive
from ..training.cache import TrainingCache, cache_limit, state_name
from ..training.checkpoints import KeptTraining
from ..training.key import TrainingKey
from ..training.loop import TrainingRun, plan, train
from ..training.setting import SettingByRole, build_model
from .intermediate_scores import intermediate_score
from .jobs import TrialJob

TellProgress = Callable[[float], None]


class Clock:
    """Seconds by part of the trial, failed parts included."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Counts what runs inside as a part; a part may come several times."""
        start = self._now()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + self._now() - start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


@dataclass
class Trained:
    """A trained model and how it came about.

    training: the name of the kept state; "" where its class is in no file. fidelity: the share of a full training that
    it has had. points: intermediate scores. stopped: why it was stopped before the job's fidelity; None where not.
    """

    model: GenerativeModel
    training: str
    fidelity: float
    points: list[Point] = field(default_factory=list)
    stopped: str | None = None


def trained_model(
    job: TrialJob,
    setting: SettingByRole,
    data: DataSet,
    split: Split,
    run: TrainingRun,
    clock: Clock,
    *,
    conditional: bool,
    on_progress: TellProgress | None,
) -> Trained:
    """Trains the job's model to its fidelity, or to where its rule stops it; `run` and `clock` are filled in.

    With a rule the training goes from one intermediate score to the next, each part restored from the state that the
    part before has kept: a training that an earlier trial completed is scored at the same points as a new one.
    """
    rule = job.stopping
    if rule is None:
        return _train(job, setting, data, run, job.fidelity, on_progress=on_progress)
    points: list[Point] = []
    for fidelity in (*shares_between(rule.begun, job.fidelity), job.fidelity):
        tell = None if on_progress is None else partial(_tell_part, on_progress, fidelity / job.fidelity)
        scored = clock.seconds.get("score", 0.0)
        trained = _train(job, setting, data, run, fidelity, scored=scored, on_progress=tell)
        with clock.timing("score"):
            points.append(
                intermediate_score(
                    job, data, split, trained.model, fidelity, run, settings=setting.sample, conditional=conditional
                )
            )
        if fidelity < job.fidelity:
            with clock.timing("measure"):  # the decision is charged to no budget
                trained.stopped = rule.reason_to_stop(job.params, points, derive(job.seed, "stopping", len(points)))
            if trained.stopped is not None:
                break
    trained.points = points
    return trained


def retrained_on_part(job: TrialJob, setting: SettingByRole, data: DataSet) -> GenerativeModel:
    """The job's setting retrained on a part of its data, for the full number of steps, uncharged and not kept."""
    whole = describe_data(job.data)
    seed = derive(job.seed, "anew")
    model = build_model(job.family.load(), data.spec, setting.train, seed).to(torch.device(job.device))
    train(
        model,
        data.splits["train"].to(torch.device(job.device)),
        setting.loop,
        steps=job.family.card.full_steps(whole.name, whole.kind),
        seed=derive(seed, "training"),
        average=setting.average,
    )
    return model


def _tell_part(tell: TellProgress, share: float, done: float) -> None:
    tell(share * done)


def _train(
    job: TrialJob,
    setting: SettingByRole,
    data: DataSet,
    run: TrainingRun,
    fidelity: float,
    *,
    scored: float = 0.0,
    on_progress: TellProgress | None,
) -> Trained:
    """A model trained to a fidelity from the beginning, or from its kept state; `scored` seconds of the job's allowance
    went into scores on the way."""
    device = torch.device(job.device)
    seed = job.seed if job.training_seed is None else job.training_seed
    model = build_model(job.family.load(), data.spec, setting.train, seed).to(device)
    steps = job.family.card.full_steps(data.spec.name, data.spec.kind)
    name, kept = _kept_training(job, model, setting, data, steps=steps, seed=seed, fidelity=fidelity)
    train(
        model,
        data.splits["train"].to(device),
        setting.loop,
        steps=steps,
        seed=derive(seed, "training"),
        fidelity=fidelity,
        average=setting.average,
        kept=kept,
        # An allowance of training seconds, less those already taken.
        deadline=None if job.deadline is None else time.monotonic() + job.deadline + job.paid - scored,
        on_progress=on_progress,
        run=run,
    )
    return Trained(model, name, fidelity)


def _kept_training(
    job: TrialJob,
    model: GenerativeModel,
    setting: SettingByRole,
    data: DataSet,
    *,
    steps: int,
    seed: int,
    fidelity: float,
) -> tuple[str, KeptTraining | None]:
    """The training's name, and where it is kept; "" for a class without a source, None where nothing is kept."""
    card = job.family.card
    key = TrainingKey.of(card, type(model), setting.train, setting.loop, data, seed=seed, device=model.device)
    if key is None:
        return "", None
    planned = plan(model.stages(), steps, fidelity)
    keys = key.of_stages(model, planned, setting.average)
    name = state_name(keys[-1], planned[-1].until)
    if not job.cache or not cache_limit():
        return name, None
    return name, KeptTraining(TrainingCache(Path(job.cache)), keys, family=card.name, data=data.spec.name)
