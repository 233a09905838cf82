"""A plug-in for tests of sequences: a Markov chain of four tokens with padding, and a table of its bigrams."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

import gentune
from gentune.bench.data import DataReader, DataSet, add_reader
from gentune.bench.data.base import Split
from gentune.bench.data.examples import Examples
from gentune.models import Batch, DataSpec, GenerativeModel, Likelihood, LikelihoodKind, Losses, Stage

TRANSITIONS = np.array([[0.7, 0.1, 0.1, 0.1], [0.0, 0.2, 0.7, 0.1], [0.1, 0.0, 0.3, 0.6], [0.5, 0.3, 0.1, 0.1]])
PADDING = 4
SHORTEST, LONGEST = 4, 12
SIZES: dict[Split, int] = {"train": 2_000, "validation": 500, "test": 1_000}

CARD = """
training = ["batch_size"]
[family]
name = "bigram"
group = "test"
summary = "A learned table of which token follows which"
class = "chain:Bigram"
kinds = ["sequence"]
likelihood = "exact"
[family.steps]
sequence = 60
[train.learning_rate]
type = "float"
low = 0.03
high = 0.3
scale = "log"
default = 0.1
[sample.temperature]
type = "float"
low = 0.5
high = 1.5
default = 1.0
"""


def stationary() -> np.ndarray:
    """(4,): how often each token is met."""
    return np.linalg.matrix_power(TRANSITIONS, 200)[0]


class Chain(DataReader):
    """Sequences of 4 to 12 tokens, equally often, of a stationary chain."""

    name = "chain"

    def describe(self) -> DataSpec:
        return DataSpec("chain", "sequence", (LONGEST,), vocabulary=5, padding=PADDING)

    def read(self, spec: DataSpec) -> DataSet:
        random = np.random.default_rng(0)
        return DataSet(spec, {split: Examples.of_arrays(spec, _drawn(n, random)) for split, n in SIZES.items()})


def _drawn(n: int, random: np.random.Generator) -> np.ndarray:
    x = np.empty((n, LONGEST), dtype=np.int64)
    x[:, 0] = random.choice(4, size=n, p=stationary())
    for t in range(1, LONGEST):
        below = TRANSITIONS.cumsum(1)[x[:, t - 1]]  # (n, 4)
        x[:, t] = (random.random((n, 1)) > below[:, :3]).sum(1)
    length = random.integers(SHORTEST, LONGEST + 1, size=(n, 1))
    return np.where(np.arange(LONGEST) < length, x, PADDING)


class Bigram(GenerativeModel):
    """p(x) = p(length) prod_t p(x_t | x_{t-1}); lengths are as frequent as in the train split, one more of each."""

    lengths: Tensor  # (T + 1,)

    def __init__(self, data: DataSpec, *, learning_rate: float = 0.1) -> None:
        super().__init__(data)
        assert data.vocabulary is not None
        self.learning_rate = learning_rate
        self.table = nn.Linear(data.vocabulary + 1, data.vocabulary, bias=False)  # the last column: of the first token
        self.register_buffer("lengths", torch.ones(data.shape[0] + 1))

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("lengths", fit=self.count_lengths, depends_on=()), *super().stages())

    def count_lengths(self, data: Batch, generator: Generator) -> float:
        count = self.data.mask_of(data.x).sum(1)
        self.lengths.copy_(1 + torch.bincount(count, minlength=len(self.lengths)))
        return float(data.x.numel())

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        return Losses(-self._log_prob(batch.x).sum() / self.data.mask_of(batch.x).sum())

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        length = torch.multinomial(self.lengths, n, replacement=True, generator=generator)
        previous = torch.full((n,), self.table.in_features - 1, device=self.device)
        tokens = []
        for _ in range(self.data.shape[0]):
            probabilities = (self._log_probs(previous) / temperature).softmax(1)
            previous = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
            tokens.append(previous)
        x = torch.stack(tokens, dim=1)  # (n, T)
        after = torch.arange(x.shape[1], device=x.device) >= length[:, None]
        return x if self.data.padding is None else x.masked_fill(after, self.data.padding)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        share = self.lengths / self.lengths.sum()
        length = share[self.data.mask_of(batch.x).sum(1)].log() if self.data.padding is not None else 0.0
        return Likelihood(self._log_prob(batch.x) + length, LikelihoodKind.EXACT)

    def _log_prob(self, x: Tensor) -> Tensor:
        mask = self.data.mask_of(x)
        previous = F.pad(x[:, :-1], (1, 0), value=self.table.in_features - 1)
        chosen = self._log_probs(previous).gather(2, x.masked_fill(~mask, 0)[..., None]).squeeze(2)
        return (chosen * mask).sum(1)

    def _log_probs(self, previous: Tensor) -> Tensor:
        """(..., V) of the tokens after those before; the padding token is none of them."""
        logits = self.table(F.one_hot(previous, self.table.in_features).float())
        if self.data.padding is not None:
            logits = logits.index_fill(-1, torch.tensor([self.data.padding], device=logits.device), -1e9)
        return logits.log_softmax(-1)


add_reader(Chain())
gentune.register(Bigram, CARD)
