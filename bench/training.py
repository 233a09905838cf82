"""The one training loop of the house.

It owns batch size, EMA, clipping, precision, seeds, divergence and the horizon. All randomness of step s comes
from (seed, stage, s), so that a run that is taken up again equals an unbroken one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..models.base import Adam, Batch, Losses, Phase, Progress, Stage, Trainable
from .seeds import derive

_CHECK_EVERY = 10  # steps between looks at the loss: each look waits for the device
_LOG_POINTS = 100  # lines of the learning curve


class DivergedError(RuntimeError):
    """A loss or a weight became NaN or infinite."""


class DeadlineError(RuntimeError):
    """The measured budget ran out in the middle of a training."""


@dataclass(frozen=True)
class LoopSettings:
    """What the loop owns; `search_spaces/training.toml` holds ranges and sources."""

    batch_size: int = 128
    ema_half_life: float = 0.0  # share of the full horizon; 0: no averaging
    gradient_clip: float = 100.0  # largest gradient norm of a phase
    precision: str = "float32"  # or "bfloat16"


@dataclass
class TrainingRun:
    """What a training leaves beside the weights: its curve, its length, and the operations of `fit` stages."""

    history: list[dict[str, float | int | str]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    fit_operations: float = 0.0


def train(
    model: Trainable,
    data: Batch,
    settings: LoopSettings,
    *,
    steps: int,
    seed: int,
    deadline: float | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> TrainingRun:
    """Trains `model` in place on `data` (both on one device) over a full horizon of `steps`.

    deadline: a `time.monotonic()` moment past which DeadlineError is raised.
    on_progress: told the share of the training that is done, now and then.
    Raises DivergedError when a loss or weight stops being finite.
    """
    run = TrainingRun()
    started = time.perf_counter()
    device = data.x.device
    done = 0.0
    with _own_randomness(device):
        for stage in model.stages():
            stage_seed = derive(seed, stage.name)
            if stage.fit is not None:
                torch.manual_seed(stage_seed)
                generator = torch.Generator(device).manual_seed(stage_seed)
                run.fit_operations += stage.fit(data, generator) or 0.0
            else:
                horizon = max(1, round(stage.share * steps))
                training = StageTraining(model, stage, data, settings, horizon=horizon, seed=stage_seed)
                for step in training.advance(horizon):
                    if deadline is not None and time.monotonic() > deadline:
                        raise DeadlineError(f"the budget ended at step {step} of {horizon} of stage {stage.name}")
                    if on_progress is not None and step % _CHECK_EVERY == 0:
                        on_progress(done + stage.share * step / horizon)
                training.use_average()
                run.history += training.history
                run.steps += horizon
                done += stage.share
    _check_weights(model)
    model.eval()
    run.seconds = time.perf_counter() - started
    return run


class StageTraining:
    """The training of one stage, advanced step by step; everything it holds is determined by its step."""

    def __init__(
        self, model: Trainable, stage: Stage, data: Batch, settings: LoopSettings, *, horizon: int, seed: int
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
        self._generator = torch.Generator(data.x.device)
        self._weights = list({id(p): p for phase in stage.phases for p in phase.parameters}.values())
        self._average = [p.detach().clone() for p in self._weights] if settings.ema_half_life > 0 else []
        self._finite = torch.ones((), dtype=torch.bool, device=data.x.device)

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
            self._update_average()
            if log:
                self.history.append(entry)
            if (self.step % _CHECK_EVERY == 0 or self.step == until) and not self._finite.item():
                raise DivergedError(f"loss not finite by step {self.step} of {self.horizon}, stage {self.stage.name}")
            yield self.step
        self.model.progress = Progress(self.step, self.horizon)

    def use_average(self) -> None:
        """Puts the averaged weights in place of the last ones."""
        with torch.no_grad():
            for weight, average in zip(self._weights, self._average, strict=bool(self._average)):
                weight.copy_(average)

    def _optimise(self, phase: Phase, optimiser: torch.optim.Optimizer, draw: int) -> tuple[Tensor, dict[str, Tensor]]:
        batch = self.data[self._batches.indices(draw).to(self.data.x.device)]
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
            # Weights that are no longer finite make a family's own checks fail in ways of their own.
            if self._finite.item():
                raise
            raise DivergedError(f"loss not finite by step {self.step} of {self.horizon}: {error}") from error

    def _update_average(self) -> None:
        """Exponential moving average, its early steps shortened so that it forgets the initial weights."""
        if not self._average:
            return
        half_life = max(1e-9, self.settings.ema_half_life * self.horizon)
        decay = min(0.5 ** (1.0 / half_life), (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, [w.detach() for w in self._weights], 1.0 - decay)


class _Batches:
    """An endless stream of shuffled epochs, cut into batches; any draw can be had without the ones before it."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self._n, self._size, self._seed = n, batch_size, seed
        self._orders: dict[int, Tensor] = {}

    def indices(self, draw: int) -> Tensor:
        """Indices (batch_size,) of the batch with number `draw`."""
        first, last = draw * self._size, (draw + 1) * self._size
        parts = []
        for epoch in range(first // self._n, (last - 1) // self._n + 1):
            order = self._order(epoch)
            parts.append(order[max(0, first - epoch * self._n) : last - epoch * self._n])
        return torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1}
            generator = torch.Generator().manual_seed(derive(self._seed, "epoch", epoch))
            self._orders[epoch] = torch.randperm(self._n, generator=generator)
        return self._orders[epoch]


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
