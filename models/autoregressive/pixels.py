"""What the families have in common that model an image's levels one after another.

    p(x|y) = prod_i p(x_i | x_1 ... x_(i-1), y),  each factor a categorical distribution over L levels

Glossary:
    k       integer levels (n, C, H, W), each 0...L-1;  x the same on the lattice in [-1, 1]
    order   row by row, in a row from the left, in a pixel by channel: R, G given R, B given both
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import product

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..base import Adam, Batch, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import levels_of
from ..nets.categorical import draw
from .base import AutoregressiveModel
from .cursor import Cursor


class PixelModel(AutoregressiveModel):
    """An image as a sequence of levels. A family writes `logits` and `logits_at`.

    learning_rate: of Adam, falling along a cosine to a twentieth.
    conditional: whether it is conditioned on labels y where the data have them.
    Raises ValueError for data without levels.
    """

    def __init__(self, data: DataSpec, family: str, *, learning_rate: float, conditional: bool) -> None:
        super().__init__(data, family, conditional=conditional)
        if data.kind != "image":
            raise ValueError(f"{family} takes image data, data {data.name!r} is {data.kind}")
        self.learning_rate = learning_rate
        self.levels = levels_of(data)

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
        log_prob = self.log_prob(batch.x, self.labels_of(batch))
        nats = -log_prob.mean() / self.data.dimensions
        return Losses(nats, {"nats_per_dim": nats.detach()})

    def log_prob_by_place(self, x: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.logits(x, labels).float().transpose(1, 2)  # (n, L, C, H, W)
        return -F.cross_entropy(logits, self.data.to_levels(x), reduction="none")

    def fill_in(
        self, x: Tensor, missing: Tensor, labels: Tensor | None, uniforms: Tensor, cut: tuple[float, int, float]
    ) -> Tensor:
        x = torch.where(missing, -1.0, self.data.to_lattice(x))
        channels, height, width = self.data.shape
        cursor = self.cursor()
        for row, column, channel in product(range(height), range(width), range(channels)):
            cursor.row, cursor.column, cursor.channel = row, column, channel
            logits = self.logits_at(x, labels, cursor)
            here = (slice(None), channel, row, column)
            drawn = draw(logits, uniforms[here], *cut)
            x[here] = torch.where(missing[here], self.data.from_levels(drawn), x[here])
        return x
