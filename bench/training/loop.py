"""The training loop of all families.

It owns batch size, EMA, clipping, precision, seeds, divergence and the horizon. All randomness of step s comes
from (seed, stage, s), so that a training that is resumed between two steps equals an unbroken one: its state
is weights, optimiser state and running averages, without the generators.

The half-life of the EMA is chosen at the end: along the way a few running averages are kept that any other can be
rebuilt from (`averages`), and so the training is the same whatever the half-life.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...models.base import Adam, Batch, Losses, Phase, Progress, Stage, Trainable
from ..data.examples import Examples
from ..seeds import derive
from .averages import ExponentialProfile, PowerAverages, coefficients, rebuild
from .fitting import FitTraining
from .state import PlannedStage, StateStore, TrainingRun, TrainingState, copy_of, furthest, plan, put_state, take_state
from .watch import DeadlineError, Watch

__all__ = [
    "DeadlineError",
    "DivergedError",
    "LoopSettings",
    "StageTraining",
    "TrainingRun",
    "plan",
    "train",
]

_CHECK_EVERY = 10  # steps between looks at the loss: each look waits for the device
_LOG_POINTS = 100  # lines of the learning curve
_AVERAGE = "average."  # begins the names of a state's tensors that are running averages


class DivergedError(RuntimeError):
    """A loss or a weight became NaN or infinite."""


@dataclass(frozen=True)
class LoopSettings:
    """What the loop owns; `search_spaces/training.toml` holds ranges and sources."""

    batch_size: int = 128
    gradient_clip: float = 100.0  # largest gradient norm of a phase
    precision: str = "float32"  # or "bfloat16"
    averages: bool = False  # whether running averages are kept, so that the training can end with any half-life


def train(
    model: Trainable,
    data: Examples | Batch,
    settings: LoopSettings,
    *,
    steps: int,
    seed: int,
    fidelity: float = 1.0,
    average: float = 0.0,
    kept: StateStore | None = None,
    deadline: float | None = None,
    on_progress: Callable[[float], None] | None = None,
    run: TrainingRun | None = None,
) -> TrainingRun:
    """Trains a fresh `model` in place on `data` (both on one device) over a full horizon of `steps`.

    fidelity: the share of the full training, in (0, 1]; schedules stay those of the full horizon.
    average: half-life of the exponential average of the weights with which every stage ends, as a share of its full
        horizon; 0: the last weights. More than 0 needs `settings.averages`.
    kept: where states are kept: the training continues from the latest one, and keeps one at the end of every
        stage. With a state of the last step nothing is trained.
    deadline: a `time.monotonic()` moment past which DeadlineError is raised. What is taken from `kept` counts with
        the seconds that it took when it was trained; waiting for another process that trains the same does not.
    on_progress: called now and then with the share of this call's training that is done.
    run: filled in during the training, for callers who want to know how far a failed one came.
    Raises DivergedError when a loss or weight stops being finite, ValueError for an impossible half-life.
    """
    if not 0.0 <= average < math.inf:
        raise ValueError(f"average is {average}; wanted a half-life of 0 or more")
    if average > 0.0 and not settings.averages:
        raise ValueError(f"average is {average}, but the settings keep no averages")
    run = TrainingRun() if run is None else run
    planned = plan(model.stages(), steps, fidelity)
    watch = Watch(run, planned, deadline, on_progress)
    initial = copy_of(model) if kept is not None and any(p.stage.depends_on is not None for p in planned) else None
    data = data if isinstance(data, Examples) else Examples.of(data)
    call = _Call(model, data.device, kept, initial, run, watch)
    with _own_randomness(data.device):
        first, state = furthest(kept, planned)
        for index, part in enumerate(planned):
            if index < first:
                if part.stage.phases:
                    model.progress = Progress(part.until, part.horizon)
                continue
            watch.enter(index)
            training = _begin(model, part, data, settings, seed)
            with _holding(kept, index, part, state, watch.waiting):
                call.advance(training, index, part, state)
            training.use_average(average)
            state = None
    _check_weights(model)
    model.eval()
    return run


@dataclass(frozen=True)
class _Call:
    """One call of `train`. initial: the model's tensors before it, where a stage names the settings it depends on."""

    model: Trainable
    device: torch.device
    kept: StateStore | None
    initial: Mapping[str, Tensor] | None
    run: TrainingRun
    watch: Watch

    def advance(
        self, training: StageTraining | FitTraining, index: int, part: PlannedStage, state: TrainingState | None
    ) -> None:
        """Trains stage `index` as far as planned, from `state` or a later one that is kept; keeps what it reaches."""
        if self.kept is not None:  # another process may have trained it by now
            state = self.kept.newest(index, part.until, 0 if state is None else state.step) or state
        if state is not None:
            put_state(state, self.model, self.run)
            training.restore(state)
            self.watch.check(training.step)
        reached = training.step
        with self.watch.counting() if reached < part.until else nullcontext():
            for step in training.advance(part.until):
                self.watch.check(step)
        training.report(self.run, since=reached)
        if self.device.type == "cuda":
            peak = float(torch.cuda.max_memory_allocated(self.device))
            self.run.peak_memory = max(self.run.peak_memory or 0.0, peak)
        if self.kept is not None and training.step > reached:
            before = None if part.stage.depends_on is None else self.initial
            new = take_state(training.step, self.model, before, training.tensors(), self.run)
            if new is not None:
                self.kept.keep(index, new)


def _begin(
    model: Trainable, part: PlannedStage, data: Examples, settings: LoopSettings, seed: int
) -> StageTraining | FitTraining:
    stage_seed = derive(seed, part.stage.name)
    if part.stage.fit is not None:
        return FitTraining(part.stage, data, seed=stage_seed)
    return StageTraining(model, part.stage, data, settings, horizon=part.horizon, seed=stage_seed)


@contextmanager
def _holding(
    kept: StateStore | None, index: int, part: PlannedStage, state: TrainingState | None, waiting: Callable[[], None]
) -> Iterator[None]:
    """Holds a stage that has something left to train."""
    if kept is None or (state is not None and state.step == part.until):
        yield
        return
    with kept.holding(index, waiting):
        yield


class StageTraining:
    """The training of one stage, advanced step by step; everything it holds is determined by its step."""

    def __init__(
        self, model: Trainable, stage: Stage, data: Examples, settings: LoopSettings, *, horizon: int, seed: int
    ) -> None:
        self.model = model
        self.stage = stage
        self.data = data
        self.settings = settings
        self.horizon = horizon
        self.seed = seed
        self.step = 0
        self.history: list[dict[str, float | int | str]] = []
        self._optimisers = [_optimiser(phase) for phase in stage.phases]
        self._batches = _Batches(len(data), settings.batch_size, seed)
        self._generator = torch.Generator(data.device)
        self._weights = list({id(p): p for phase in stage.phases for p in phase.parameters}.values())
        self._averages = PowerAverages(self._weights) if settings.averages else None
        self._finite = torch.ones((), dtype=torch.bool, device=data.device)

    def advance(self, until: int) -> Iterator[int]:
        """Trains up to step `until`, yielding after each step."""
        log_every = max(1, self.horizon // _LOG_POINTS)
        draws_per_step = sum(phase.steps for phase in self.stage.phases)
        while self.step < until:
            self.model.train()
            self.model.progress = Progress(self.step, self.horizon)
            step_seed = derive(self.seed, "step", self.step)
            torch.manual_seed(step_seed)  # for dropout
            self._generator.manual_seed(step_seed)
            draw = self.step * draws_per_step
            entry: dict[str, float | int | str] = {"stage": self.stage.name, "step": self.step + 1}
            log = self.step == 0 or (self.step + 1) % log_every == 0
            for phase, optimiser in zip(self.stage.phases, self._optimisers, strict=True):
                _set_learning_rate(optimiser, phase.optimiser, self.model.progress)
                with _only_trainable(self._weights, phase, active=len(self.stage.phases) > 1):
                    for _ in range(phase.steps):
                        losses = self._optimise(phase, optimiser, draw)
                        draw += 1
                if log:
                    entry[phase.name] = losses[0].item()
                    entry |= {f"{phase.name}/{name}": value.item() for name, value in losses[1].items()}
            self.step += 1
            if self._averages is not None:
                self._averages.update(self._weights)
            if log:
                self.history.append(entry)
            if (self.step % _CHECK_EVERY == 0 or self.step == until) and not self._finite.item():
                raise DivergedError(f"loss not finite by step {self.step} of {self.horizon}, stage {self.stage.name}")
            yield self.step
        self.model.progress = Progress(self.step, self.horizon)

    def tensors(self) -> dict[str, Tensor]:
        """The running averages and the optimisers' state, by name."""
        kept = {} if self._averages is None else self._averages.state_dict()
        found = {_AVERAGE + name: tensor for name, tensor in kept.items()}
        for number, (phase, optimiser) in enumerate(zip(self.stage.phases, self._optimisers, strict=True)):
            for i, parameter in enumerate(phase.parameters):
                for name, value in optimiser.state.get(parameter, {}).items():
                    found[f"optimiser.{number}.{i}.{name}"] = value
        return found

    def restore(self, state: TrainingState) -> None:
        """Restores a state, except for the model's own tensors."""
        self.step = state.step
        if self._averages is not None:
            kept = {name.removeprefix(_AVERAGE): t for name, t in state.tensors.items() if name.startswith(_AVERAGE)}
            self._averages.load_state_dict(kept)
        for name, value in state.tensors.items():
            if name.startswith("optimiser."):
                number, index, key = name.split(".", 3)[1:]
                parameter = tuple(self.stage.phases[int(number)].parameters)[int(index)]
                # Moments lie in memory as their parameter does.
                like = parameter if value.shape == parameter.shape else value.to(parameter.device)
                entry = torch.empty_like(like, dtype=value.dtype).copy_(value)
                self._optimisers[int(number)].state[parameter][key] = entry

    def report(self, run: TrainingRun, *, since: int) -> None:
        """Adds the curve and the steps since step `since` to a run."""
        run.history += self.history
        run.steps += self.step - since

    def use_average(self, half_life: float) -> None:
        """Puts the average with this half-life (a share of the full horizon) in place of the last weights; 0: none."""
        if half_life == 0.0:
            return
        assert self._averages is not None
        snapshots = self._averages.snapshots(self._weights)
        target = ExponentialProfile(half_life, self.horizon)
        averaged = rebuild(snapshots, coefficients(snapshots, target, self.step))
        with torch.no_grad():
            for weight, average in zip(self._weights, averaged, strict=True):
                weight.copy_(average)

    def _optimise(self, phase: Phase, optimiser: torch.optim.Optimizer, draw: int) -> tuple[Tensor, dict[str, Tensor]]:
        batch = self.data[self._batches.indices(draw)]
        with torch.autocast(batch.x.device.type, dtype=torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            losses = self._loss(phase, batch)
        total = losses.total
        if total.ndim != 0:
            raise ValueError(f"the loss of phase {phase.name!r} has shape {tuple(total.shape)}; wanted a scalar")
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(phase.parameters, self.settings.gradient_clip)
        optimiser.step()
        if phase.after is not None:
            with torch.no_grad():
                phase.after()
        self._finite &= torch.isfinite(total.detach())
        return total.detach(), {name: value.detach() for name, value in losses.parts.items()}

    def _loss(self, phase: Phase, batch: Batch) -> Losses:
        try:
            return phase.loss(batch, self._generator)
        except Exception as error:
            # Weights that are no longer finite make a family's own checks fail in unforeseen ways.
            if self._finite.item():
                raise
            raise DivergedError(f"loss not finite by step {self.step} of {self.horizon}: {error}") from error


class _Batches:
    """An endless stream of shuffled epochs, cut into batches; any batch can be drawn without the ones before it."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self._n, self._size, self._seed = n, batch_size, seed
        self._kept: tuple[int, Tensor] | None = None  # one epoch's number and order: a batch begins where one ended

    def indices(self, draw: int) -> Tensor:
        """Indices (batch_size,) of the batch with number `draw`."""
        first, last = draw * self._size, (draw + 1) * self._size
        parts = []
        for epoch in range(first // self._n, (last - 1) // self._n + 1):
            order = self._order(epoch)
            parts.append(order[max(0, first - epoch * self._n) : last - epoch * self._n])
        return torch.cat(parts).long()

    def _order(self, epoch: int) -> Tensor:
        if self._kept is None or self._kept[0] != epoch:
            generator = torch.Generator().manual_seed(derive(self._seed, "epoch", epoch))
            dtype = torch.int32 if self._n <= 2**31 else torch.int64  # either gives the same order
            self._kept = epoch, torch.randperm(self._n, generator=generator, dtype=dtype)
        return self._kept[1]


def _optimiser(phase: Phase) -> torch.optim.Optimizer:
    s = phase.optimiser
    kind = torch.optim.AdamW if s.decoupled else torch.optim.Adam
    return kind(phase.parameters, lr=s.learning_rate, betas=s.betas, eps=s.eps, weight_decay=s.weight_decay, fused=True)


def _set_learning_rate(optimiser: torch.optim.Optimizer, settings: Adam, progress: Progress) -> None:
    rate = settings.learning_rate
    if settings.decay == "cosine":
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress.fraction))
        rate *= settings.final_share + (1.0 - settings.final_share) * cosine
    elif settings.decay != "none":
        raise ValueError(f"unknown decay {settings.decay!r}; wanted 'none' or 'cosine'")
    if progress.step < settings.warmup_steps:
        rate *= (progress.step + 1) / settings.warmup_steps
    for group in optimiser.param_groups:
        group["lr"] = rate


@contextmanager
def _only_trainable(weights: list[nn.Parameter], phase: Phase, *, active: bool) -> Iterator[None]:
    """Freezes the other phases' weights, which spares the backward pass their gradients."""
    if not active:
        yield
        return
    own = {id(p) for p in phase.parameters}
    frozen = [w for w in weights if id(w) not in own and w.requires_grad]
    for w in frozen:
        w.requires_grad_(False)
    try:
        yield
    finally:
        for w in frozen:
            w.requires_grad_(True)


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leaves the process's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _check_weights(model: nn.Module) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DivergedError(f"weight {name} is not finite after training")
