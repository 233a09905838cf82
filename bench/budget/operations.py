"""Counting floating-point operations: the cost of a setting on any machine.

torch's counter sees matrix products, convolutions and attention, forwards and backwards; these are almost
all of the work of a neural network. It is told of recurrent layers, which on CPUs are one operation each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...models.base import Batch, GenerativeModel, Stage, Trainable
from ..data.examples import Examples
from ..seeds import derive
from ..training.loop import LoopSettings, StageTraining

_SMALL = (2, 4)  # batch sizes at which a step is counted; operations are affine in the batch size
EXAMPLES = 4 * _SMALL[1]  # from which the counted batches are drawn
_MOMENTS = 1_000  # to which the middle of a part is rounded


class UncountableError(Exception):
    """The operations of a setting cannot be counted; the message says why."""


class TooSlowToCountError(UncountableError):
    """A step or two samples have not come back."""


@dataclass(frozen=True)
class Operations:
    """Counted operations of a full training and of one sample; both 0 for models that train by `fit` alone.

    chained: whether a stage comes after one with phases, and so starts from that one's averaged weights.
    """

    train: float
    per_sample: float
    chained: bool = False

    def total(self, samples: int) -> float:
        """Of the training and of `samples` samples."""
        return self.train + samples * self.per_sample


def count_operations(
    build: Callable[[], GenerativeModel],
    data: Batch,
    loop: LoopSettings,
    *,
    steps: int,
    sampling: Mapping[str, Any],
    conditional: bool,
) -> Operations:
    """Counts one training step of each stage and one sampling, on the CPU, and scales them up.

    build: makes a fresh model. data: some training examples. steps: of the full training.
    sampling: keyword arguments of `sample`. conditional: whether samples are drawn with conditions.
    """
    model = build()
    every = model.stages()
    stages = [stage for stage in every if stage.phases]
    if not stages:
        return Operations(0.0, 0.0)  # known only afterwards: before its fit a model has nothing to sample from
    train = 0.0
    for stage in stages:
        low, high = (_count_step(model, stage, data, n) for n in _SMALL)
        slope = (high - low) / (_SMALL[1] - _SMALL[0])
        per_step = low + slope * (loop.batch_size - _SMALL[0])
        train += per_step * max(1, round(stage.share * steps))
    condition = data.condition[: _SMALL[0]] if conditional and data.condition is not None else None
    chained = any(stage.phases for stage in every[:-1])
    return Operations(train, _count_sampling(model, condition, sampling) / _SMALL[0], chained)


def _count_step(model: Trainable, stage: Stage, data: Batch, batch_size: int) -> float:
    """Operations of a step, on average over the stage: one is counted in the middle of each of its parts."""
    horizon = 1 if len(stage.parts) == 1 else _MOMENTS
    settings, seed = LoopSettings(batch_size=batch_size), derive(0, stage.name)
    training = StageTraining(model, stage, Examples.of(data[:EXAMPLES]), settings, horizon=horizon, seed=seed)
    total = 0.0
    with torch.random.fork_rng(devices=[]):
        for share, end in zip(stage.parts, accumulate(stage.parts), strict=True):
            training.step = int(horizon * (end - share / 2))
            with _counter() as counter:
                for _ in training.advance(training.step + 1):
                    pass
            total += share * counter.get_total_flops()
    return total


def _count_sampling(model: GenerativeModel, condition: Tensor | None, sampling: Mapping[str, Any]) -> float:
    # The counter hangs hooks on what needs gradients, and fails at views of parameters, which under no_grad have none.
    model.eval().requires_grad_(False)
    with torch.no_grad(), _counter() as counter:
        model.sample(_SMALL[0], condition=condition, generator=torch.Generator().manual_seed(0), **sampling)
    return float(counter.get_total_flops())


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping=_RECURRENT)


def _of_recurrent_layer(
    x: Sequence[int], w_input: Sequence[int], w_hidden: Sequence[int], *rest: Any, out_shape: Any = None, **names: Any
) -> int:
    """Of a layer over x (T, n, inputs): the products with both of its matrices at every step."""
    return 2 * x[0] * x[1] * (math.prod(w_input) + math.prod(w_hidden))


def _of_recurrent_gradient(*shapes: Any, **names: Any) -> int:
    """Twice as many: for the gradient of the inputs, and for that of the matrices."""
    return 2 * _of_recurrent_layer(*shapes)


_RECURRENT = {
    torch.ops.aten.mkldnn_rnn_layer: _of_recurrent_layer,
    torch.ops.aten.mkldnn_rnn_layer_backward: _of_recurrent_gradient,
}
