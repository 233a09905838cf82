"""A small classifier that is trained on one set of examples after another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HIDDEN = 64
_BATCH = 200
_LEARNING_RATE = 1e-3


class SmallNetwork:
    """One hidden layer of 64 rectified units, in float64, trained with Adam on batches of at most 200.

    Initial weights (Glorot's uniform ones) and the order of examples come from `seed` alone.
    """

    def __init__(self, inputs: int, classes: int, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        sizes = ((_HIDDEN, inputs), (_HIDDEN,), (classes, _HIDDEN), (classes,))
        self._parameters = [nn.Parameter(torch.zeros(size, dtype=torch.float64)) for size in sizes]
        for weight in self._parameters[::2]:
            nn.init.xavier_uniform_(weight, generator=self._generator)
        self._optimiser = torch.optim.Adam(self._parameters, lr=_LEARNING_RATE, fused=True)

    def train(self, x: Tensor, y: Tensor, epochs: int) -> None:
        """Goes on with the training: x (n, d) float64, y (n,) int64 from 0; every epoch sees each example once."""
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=self._generator).split(_BATCH):
                self._optimiser.zero_grad()
                F.cross_entropy(self._logits(x[rows]), y[rows]).backward()
                self._optimiser.step()

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The most probable class of each example, (n,)."""
        return self._logits(x).argmax(1)

    def _logits(self, x: Tensor) -> Tensor:
        first, first_bias, second, second_bias = self._parameters
        return F.linear(F.relu(F.linear(x, first, first_bias)), second, second_bias)
