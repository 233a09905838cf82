"""Stages that train by themselves: what they are given, and what they count."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, nn

from gentune.bench.data.examples import Examples
from gentune.bench.training.fitting import FitTraining
from gentune.bench.training.loop import LoopSettings, train
from gentune.models import Batch, Stage, Trainable

X = torch.linspace(-1, 1, 50).unsqueeze(1)


def test_a_fit_stage_gets_the_whole_split_and_counts_its_operations() -> None:
    class Fitted(Trainable):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Buffer(torch.zeros(1))

        def stages(self) -> tuple[Stage, ...]:
            return (Stage("fit", fit=self.fit),)

        def fit(self, batch: Batch, generator: Generator) -> float:
            self.mean.fill_(len(batch))
            return 123.0

    model = Fitted()
    run = train(model, Batch(X), LoopSettings(), steps=1, seed=0)
    assert model.mean.item() == 50
    assert run.fit_operations == 123.0
    assert run.steps == 0


def test_a_fit_stage_of_a_large_split_gets_as_many_examples_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[float]] = []

    def fit(batch: Batch, generator: Generator) -> None:
        given.append(batch.x[:, 0].tolist())

    monkeypatch.setattr("gentune.bench.training.fitting._FIT_BYTES", 20 * 4 + 3)
    for seed in (0, 0, 1):
        list(FitTraining(Stage("fit", fit=fit), Examples.of(Batch(X)), seed=seed).advance(1))
    assert [len(set(x)) for x in given] == [20, 20, 20]
    assert given[0] == given[1] != given[2]
    assert {*given[0], *given[2]} <= set(X[:, 0].tolist())
