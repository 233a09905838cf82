"""A plug-in for tests of the driver: a shifted Gaussian, settings that go wrong on purpose, and few examples.

TINY_SAMPLES: how many samples metrics see, in every process that loads this; they cost their square.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

import gentune
from gentune.bench import protocol
from gentune.bench.data import DataReader, DataSet, Split
from gentune.bench.data.base import standardised
from gentune.bench.data.builtin.toys import log_density_two_moons, sample_two_moons
from gentune.models import Batch, DataSpec, GenerativeModel, Likelihood, LikelihoodKind, Losses

CARD = """
training = ["batch_size"]
[family]
name = "tiny"
group = "test"
summary = "A Gaussian with a learned mean and deviation"
class = "tiny:Tiny"
kinds = ["vector"]
likelihood = "exact"
[family.steps]
vector = 20
[train.learning_rate]
type = "float"
low = 1e-3
high = 1.0
scale = "log"
default = 0.1
[train.mode]
type = "categorical"
choices = ["good", "diverge", "raise", "exhaust", "empty"]
default = "good"
[sample.temperature]
type = "float"
low = 0.5
high = 1.5
default = 1.0
"""


class Tiny(GenerativeModel):
    """x = mean + deviation * noise, trained by exact likelihood."""

    def __init__(self, data: DataSpec, *, learning_rate: float = 0.1, mode: str = "good") -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.mode = mode
        self.mean = nn.Parameter(torch.full(data.shape, 3.0))
        self.log_deviation = nn.Parameter(torch.zeros(data.shape))
        # A matrix product, so that there is something to count.
        self.mix = nn.Linear(data.dimensions, data.dimensions, bias=False)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        if self.mode == "raise":
            raise RuntimeError("this mode raises")
        if self.mode == "exhaust":
            raise MemoryError("this mode asks for too much")
        if _must_die():
            os.kill(os.getpid(), signal.SIGKILL)
        total = -self._log_prob(batch.x).mean() + 0.0 * self.mix(batch.x).mean()
        return Losses(total * float("nan") if self.mode == "diverge" else total, {"mean": self.mean.mean()})

    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        shape = (0 if self.mode == "empty" else n, *self.data.shape)
        noise = torch.randn(shape, generator=generator, device=self.device)
        return self.mean + temperature * self.log_deviation.exp() * noise

    def log_likelihood(self, batch: Batch) -> Likelihood:
        return Likelihood(self._log_prob(batch.x), LikelihoodKind.EXACT)

    def _log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(self.mean, self.log_deviation.exp()).log_prob(x).sum(1)


def _must_die() -> bool:
    """Whether a worker of process TINY_DRIVER dies here: each time, or as long as file TINY_ONCE is not there."""
    if os.environ.get("TINY_DRIVER", str(os.getpid())) == str(os.getpid()):
        return False
    marker = os.environ.get("TINY_ONCE")
    if marker is None:
        return True
    first = not Path(marker).exists()
    Path(marker).touch()
    return first


class FewMoons(DataReader):
    """Two moons of a few hundred examples: what compares samples with all of train costs its size."""

    name = "few_moons"

    def describe(self) -> DataSpec:
        return DataSpec("few_moons", "vector", (2,), source="made here", licence="CC0-1.0", consent="no personal data")

    def read(self, spec: DataSpec) -> DataSet:
        random = np.random.default_rng(0)
        sizes: dict[Split, int] = {"train": 600, "validation": 300, "test": 300}
        splits = {split: sample_two_moons(n, random) for split, n in sizes.items()}
        return standardised(spec, splits, log_density_two_moons)


if "TINY_SAMPLES" in os.environ:
    protocol.SAMPLES = protocol.MOST_FINAL_SAMPLES = int(os.environ["TINY_SAMPLES"])
gentune.register(Tiny, CARD)
gentune.register_data(FewMoons())
