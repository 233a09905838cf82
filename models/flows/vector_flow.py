"""Flows over vectors, as zuko carries them; images enter as vectors of logits."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..data_spec import DataSpec
from .flow import NormalisingFlow

MOST_NUMBERS = 1_024  # in an image: autoregressive samples, and layers that connect all pixels, are slow beyond


class VectorFlow(NormalisingFlow):
    """A normalising flow whose map is a transform of zuko, with labels one-hot as its context.

    vector_flow: set by the family: a `zuko.flows.Flow` over `data.dimensions` numbers with `classes` of context.
    Raises ValueError for images of more than 1,024 numbers.
    """

    vector_flow: Any

    def __init__(self, data: DataSpec, *, learning_rate: float, weight_decay: float) -> None:
        super().__init__(data, learning_rate=learning_rate, weight_decay=weight_decay)
        if data.kind == "image" and data.dimensions > MOST_NUMBERS:
            raise ValueError(
                f"{self.family} takes images of at most {MOST_NUMBERS:,} numbers, "
                f"data {data.name!r} has {data.dimensions:,}"
            )

    def _forward(self, y: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._transform(labels).call_and_ladj(y.flatten(1))

    def _inverse(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self._transform(labels).inv(z).unflatten(1, self.data.shape)

    def _transform(self, labels: Tensor | None) -> Any:
        return self.vector_flow.transform(self._context(labels))

    def _context(self, labels: Tensor | None) -> Tensor | None:
        """Labels one-hot, (n, classes); zeros for no label."""
        if labels is None:
            return None
        dtype = next(self.parameters()).dtype
        return F.one_hot(labels, self.classes + 1)[:, :-1].to(dtype)
