"""A newcomer's family, which requires a condition that is an image."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator, Tensor, nn

import gentune
from gentune.models import Batch, DataSpec, GenerativeModel, Losses


class Scaled(GenerativeModel):
    """x = s c + 0.1 temperature * noise, with s by least squares."""

    def __init__(self, data: DataSpec, *, learning_rate: float = 0.1) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.scale = nn.Parameter(torch.zeros(()))

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        assert batch.condition is not None
        return Losses((batch.x - self.scale * batch.condition).square().mean())

    def sample(self, n: int, *, condition: Tensor, generator: Generator, temperature: float = 1.0) -> Tensor:
        noise = torch.randn(condition.shape, generator=generator, device=self.device)
        return self.data.to_lattice(self.scale * condition + 0.1 * temperature * noise)


gentune.register_family(Scaled, Path(__file__).with_suffix(".toml"))
