"""Counted operations against what can be counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from gentune.bench.budget.operations import count_operations
from gentune.bench.training.loop import LoopSettings
from gentune.models import Adam, Batch, DataSpec, GenerativeModel, Losses, Phase, Stage

SPEC = DataSpec("points", "vector", (3,))


class Net(GenerativeModel):
    """Two phases; the second takes its loss through both layers."""

    def __init__(self, data: DataSpec, *, twice: int = 1) -> None:
        super().__init__(data)
        self.first = nn.Linear(3, 5, bias=False)
        self.second = nn.Linear(5, 2, bias=False)
        self.twice = twice

    def stages(self) -> tuple[Stage, ...]:
        whole = Phase("whole", self.parameters(), self.loss, Adam(1e-3), steps=self.twice)
        return (
            Stage("a", phases=(whole,), share=0.25),
            Stage("ready", fit=lambda data, generator: 7.0),
            Stage("b", phases=(whole,), share=0.75),
        )

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        return Losses(self.second(self.first(batch.x)).square().mean())

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator, rounds: int = 1) -> Tensor:
        x = torch.randn(n, 3, generator=generator)
        for _ in range(rounds):
            self.first(x)
        return x


@pytest.mark.parametrize(("batch_size", "twice", "rounds"), [(8, 1, 1), (100, 3, 4)])
def test_operations_are_those_counted_by_hand(batch_size: int, twice: int, rounds: int) -> None:
    counted = count_operations(
        lambda: Net(SPEC, twice=twice),
        Batch(torch.randn(64, 3)),
        LoopSettings(batch_size=batch_size),
        steps=40,
        sampling={"rounds": rounds},
        conditional=False,
    )
    # Multiply-adds of a product count twice: forwards 3x5 and 5x2; backwards the weights' and the inner input's.
    per_example = 2 * (15 + 10) + 2 * (15 + 10 + 10)
    assert counted.train == batch_size * per_example * twice * 40
    assert counted.per_sample == 2 * 15 * rounds
    assert counted.total(10) == counted.train + 10 * counted.per_sample
    assert counted.chained


@pytest.mark.parametrize(("order", "chained"), [("ft", False), ("t", False), ("tf", True), ("ftt", True)])
def test_a_stage_after_training_is_chained_to_it(order: str, chained: bool) -> None:
    class Staged(Net):
        def stages(self) -> tuple[Stage, ...]:
            phase = Phase("whole", self.parameters(), self.loss, Adam(1e-3))
            kinds = {"f": Stage("fit", fit=lambda data, generator: None), "t": Stage("training", phases=(phase,))}
            return tuple(kinds[kind] for kind in order)

    counted = count_operations(
        lambda: Staged(SPEC), Batch(torch.randn(8, 3)), LoopSettings(), steps=1, sampling={}, conditional=False
    )
    assert counted.chained == chained


def test_a_family_that_only_fits_counts_nothing_beforehand() -> None:
    class Fitted(Net):
        def stages(self) -> tuple[Stage, ...]:
            return (Stage("fit", fit=lambda data, generator: 7.0),)

    counted = count_operations(
        lambda: Fitted(SPEC), Batch(torch.randn(8, 3)), LoopSettings(), steps=1, sampling={}, conditional=False
    )
    assert counted.total(100) == 0.0


def test_recurrent_layers_are_counted_as_their_products() -> None:
    class Recurrent(Net):
        def __init__(self, data: DataSpec) -> None:
            super().__init__(data)
            self.first = nn.LSTM(3, 5, num_layers=2, batch_first=True)  # type: ignore[assignment]

        def loss(self, batch: Batch, generator: Generator) -> Losses:
            return Losses(self.first(batch.x[:, None].expand(-1, 7, -1))[0].square().mean())

        def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator, rounds: int = 1) -> Tensor:
            return self.first(torch.zeros(n, 4, 3))[0][:, -1]

    counted = count_operations(
        lambda: Recurrent(SPEC),
        Batch(torch.randn(64, 3)),
        LoopSettings(batch_size=8),
        steps=10,
        sampling={},
        conditional=False,
    )
    per_token = 2 * 4 * 5 * (3 + 5 + 5 + 5)  # four gates of two layers, from the input and the state
    assert counted.per_sample == 4 * per_token
    assert counted.train == 10 * 8 * 7 * 3 * per_token  # backwards twice as many
