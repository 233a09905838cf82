"""Stages that train by themselves, in one go."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...models.base import Batch, Stage
from ..data.examples import Examples
from ..seeds import derive
from .state import TrainingRun, TrainingState

_FIT_BYTES = 2**30  # the most that a `fit` is given at once; families make copies of it in twice the precision


class FitTraining:
    """The training of a stage with its own `fit`: one step."""

    def __init__(self, stage: Stage, data: Examples, *, seed: int) -> None:
        assert stage.fit is not None
        self.step = 0
        self._fit, self._data, self._seed = stage.fit, data, seed
        self._operations = 0.0

    def advance(self, until: int) -> Iterator[int]:
        """Fits, unless it is fitted already."""
        if self.step < until:
            torch.manual_seed(self._seed)
            generator = torch.Generator(self._data.device).manual_seed(self._seed)
            self._operations = self._fit(self._at_once(), generator) or 0.0
            self.step = 1
            yield self.step

    def tensors(self) -> dict[str, Tensor]:
        """None besides the model's own."""
        return {}

    def restore(self, state: TrainingState) -> None:
        """Restores a state."""
        self.step = state.step

    def report(self, run: TrainingRun, *, since: int) -> None:
        """Adds the operations to a run."""
        run.fit_operations += self._operations

    def use_average(self, half_life: float) -> None:
        """A fit has none."""

    def _at_once(self) -> Batch:
        """All examples; of a split that is too large as many as fit, drawn by the training's seed."""
        n = len(self._data)
        most = max(1, _FIT_BYTES // max(1, self._data.x.bytes_of_one))
        if n <= most:
            return self._data.all()
        generator = torch.Generator().manual_seed(derive(self._seed, "examples"))
        return self._data[torch.randperm(n, generator=generator)[:most].sort().values]
