"""What the families have in common that model an image's levels one after another.

    p(x|y) = prod_i p(x_i | x_1 ... x_(i-1), y),  each factor a categorical distribution over L levels

Glossary:
    k       integer levels (n, C, H, W), each 0...L-1;  x the same on the lattice in [-1, 1]
    order   row by row, in a row from the left, in a pixel by channel: R, G given R, B given both
"""

from __future__ import annotations

import math
from abc import abstractmethod
from itertools import product

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import levels_of, marginal_log_prob, sum_per_example
from ..nets.categorical import draw
from .cursor import Cursor


class PixelModel(GenerativeModel):
    """An image as a sequence of levels. A family writes `logits` and `logits_at`.

    learning_rate: of Adam, falling along a cosine to a twentieth.
    conditional: whether it is conditioned on labels y where the data have them.
    Raises ValueError for data without levels.
    """

    def __init__(self, data: DataSpec, family: str, *, learning_rate: float, conditional: bool) -> None:
        super().__init__(data)
        if data.kind != "image":
            raise ValueError(f"{family} takes image data, data {data.name!r} is {data.kind}")
        self.family, self.learning_rate = family, learning_rate
        self.levels = levels_of(data)
        self.classes = data.classes if conditional else 0

    @abstractmethod
    def logits(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Logits (n, C, L, H, W) of each level given those before it. labels: int64 (n,), None without classes."""

    @abstractmethod
    def logits_at(self, x: Tensor, labels: Tensor | None, cursor: Cursor) -> Tensor:
        """Logits (n, L) of the number at the cursor; of x only what comes before it counts.

        It is called for every number in its order: it computes what depends on the latest alone.
        """

    def cursor(self) -> Cursor:
        """Before the first number. A family whose features are not in groups by channel gives a cursor of one group."""
        return Cursor(self.data.shape[0], self.data.shape[2])

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(self.learning_rate, warmup_steps=20, decay="cosine", final_share=0.05)
        return (Stage("training", phases=(Phase("all", self.parameters(), self.loss, optimiser),)),)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Mean negative log-probability in nats per dimension."""
        log_prob = self.log_prob(batch.x, self._labels_of(batch.condition, len(batch)))
        nats = -log_prob.mean() / self.data.dimensions
        return Losses(nats, {"nats_per_dim": nats.detach()})

    def log_prob(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """log p(x|y) in nats, (n,)."""
        return sum_per_example(self.log_prob_by_place(x, labels))

    def log_prob_by_place(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """log p(x_i | x_1 ... x_(i-1), y) in nats, like x."""
        logits = self.logits(x, labels).float().transpose(1, 2)  # (n, L, C, H, W)
        return -F.cross_entropy(logits, self.data.to_levels(x), reduction="none")

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """Exact: log p(x|y) where the batch has labels (n,), else log p(x) with all classes equally frequent."""
        labels = self._labels_of(batch.condition, len(batch))
        if labels is not None or not self.classes:
            return Likelihood(self.log_prob(batch.x, labels), LikelihoodKind.EXACT)
        by_class = self._log_prob_by_class(batch.x)
        prior = torch.full((self.classes,), -math.log(self.classes), device=by_class.device)
        return Likelihood(marginal_log_prob(by_class, prior), LikelihoodKind.EXACT)

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
        """n images (n, *data.shape) of the given labels, or of labels equally frequent.

        temperature, top_k, top_p: of each level's distribution (`draw`).
        """
        blank = torch.full((n, *self.data.shape), -1.0, device=self.device)
        if condition is None and self.classes:
            condition = torch.randint(self.classes, (n,), generator=generator, device=self.device)
        missing = torch.ones_like(blank, dtype=torch.bool)
        cut = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        return self.complete(Batch(blank, condition), missing, generator=generator, **cut)  # type: ignore[arg-type]

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
        """batch.x with new levels where `missing` (bool, like it), each drawn given those before it.

        Exactly a draw from p(missing | others) where what is missing comes last, such as the lower half. Where labels
        are missing they are drawn first, given the levels that are there.
        temperature, top_k, top_p: of each level's distribution (`draw`).
        """
        labels = self._labels_of(batch.condition, len(batch))
        if labels is None and self.classes:
            labels = self._likely_labels(batch.x, missing, generator)
        x = torch.where(missing, -1.0, self.data.to_lattice(batch.x))
        uniforms = torch.rand(x.shape, generator=generator, device=x.device)
        channels, height, width = self.data.shape
        cursor = self.cursor()
        for row, column, channel in product(range(height), range(width), range(channels)):
            cursor.row, cursor.column, cursor.channel = row, column, channel
            logits = self.logits_at(x, labels, cursor)
            here = (slice(None), channel, row, column)
            drawn = draw(logits, uniforms[here], temperature, top_k, top_p)
            x[here] = torch.where(missing[here], self.data.from_levels(drawn), x[here])
        return x

    def _labels_of(self, condition: Tensor | None, n: int) -> Tensor | None:
        """Labels (n,) of a condition; None without, and for a model without classes."""
        if condition is None or not self.classes:
            return None
        if condition.shape != (n,):
            raise ValueError(f"{self.family} needs one label an example, shape ({n},), got {tuple(condition.shape)}")
        return condition.to(self.device)

    def _log_prob_by_class(self, x: Tensor, missing: Tensor | None = None) -> Tensor:
        """log p given each label (n, classes); of what is not missing (bool, like x), each given those before it."""
        rows = []
        for y in range(self.classes):
            log_prob = self.log_prob_by_place(x, torch.full((len(x),), y, device=x.device))
            rows.append(sum_per_example(log_prob if missing is None else log_prob.masked_fill(missing, 0.0)))
        return torch.stack(rows, dim=1)

    def _likely_labels(self, x: Tensor, missing: Tensor, generator: Generator) -> Tensor:
        """Labels (n,) drawn from p(y | what is there), all equally frequent beforehand."""
        log_prob = self._log_prob_by_class(x, missing)
        return draw(log_prob, torch.rand(len(x), generator=generator, device=x.device))
