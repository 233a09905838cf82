"""What the families have in common that model tokens one after another.

    p(k|y) = prod_t p(k_t | k_1 ... k_(t-1), y)

Glossary:
    k  tokens (n, T), each 0...K-1: those of a sequence; or the levels of an image, row by row, in a row from the left,
       in a pixel by channel
    y  labels (n,)
Of a sequence that is shorter than T, the padding after its last token is its end, and nothing follows it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import levels_of, marginal_log_prob
from ..nets.categorical import draw

Reading = Callable[[Tensor | None], Tensor]

_LOGITS = 2**25  # numbers of logits at a time where likelihoods are computed


class TokenModel(GenerativeModel):
    """A model of tokens. A family writes `log_probs` and `reading`; with labels it is class-conditional.

    Raises ValueError for vectors.
    """

    def __init__(self, data: DataSpec, family: str) -> None:
        super().__init__(data)
        if data.kind == "vector":
            raise ValueError(f"{family} takes tokens or levels, data {data.name!r} is vector")
        self.family = family
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

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """Exact: log p(x|y) where the batch has labels, else log p(x) with all classes equally frequent."""
        k, counted = self.to_tokens(batch.x), self._counted(batch.x)
        labels = self._labels_of(batch)
        if labels is not None or not self.data.classes:
            return Likelihood(self._log_prob(k, labels, counted), LikelihoodKind.EXACT)
        log_prior = torch.full((self.data.classes,), -math.log(self.data.classes), device=k.device)
        by_class = self._log_prob_by_class(k, counted)
        return Likelihood(marginal_log_prob(by_class, log_prior), LikelihoodKind.EXACT)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        temperature: float = 1.0,
        top_k: int = 4096,
        top_p: float = 1.0,
    ) -> Tensor:
        """n samples (n, *data.shape) of the given labels, or of labels equally frequent.

        temperature, top_k, top_p: of each token's distribution (`draw`).
        """
        labels = condition if self.data.classes else None
        if labels is None and self.data.classes:
            labels = torch.randint(self.data.classes, (n,), generator=generator, device=self.device)
        k = torch.zeros(n, self.length, dtype=torch.int64, device=self.device)
        cut = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        return self.from_tokens(self._drawn(k, torch.ones_like(k, dtype=torch.bool), labels, generator, cut))

    @torch.no_grad()
    def complete(
        self,
        batch: Batch,
        missing: Tensor,
        *,
        generator: Generator,
        temperature: float = 1.0,
        top_k: int = 4096,
        top_p: float = 1.0,
    ) -> Tensor:
        """batch.x with new tokens where `missing` (bool, like it), each drawn given those before it.

        A draw from p(missing | others) where what is missing comes last, such as the lower half of an image. Missing
        labels are drawn first, given the tokens that are there.
        temperature, top_k, top_p: as in `sample`.
        """
        gone = self._in_order(missing)
        k, labels = self.to_tokens(batch.x), self._labels_of(batch)
        if labels is None and self.data.classes:
            log_prob = self._log_prob_by_class(k, self._counted(batch.x) & ~gone)
            labels = draw(log_prob, torch.rand(len(k), generator=generator, device=k.device))
        cut = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        return self.from_tokens(self._drawn(k, gone, labels, generator, cut))

    def to_tokens(self, x: Tensor) -> Tensor:
        """Examples (n, *data.shape) as tokens k, int64 (n, T)."""
        return self._in_order(self.data.to_levels(x)) if self.data.kind == "image" else x

    def from_tokens(self, k: Tensor) -> Tensor:
        """The inverse of `to_tokens`: images on the lattice."""
        if self.data.kind != "image":
            return k
        channels, height, width = self.data.shape
        return self.data.from_levels(k.reshape(-1, height, width, channels).permute(0, 3, 1, 2))

    def _in_order(self, values: Tensor) -> Tensor:
        """Values (n, *data.shape) in the order of the tokens, (n, T)."""
        return values.permute(0, 2, 3, 1).flatten(1) if self.data.kind == "image" else values

    def _counted(self, x: Tensor) -> Tensor:
        """Which tokens the probability is of: bool (n, T)."""
        if self.data.kind == "image":
            return torch.ones(len(x), self.length, dtype=torch.bool, device=x.device)
        return self.data.with_end_of(x)

    def _log_prob(self, k: Tensor, labels: Tensor | None, counted: Tensor) -> Tensor:
        """log p of the tokens that count, (n,), some examples at a time."""
        rows = max(1, _LOGITS // (self.length * self.tokens))
        parts = []
        for start in range(0, len(k), rows):
            part = slice(start, start + rows)
            log_p = self.log_probs(k[part], None if labels is None else labels[part])
            parts.append(log_p.masked_fill(~counted[part], 0.0).sum(1))
        return torch.cat(parts)

    def _log_prob_by_class(self, k: Tensor, counted: Tensor) -> Tensor:
        """The same given each label, (n, classes)."""
        labels = [torch.full((len(k),), y, device=k.device) for y in range(self.data.classes)]
        return torch.stack([self._log_prob(k, y, counted) for y in labels], dim=1)

    def _labels_of(self, batch: Batch) -> Tensor | None:
        return batch.labels if self.data.classes else None

    def _drawn(
        self, k: Tensor, missing: Tensor, labels: Tensor | None, generator: Generator, cut: dict[str, Any]
    ) -> Tensor:
        """Tokens k, with draws where they are missing."""
        k = k.clone()
        uniforms = torch.rand(k.shape, generator=generator, device=k.device)
        read = self.reading(len(k), labels)
        ended = torch.zeros(len(k), dtype=torch.bool, device=k.device)
        latest = None
        for t in range(self.length):
            token = draw(read(latest), uniforms[:, t], **cut)
            if self.data.padding is not None:
                token = token.masked_fill(ended, self.data.padding)
            latest = torch.where(missing[:, t], token, k[:, t])
            k[:, t] = latest
            ended |= ~self.data.mask_of(latest)
        return k


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
        counted = self._counted(batch.x)
        log_p = self.log_probs(self.to_tokens(batch.x), self._labels_of(batch))
        nats = -(log_p * counted).sum() / counted.sum()
        return Losses(nats, {"nats_per_token": nats.detach()})

    def log_probs(self, k: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.logits(k, labels).float()
        return logits.gather(-1, k[..., None]).squeeze(-1) - logits.logsumexp(-1)
