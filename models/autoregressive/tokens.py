"""What the families have in common that model tokens one after another.

    p(k|y) = prod_t p(k_t | k_1 ... k_(t-1), y)

Glossary:
    k  tokens (n, T), each 0...K-1: those of a sequence; or the levels of an image, row by row, in a row from the left,
       in a pixel by channel
    y  labels (n,)
Of a sequence that is shorter than T, the padding after its last token is its end, and nothing follows it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ..base import Adam, Batch, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import levels_of
from ..nets.categorical import draw
from .base import AutoregressiveModel

Reading = Callable[[Tensor | None], Tensor]

_LOGITS = 2**25  # numbers of logits at a time where likelihoods are computed


class TokenModel(AutoregressiveModel):
    """A model of tokens. A family writes `log_probs` and `reading`; with labels it is class-conditional.

    Raises ValueError for vectors.
    """

    def __init__(self, data: DataSpec, family: str) -> None:
        super().__init__(data, family)
        if data.kind == "vector":
            raise ValueError(f"{family} takes tokens or levels, data {data.name!r} is vector")
        self.tokens: int = levels_of(data) if data.kind == "image" else data.vocabulary or 0
        self.length = data.dimensions

    @abstractmethod
    def log_probs(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """log p(k_t | k_1 ... k_(t-1), y) in nats, (n, T). labels: int64 (n,), None without classes."""

    @abstractmethod
    def reading(self, n: int, labels: Tensor | None) -> Reading:
        """A function to be called T times: the latest tokens (n,), None at first, to the logits (n, K) of the next.

        It remembers what it has read.
        """

    def log_prob_by_place(self, x: Tensor, labels: Tensor | None) -> Tensor:
        k = self.to_tokens(x)
        rows = max(1, _LOGITS // (self.length * self.tokens))
        parts = [
            self.log_probs(k[start : start + rows], None if labels is None else labels[start : start + rows])
            for start in range(0, len(k), rows)
        ]
        return self._in_place(torch.cat(parts))

    def fill_in(
        self, x: Tensor, missing: Tensor, labels: Tensor | None, uniforms: Tensor, cut: tuple[float, int, float]
    ) -> Tensor:
        k, gone, uniforms = self.to_tokens(x).clone(), self._in_order(missing), self._in_order(uniforms)
        read = self.reading(len(k), labels)
        ended = torch.zeros(len(k), dtype=torch.bool, device=k.device)
        latest = None
        for t in range(self.length):
            token = draw(read(latest), uniforms[:, t], *cut)
            if self.data.padding is not None:
                token = token.masked_fill(ended, self.data.padding)
            latest = torch.where(gone[:, t], token, k[:, t])
            k[:, t] = latest
            ended |= ~self.data.mask_of(latest)
        return self.from_tokens(k)

    def to_tokens(self, x: Tensor) -> Tensor:
        """Examples (n, *data.shape) as tokens k, int64 (n, T)."""
        return self._in_order(self.data.to_levels(x)) if self.data.kind == "image" else x

    def from_tokens(self, k: Tensor) -> Tensor:
        """The inverse of `to_tokens`: images on the lattice."""
        return self.data.from_levels(self._in_place(k)) if self.data.kind == "image" else k

    def _in_order(self, values: Tensor) -> Tensor:
        """Values (n, *data.shape) in the order of the tokens, (n, T)."""
        return values.permute(0, 2, 3, 1).flatten(1) if self.data.kind == "image" else values

    def _in_place(self, values: Tensor) -> Tensor:
        """The inverse of `_in_order`."""
        if self.data.kind != "image":
            return values
        channels, height, width = self.data.shape
        return values.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


class TokenNetwork(TokenModel):
    """A network that gives logits of every token, trained by maximum likelihood: families write `logits` and `reading`.

    learning_rate: of AdamW; it rises over `warmup` steps and falls along a cosine to a twentieth. weight_decay: its.
    """

    def __init__(self, data: DataSpec, family: str, *, learning_rate: float, warmup: int, weight_decay: float) -> None:
        super().__init__(data, family)
        self.learning_rate, self.warmup, self.weight_decay = learning_rate, warmup, weight_decay

    @abstractmethod
    def logits(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """Logits (n, T, K) of each token given those before it."""

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(
            self.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup,
            decay="cosine",
            final_share=0.05,
        )
        return (Stage("training", phases=(Phase("all", self.parameters(), self.loss, optimiser),)),)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Mean negative log-probability of a token, in nats."""
        counted = self._in_order(self.counted(batch.x))
        log_p = self.log_probs(self.to_tokens(batch.x), self.labels_of(batch))
        nats = -(log_p * counted).sum() / counted.sum()
        return Losses(nats, {"nats_per_token": nats.detach()})

    def log_probs(self, k: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.logits(k, labels).float()
        return logits.gather(-1, k[..., None]).squeeze(-1) - logits.logsumexp(-1)
