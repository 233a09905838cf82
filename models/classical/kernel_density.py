"""Kernel density estimation: a small Gaussian around every train example.

Glossary: models/densities.py, and
    c   (N, D) the train examples' values
    h   bandwidth
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ..base import Batch, Stage
from ..data_spec import DataSpec
from ..nets.buffers import KeepsData
from .densities import DensityModel, log_kernel_sum, standard_normal, to_values


class KernelDensity(KeepsData, DensityModel):
    """p(v) = 1/N sum_i N(v; c_i, h^2 I) over all N train examples (Parzen 1962, doi:10.1214/aoms/1177704472).

    Images are modelled as u = (k + U[0, 1)) / L in [0, 1); centres lie in the middles of their levels, and the
    likelihood is the dequantised bound. Vectors have an exact density.

    bandwidth: h, the same in every direction, in units of v (u for images).
    """

    family = "kernel_density"
    sized_by_data = ("centres",)
    centres: Tensor  # (N, D) float64

    def __init__(self, data: DataSpec, *, bandwidth: float = 0.07) -> None:
        super().__init__(data)
        if not bandwidth > 0.0:
            raise ValueError(f"bandwidth is {bandwidth}; wanted more than 0")
        self.bandwidth = bandwidth
        self.register_buffer("centres", torch.zeros(1, data.dimensions, dtype=torch.float64))

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("keeping the examples", fit=self.fit),)

    def fit(self, data: Batch, generator: Generator) -> float:
        """Keeps the train split; returns N D, the numbers that it kept: its work comes with every density."""
        self.centres = to_values(data.x, self.data)
        return float(self.centres.numel())

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        """n draws (n, *data.shape): a train example plus noise; images are rounded down to their level."""
        chosen = torch.randint(len(self.centres), (n,), generator=generator, device=self.device)
        noise = standard_normal(n, self.data.dimensions, generator)
        return self._from_modelled(self.centres[chosen] + self.bandwidth * noise)

    def log_density(self, v: Tensor) -> Tensor:
        n, d = self.centres.shape
        normaliser = math.log(n) + 0.5 * d * math.log(2 * math.pi * self.bandwidth**2)
        return log_kernel_sum(v.to(torch.float64), self.centres, self.bandwidth) - normaliser

    def _complete(self, v: Tensor, missing: Tensor) -> Tensor:
        """The centres' mean, weighted by the kernel on the observed entries (Nadaraya 1964, doi:10.1137/1109020)."""
        completed = []
        for row, gone in zip(v, missing, strict=True):
            distances = (self.centres[:, ~gone] - row[~gone]).square().sum(1)  # (N,)
            completed.append((distances / (-2 * self.bandwidth**2)).softmax(0) @ self.centres)
        return torch.where(missing, torch.stack(completed), v)
