"""Trains the model of a trial, or restores a kept one; a stopping rule may end the training early."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from ...models.base import GenerativeModel
from ..budget.time_limit import time_limit
from ..data import DataSet, Split, open_data
from ..proposal import Point
from ..protocol import shares_between
from ..seeds import derive
from ..training.cache import TrainingCache, cache_limit, state_name
from ..training.checkpoints import KeptTraining
from ..training.key import TrainingKey
from ..training.loop import TrainingRun, plan, train
from ..training.setting import SettingByRole, build_model
from .intermediate_scores import intermediate_score
from .jobs import Limits, TrialJob

TellProgress = Callable[[float], None]  # takes the share of the training that is done
TellPart = Callable[[str], None]  # takes the part of the trial that begins, as `Record.seconds` names it
_DOES = {
    "train": "ten steps of the training, or its fit,",
    "sample": "sampling",
    "score": "an intermediate score",
    "measure": "scoring",
}


class Clock:
    """Seconds by part of the trial, failed parts included, and the limit of each part.

    on_progress, on_part: see `run_trial`.
    """

    def __init__(
        self,
        device: torch.device,
        limits: Limits,
        on_progress: TellProgress | None = None,
        on_part: TellPart | None = None,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._device, self._limits = device, limits
        self._on_progress, self._on_part = on_progress, on_part

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Counts what runs inside as a part; a part may come several times. Raises TookTooLongError past its limit."""
        self._enter(part)
        start = self._now()
        try:
            with self._limit(part):
                yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + self._now() - start

    @contextmanager
    def training(self) -> Iterator[TellProgress]:
        """Limits what the training inside takes between two calls of the function that it gives, which take the share
        of the training that is done. Raises TookTooLongError."""
        self._enter("train")
        with self._limit("train") as begin_again:

            def progress(share: float) -> None:
                begin_again()
                if self._on_progress is not None:
                    self._on_progress(share)

            yield progress

    def _enter(self, part: str) -> None:
        if self._on_part is not None:
            self._on_part(part)

    def _limit(self, part: str) -> AbstractContextManager[Callable[[], None]]:
        return time_limit(self._limits.of(part), _DOES[part])

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
) -> Trained:
    """Trains the job's model to its fidelity, or to where its rule stops it; `run` and `clock` are filled in.

    With a rule the training goes from one intermediate score to the next, each part restored from the state that the
    part before has kept: a training that an earlier trial completed is scored at the same points as a new one.
    """
    rule = job.stopping
    if rule is None:
        with clock.training() as progress:
            return _train(job, setting, data, run, job.fidelity, on_progress=progress)
    points: list[Point] = []
    for fidelity in (*shares_between(rule.begun, job.fidelity), job.fidelity):
        scored = clock.seconds.get("score", 0.0)
        with clock.training() as progress:
            tell = partial(_tell_part, progress, fidelity / job.fidelity)
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
    seed = derive(job.seed, "anew")
    model = build_model(job.family.load(), data.spec, setting.train, seed).to(torch.device(job.device))
    train(
        model,
        data.splits["train"].to(torch.device(job.device)),
        setting.loop,
        steps=job.family.full_steps(open_data(job.data).spec),
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
    on_progress: TellProgress,
) -> Trained:
    """A model trained to a fidelity from the beginning, or from its kept state; `scored` seconds of the job's allowance
    went into scores on the way."""
    device = torch.device(job.device)
    seed = job.seed if job.training_seed is None else job.training_seed
    model = build_model(job.family.load(), data.spec, setting.train, seed).to(device)
    steps = job.family.full_steps(data.spec)
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
