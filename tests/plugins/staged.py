"""A plug-in for tests of kept trainings: three stages, the first two shared by settings that differ in `width`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

import gentune
from gentune.models import Adam, Batch, DataSpec, GenerativeModel, Losses, Phase, Stage

CARD = """
training = ["batch_size"]
[family]
name = "staged"
group = "test"
summary = "A linear map, a centre, and a small network"
class = "staged:Staged"
kinds = ["vector"]
likelihood = "none"
[family.steps]
vector = 40
[train.learning_rate]
type = "float"
low = 1e-3
high = 1.0
scale = "log"
default = 0.05
[train.width]
type = "int"
low = 2
high = 64
default = 4
[sample.temperature]
type = "float"
low = 0.5
high = 1.5
default = 1.0
[training_defaults]
ema_half_life = 0.1
"""


class Staged(GenerativeModel):
    """Each call of a loss or a fit leaves a line in the file that STAGED_LOG names, and takes STAGED_PAUSE seconds."""

    centre: Tensor

    def __init__(self, data: DataSpec, *, learning_rate: float = 0.05, width: int = 4) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        d = data.dimensions
        self.codes = nn.Linear(d, d)
        self.register_buffer("centre", torch.zeros(d))
        self.first, self.second = nn.Linear(d, width), nn.Linear(width, d)
        self.norm = nn.BatchNorm1d(width)

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(self.learning_rate, decay="cosine")
        codes = Phase("codes", self.codes.parameters(), self.code_loss, optimiser)
        first = Phase("first", [*self.first.parameters(), *self.norm.parameters()], self.prior_loss, optimiser, steps=2)
        second = Phase("second", self.second.parameters(), self.prior_loss, optimiser)
        return (
            Stage("codes", phases=(codes,), share=0.5, depends_on=("learning_rate",)),
            Stage("centre", fit=self.fit_centre, depends_on=("learning_rate",)),
            Stage("prior", phases=(first, second), share=0.5),
        )

    def code_loss(self, batch: Batch, generator: Generator) -> Losses:
        _log("codes")
        noise = 0.1 * torch.randn(batch.x.shape, generator=generator)
        return Losses((self.codes(batch.x + noise) - batch.x).square().mean())

    def fit_centre(self, data: Batch, generator: Generator) -> float:
        _log("centre")
        with torch.no_grad():
            self.centre.copy_(self.codes(data.x).mean(0))
        return 2.0 * data.x.numel()

    def prior_loss(self, batch: Batch, generator: Generator) -> Losses:
        _log("prior")
        z = torch.randn(batch.x.shape, generator=generator)
        return Losses((self._decode(z) - self.codes(batch.x).detach()).square().mean())

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        return self._decode(temperature * torch.randn(n, *self.data.shape, generator=generator))

    def _decode(self, z: Tensor) -> Tensor:
        return self.centre + self.second(torch.tanh(self.norm(self.first(z)))) + z


def _log(line: str) -> None:
    if "STAGED_LOG" in os.environ:
        with Path(os.environ["STAGED_LOG"]).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    time.sleep(float(os.environ.get("STAGED_PAUSE", "0")))


gentune.register(Staged, CARD)
