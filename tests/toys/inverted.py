"""A toy: images conditioned on images, a family that requires them, and one that can do without."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from gentune.bench.data import DataReader, DataSet
from gentune.bench.data.examples import Examples
from gentune.models import Batch, ConditionSpec, DataSpec, GenerativeModel, Losses

SPEC = DataSpec(
    name="inverted",
    kind="image",
    shape=(1, 8, 8),
    levels=5,
    condition=ConditionSpec("image", shape=(1, 8, 8), levels=5),
    source="drawn by a test",
    licence="CC0-1.0",
)
_CARD = """
[family]
name = "{name}"
group = "test"
summary = "A linear map of the condition, and noise"
class = "inverted:{implementation}"
kinds = ["image"]
conditional = "image"
requires_condition = {requires}
[family.steps]
image = 40
[train.learning_rate]
type = "float"
low = 1e-3
high = 0.3
scale = "log"
default = 0.1
[sample.temperature]
type = "float"
low = 0.5
high = 1.5
default = 1.0
"""


class Reader(DataReader):
    """Squares of four by four pixels, each of one brightness; the condition is the image with dark for light."""

    name = SPEC.name

    def describe(self) -> DataSpec:
        return SPEC

    def read(self, spec: DataSpec) -> DataSet:
        splits = {}
        for seed, (name, n) in enumerate({"train": 160, "validation": 60, "test": 60}.items()):
            levels = torch.randint(5, (n, 1, 2, 2), generator=torch.Generator().manual_seed(seed))
            x = spec.from_levels(levels.repeat_interleave(4, 2).repeat_interleave(4, 3))
            splits[name] = Examples.of(Batch(x, -x), spec)
        return DataSet(spec, splits)  # type: ignore[arg-type]


class _Linear(GenerativeModel):
    """x = b + A c + deviation * noise for images c, by least squares; without c, b + deviation * noise."""

    def __init__(self, data: DataSpec, *, learning_rate: float = 0.1) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.mean = nn.Parameter(torch.zeros(data.shape))
        entries = math.prod(data.condition.shape)
        self.map = nn.Linear(entries, data.dimensions, bias=False) if data.condition.kind == "image" else None

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        errors = {"marginal": batch.x - self.mean, "conditional": batch.x - self._mean(len(batch), batch.condition)}
        parts = {name: error.square().mean() for name, error in errors.items()}
        return Losses(parts["marginal"] + parts["conditional"], parts)

    @torch.no_grad()
    def _draw(self, n: int, condition: Tensor | None, generator: Generator, temperature: float) -> Tensor:
        mean = self._mean(n, condition)
        x = mean + 0.2 * temperature * torch.randn(mean.shape, generator=generator, device=self.device)
        return self.data.to_lattice(x)

    def _mean(self, n: int, condition: Tensor | None) -> Tensor:
        mean = self.mean.expand(n, *self.data.shape)
        if condition is None or self.map is None:
            return mean
        return mean + self.map(condition.flatten(1)).unflatten(1, self.data.shape)


class OptionalInverter(_Linear):
    """Takes images, and can do without."""

    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        return self._draw(n, condition, generator, temperature)


class Inverter(_Linear):
    """Requires images."""

    def sample(self, n: int, *, condition: Tensor, generator: Generator, temperature: float = 1.0) -> Tensor:
        return self._draw(n, condition, generator, temperature)


CARDS = {
    Inverter: _CARD.format(name="inverter", implementation="Inverter", requires="true"),
    OptionalInverter: _CARD.format(name="optional_inverter", implementation="OptionalInverter", requires="false"),
}
