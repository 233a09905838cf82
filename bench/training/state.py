"""The state of a training between two steps, and how far its stages go.

A state is whole: weights before averaging, optimiser state, running averages, the curve so far. The generators are no
part of it, since the loop reseeds them at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...models.base import Stage
from ...models.nets.buffers import make_room

_MODEL = "model."  # begins the names of a state's tensors that are the model's own
_RUN = ("history", "steps", "seconds", "fit_operations", "peak_memory")  # of a run, what a state carries


@dataclass
class TrainingRun:
    """What a training leaves besides the weights.

    history: its curve. steps: of all its stages. fit_operations: of its `fit` stages.
    seconds: that the whole training took, whenever its parts were trained; seconds_now: trained in this call.
    peak_memory: the most bytes allocated on a CUDA device; None on others.
    """

    history: list[dict[str, float | int | str]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    seconds_now: float = 0.0
    fit_operations: float = 0.0
    peak_memory: float | None = None

    @property
    def seconds_kept(self) -> float:
        """Seconds of the parts that were kept from earlier trainings."""
        return max(0.0, self.seconds - self.seconds_now)


@dataclass(frozen=True)
class PlannedStage:
    """A stage that is trained to step `until` of a full horizon of `horizon` steps; a `fit` is one step of one."""

    stage: Stage
    horizon: int
    until: int


def plan(stages: Sequence[Stage], steps: int, fidelity: float = 1.0) -> tuple[PlannedStage, ...]:
    """How far each stage goes in a training with a full horizon of `steps`, at the share `fidelity` of it.

    Raises ValueError for a fidelity outside (0, 1].
    """
    if not 0.0 < fidelity <= 1.0:
        raise ValueError(f"fidelity is {fidelity}; wanted more than 0, at most 1")
    planned = []
    for stage in stages:
        horizon = 1 if stage.fit is not None else max(1, round(stage.share * steps))
        planned.append(PlannedStage(stage, horizon, max(1, round(fidelity * horizon))))
    return tuple(planned)


@dataclass(frozen=True)
class TrainingState:
    """A training between two steps of a stage.

    tensors: by name, the model's own ("model.NAME"), and what the stage's training holds besides them.
    run: the fields of a TrainingRun over all stages so far.
    """

    step: int
    tensors: Mapping[str, Tensor]
    run: Mapping[str, Any]


class StateStore(Protocol):
    """States of one training that outlive the process; `stage` counts its stages from 0."""

    def newest(self, stage: int, step: int, beyond: int = 0) -> TrainingState | None:
        """The state with the most steps, at most `step` and more than `beyond`; None where there is none."""

    def holding(self, stage: int, waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """Keeps other processes from training the stage; `waiting` is called now and then while another does."""

    def keep(self, stage: int, state: TrainingState) -> None:
        """Keeps a state."""


def furthest(kept: StateStore | None, planned: Sequence[PlannedStage]) -> tuple[int, TrainingState | None]:
    """The stage to begin with, and its newest state; the first stage and None where nothing is kept."""
    if kept is not None:
        for index in reversed(range(len(planned))):
            state = kept.newest(index, planned[index].until)
            if state is not None:
                return index, state
    return 0, None


def take_state(
    step: int, model: nn.Module, initial: Mapping[str, Tensor] | None, extra: Mapping[str, Tensor], run: TrainingRun
) -> TrainingState | None:
    """The current state; None where a number in it is not finite.

    initial: the model's tensors before the training: of the model, only what differs from them in any bit is taken.
        A stage that depends on some settings alone is shared by models that differ elsewhere, even in their shapes.
    extra: what the stage's training holds besides the model.
    """
    own = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if initial is not None:
        own = {name: tensor for name, tensor in own.items() if not _same_bits(tensor.cpu(), initial[name])}
    tensors = {_MODEL + name: tensor for name, tensor in own.items()} | dict(extra)
    if not all(t.isfinite().all() for t in tensors.values() if t.is_floating_point()):
        return None
    account = {key: getattr(run, key) for key in _RUN} | {"history": list(run.history)}
    return TrainingState(step, tensors, account)


def put_state(state: TrainingState, model: nn.Module, run: TrainingRun) -> None:
    """Restores the model and the run so far from a state."""
    make_room(model, state.tensors, _MODEL)
    own = model.state_dict()
    for name in state.tensors:
        if name.startswith(_MODEL):
            _put_tensor(name, own.get(name.removeprefix(_MODEL)), state)
    for key in _RUN:
        setattr(run, key, state.run[key])
    run.history = list(run.history)


def _put_tensor(name: str, into: Tensor | None, state: TrainingState) -> None:
    """Copies a state's tensor into one of the same kind. Raises ValueError where it is of another."""
    kept = state.tensors.get(name)
    if kept is None or into is None or kept.shape != into.shape or kept.dtype != into.dtype:
        raise ValueError(
            f"a kept state has {_kind(kept)} for {name!r}, here it is {_kind(into)}: "
            "a stage depends on more than its `depends_on` says"
        )
    with torch.no_grad():
        into.copy_(kept)


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's tensors as they are now, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _kind(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tensor.dtype} of shape {tuple(tensor.shape)}"


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Unlike `torch.equal`, tells 0 from -0 and finds NaN equal to itself."""
    a, b = (t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(a, b)
