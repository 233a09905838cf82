"""How long a family's default setting takes on this machine: a few steps and samples of it, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from ...models.base import Batch, GenerativeModel
from .. import protocol
from ..data import DataSet
from ..data.examples import Examples
from ..registry import ResolvedFamily
from ..training.loop import LoopSettings, StageTraining
from ..training.setting import build_model, split_setting
from ..training.torch_start import load_all_of_torch
from .time_limit import TookTooLongError, time_limit

PATIENCE = 20.0  # seconds within which a family has to be measured
_ENOUGH = 0.25  # seconds of steps that are measured, unless there are enough of them
_STEPS, _FIRST_SAMPLES, _SAMPLES = 5, 2, 64
_SAMPLING = 3.0  # seconds that the larger number of samples may take, if each took as long as the first ones
_POINTS, _TIMES, _POINTS_TAKE = 500, 5, 0.015  # of the work that tells a machine's pace, and its seconds
_FIT_EXAMPLES = 2_000  # on which a `fit` is measured; it is taken to grow with their number
_HORIZON = 100  # the least that steps are taken of: schedules have to have room for those that are measured


@dataclass(frozen=True)
class Pace:
    """Seconds of the default setting.

    training: of a full training. longest: of its longest step, or its longest `fit`. sample: of one sample. None where
    it could not be measured; `unmeasured` says why. likelihood: of an example's likelihood under one label or none; 0
    without one. labels: how many labels finals ask for it.
    """

    training: float | None = None
    longest: float | None = None
    sample: float | None = None
    unmeasured: str | None = None
    likelihood: float = 0.0
    labels: int = 1


def measure_pace(family: ResolvedFamily, data: DataSet, params: Mapping[str, Any], *, device: str = "cpu") -> Pace:
    """Trains a setting a few steps and draws a few samples, on a device; what fails is told, and raises nothing."""
    card, setting, at = family.card, split_setting(family.card, params), torch.device(device)
    conditional = card.fit(data.spec.kind, data.spec.condition.kind).condition != "none"
    training = longest = None
    load_all_of_torch()
    try:
        with time_limit(PATIENCE, "a few steps and samples"), torch.random.fork_rng(devices=[]):
            model = build_model(family.load(), data.spec, setting.train, 0).to(at)
            examples = data.splits["train"]
            steps = family.full_steps(data.spec)
            training, longest = _measure_training(model, examples, setting.loop, steps)
            condition = examples[: min(_SAMPLES, len(examples))].condition if conditional else None
            sample = _measure_sampling(model, condition, setting.sample)
    except TookTooLongError as error:
        return Pace(training, longest, unmeasured=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a family's own code may raise; its trials will say so
        return Pace(training, longest, unmeasured=f"{type(error).__name__}: {error}")
    labels = data.spec.classes if conditional and data.spec.classes else 1
    likelihood = _measure_likelihood(model, examples[: min(_SAMPLES, len(examples))], conditional=conditional)
    return Pace(training, longest, sample, likelihood=likelihood, labels=labels)


def machine_pace() -> float:
    """Seconds of a fixed piece of work, the kind that scoring consists of, by those of the machine on which the first
    guesses of scoring were measured (one core of 2026)."""
    import numpy as np

    points = np.random.default_rng(0).normal(size=(_POINTS, 16))
    taken = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        squares = (points**2).sum(1)
        np.sort(squares[:, None] + squares[None] - 2 * points @ points.T, axis=1)
        taken.append(time.perf_counter() - began)
    return sum(taken) / len(taken) / _POINTS_TAKE


def _measure_likelihood(model: GenerativeModel, batch: Batch, *, conditional: bool) -> float:
    """Seconds of an example's likelihood; 0 where there is none, or it fails or hangs, as trials will tell."""
    compute: Callable[[Batch], object] | None = getattr(model, "log_likelihood", None)
    if compute is None:
        return 0.0
    rows = (batch if conditional else Batch(batch.x)).to(model.device)
    try:
        with time_limit(PATIENCE, "likelihoods"), torch.random.fork_rng(devices=[]), torch.no_grad():
            model.eval().evaluation_seed = 0
            few = rows[: min(_FIRST_SAMPLES, len(rows))]
            compute(few)  # the first ones take longer
            return _timed(lambda: compute(rows), model) / len(rows)
    except (TookTooLongError, Exception):  # noqa: BLE001 - whatever a family's own code may raise
        return 0.0


def _measure_training(
    model: GenerativeModel, examples: Examples, loop: LoopSettings, steps: int
) -> tuple[float, float]:
    """Seconds of all stages, and of the longest step or `fit`."""
    total = longest = 0.0
    for stage in model.stages():
        if stage.fit is not None:
            few = examples[:_FIT_EXAMPLES].to(model.device)
            fit, generator = stage.fit, torch.Generator(model.device).manual_seed(0)
            seconds = _timed(lambda: fit(few, generator), model) * max(1.0, len(examples) / _FIT_EXAMPLES)  # noqa: B023
            total, longest = total + seconds, max(longest, seconds)
            continue
        horizon = max(1, round(stage.share * steps))
        training = StageTraining(model, stage, examples.to(model.device), loop, horizon=max(horizon, _HORIZON), seed=0)
        for share, end in zip(stage.parts, accumulate(stage.parts), strict=True):
            training.step = int(max(horizon, _HORIZON) * (end - share / 2))
            _advance(training)  # the first step of a kind takes longer
            taken, seconds = 0, 0.0
            while taken < _STEPS and seconds < _ENOUGH:
                seconds += _timed(lambda: _advance(training), model)  # noqa: B023
                taken += 1
            total += share * horizon * seconds / taken
            longest = max(longest, seconds / taken)
    return total, longest


def _advance(training: StageTraining) -> None:
    for _ in training.advance(training.step + 1):
        pass


def _measure_sampling(model: GenerativeModel, condition: torch.Tensor | None, settings: Mapping[str, Any]) -> float:
    """Seconds of a sample in a chunk of them, by a line through two counts: few take hardly longer than one."""
    model.eval()

    def draw(n: int) -> float:
        asked = None if condition is None else condition[:n].to(model.device)
        generator = torch.Generator(model.device).manual_seed(0)
        with torch.no_grad():
            return _timed(lambda: model.sample(n, condition=asked, generator=generator, **settings), model)

    few = _FIRST_SAMPLES
    draw(few)  # the first ones take longer
    first = draw(few)
    most = _SAMPLES if condition is None else len(condition)
    many = min(most, int(few * _SAMPLING / first)) if first > 0 else most
    if many <= few:
        return first / few
    second = draw(many)
    slope = (second - first) / (many - few)
    if slope <= 0:
        return second / many
    return slope + max(first - few * slope, 0.0) / protocol.CHUNK


def _timed(work: Callable[[], object], model: GenerativeModel) -> float:
    """Seconds that a piece of work takes on the model's device."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    began = time.perf_counter()
    work()
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter() - began
