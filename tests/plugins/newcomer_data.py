"""A plug-in for tests: a data set and a family of one's own, in one file."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor, nn

import gentune
from gentune.bench.data import DataReader, DataSet
from gentune.bench.data.base import standardised
from gentune.models import Batch, DataSpec, GenerativeModel, Losses

CARD = """
[family]
name = "centre"
group = "test"
summary = "A Gaussian around a learned centre"
class = "newcomer_data:Centre"
kinds = ["vector"]
[family.steps]
vector = 10
[sample.temperature]
type = "float"
low = 0.5
high = 1.5
default = 1.0
"""


class Line(DataReader):
    """Points along a line."""

    name = "line"

    def describe(self, *, count: int = 200) -> DataSpec:
        return DataSpec("line", "vector", (2,), source="made here", licence="CC0-1.0", consent="no personal data")

    def read(self, spec: DataSpec, *, count: int = 200) -> DataSet:
        random = np.random.default_rng(0)
        along = random.normal(size=(3, count, 1))
        points = np.concatenate([along, along + 0.1 * random.normal(size=along.shape)], axis=2)
        return standardised(spec, {"train": points[0], "validation": points[1], "test": points[2]})


class Centre(GenerativeModel):
    def __init__(self, data: DataSpec) -> None:
        super().__init__(data)
        self.centre = nn.Parameter(torch.zeros(data.shape))

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        return Losses((batch.x - self.centre).square().mean())

    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        return self.centre + temperature * torch.randn(n, *self.data.shape, generator=generator)


gentune.register_data(Line())
gentune.register_family(Centre, CARD)
