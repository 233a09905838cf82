"""A plug-in: each token of a sequence by its frequency at that place, counted."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator, Tensor

import gentune
from gentune.models import Batch, DataSpec, GenerativeModel, Likelihood, LikelihoodKind, Stage


class Letters(GenerativeModel):
    """p(x) = Π_t (count_t(x_t) + α) / (n + α V)."""

    def __init__(self, data: DataSpec, *, pseudocount: float = 0.1) -> None:
        super().__init__(data)
        assert data.vocabulary is not None
        self.pseudocount = pseudocount
        self.register_buffer("log_p", torch.zeros(*data.shape, data.vocabulary))  # (T, V)
        self.log_p: Tensor

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("counting", fit=self.fit),)

    def fit(self, data: Batch, generator: Generator) -> float:
        counts = torch.nn.functional.one_hot(data.x, self.log_p.shape[1]).sum(0) + self.pseudocount
        self.log_p = torch.log(counts / counts.sum(1, keepdim=True))
        return float(data.x.numel())

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        x = torch.multinomial(self.log_p.exp(), n, replacement=True, generator=generator).T
        return torch.where(self.data.with_end_of(x), x, x if self.data.padding is None else self.data.padding)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        chosen = self.log_p[torch.arange(self.log_p.shape[0]), batch.x]  # (n, T)
        return Likelihood((chosen * self.data.with_end_of(batch.x)).sum(1), LikelihoodKind.EXACT)


for _name in ("letters", "more_letters"):
    gentune.register_family(
        Letters,
        f"""
[family]
name = "{_name}"
group = "test"
summary = "Each token by its frequency at its place"
class = "{Path(__file__).stem}:Letters"
kinds = ["sequence"]
conditional = "none"
likelihood = "exact"
[train.pseudocount]
type = "float"
low = 1e-3
high = 10.0
scale = "log"
default = {0.1 if _name == "letters" else 1.0}
""",
    )
