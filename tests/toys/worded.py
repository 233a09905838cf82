"""A toy: points conditioned on texts, a family that requires the text, and one that can do without."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from gentune.bench.data import DataReader, DataSet
from gentune.bench.data.examples import Examples
from gentune.models import Batch, ConditionSpec, DataSpec, GenerativeModel, Likelihood, LikelihoodKind, Losses

LEFT, RIGHT, LOW, HIGH = range(4)  # the vocabulary
SPEC = DataSpec(
    name="worded",
    kind="vector",
    shape=(2,),
    condition=ConditionSpec("text", shape=(2,), vocabulary=4),
    source="drawn by a test",
    licence="CC0-1.0",
)
_CARD = """
[family]
name = "{name}"
group = "test"
summary = "A Gaussian around the sum of the words' places"
class = "worded:{implementation}"
kinds = ["vector"]
conditional = {conditional}
requires_condition = {requires}
likelihood = "exact"
[family.steps]
vector = 40
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
    """One of four places, and the text that says which: "left low" and so on."""

    name = SPEC.name

    def describe(self) -> DataSpec:
        return SPEC

    def read(self, spec: DataSpec) -> DataSet:
        splits = {}
        for seed, (name, n) in enumerate({"train": 160, "validation": 60, "test": 60}.items()):
            generator = torch.Generator().manual_seed(seed)
            text = torch.stack([torch.randint(2, (n,), generator=generator) for _ in range(2)], dim=1)
            x = 2.0 * text - 1.0 + 0.2 * torch.randn(n, 2, generator=generator)
            splits[name] = Examples.of_arrays(spec, x, text + torch.tensor([LEFT, LOW]))
        return DataSet(spec, splits)  # type: ignore[arg-type]


class _Linear(GenerativeModel):
    """x = b + A (sum of the words' vectors) + deviation * noise, by least squares; without words, b + noise."""

    def __init__(self, data: DataSpec, *, learning_rate: float = 0.1) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.mean = nn.Parameter(torch.zeros(data.shape))
        self.words = self.map = None
        if data.condition.kind == "text":
            assert data.condition.vocabulary is not None
            self.words = nn.Embedding(data.condition.vocabulary, 4)
            self.map = nn.Linear(4, data.dimensions, bias=False)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        errors = {"marginal": batch.x - self.mean, "conditional": batch.x - self._mean(len(batch), batch.condition)}
        parts = {name: error.square().mean() for name, error in errors.items()}
        return Losses(parts["marginal"] + parts["conditional"], parts)

    @torch.no_grad()
    def _draw(self, n: int, condition: Tensor | None, generator: Generator, temperature: float) -> Tensor:
        mean = self._mean(n, condition)
        return mean + 0.2 * temperature * torch.randn(mean.shape, generator=generator, device=self.device)

    def log_likelihood(self, batch: Batch) -> Likelihood:
        deviation = 1.0 if batch.condition is None else 0.2
        law = torch.distributions.Normal(self._mean(len(batch), batch.condition), deviation)
        return Likelihood(law.log_prob(batch.x).sum(1), LikelihoodKind.EXACT)

    def _mean(self, n: int, condition: Tensor | None) -> Tensor:
        mean = self.mean.expand(n, *self.data.shape)
        if condition is None or self.words is None or self.map is None:
            return mean
        return mean + self.map(self.words(condition).sum(1))


class OptionalWorded(_Linear):
    """Takes texts, and can do without."""

    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        return self._draw(n, condition, generator, temperature)


class Worded(_Linear):
    """Requires texts."""

    def sample(self, n: int, *, condition: Tensor, generator: Generator, temperature: float = 1.0) -> Tensor:
        return self._draw(n, condition, generator, temperature)


CARDS = {
    Worded: _CARD.format(name="worded", implementation="Worded", conditional='"text"', requires="true"),
    OptionalWorded: _CARD.format(
        name="optional_worded", implementation="OptionalWorded", conditional='["text", "image"]', requires="false"
    ),
}
