"""RealNVP: a normalising flow of affine couplings."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
import zuko
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import dequantise, dequantised_log_prob, levels_of, standard_normal_log_prob, sum_per_example
from ..nets.sides import image_shape
from .couplings import MultiScaleFlow

_EDGE = 0.05  # the paper's alpha: how far the logit stays away from 0 and 1
_NORMALISATION_EXAMPLES = 4096  # enough for means and deviations


class RealNVP(GenerativeModel):
    """An invertible map from data to a standard normal, with an exact density.

    Images are dequantised, mapped by y = logit(alpha + (1 - 2 alpha) u), standardised position by position and
    sent through a multi-scale flow of convolutional couplings; vectors go through zuko's RealNVP.

    References: Dinh et al., "Density estimation using Real NVP", arXiv:1605.08803.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        transforms: int = 6,
        hidden: int = 48,
        depth: int = 1,
        weight_decay: float = 1e-5,
    ) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        if data.kind == "image":
            shape = image_shape(data, "realnvp")
            self.image_flow = MultiScaleFlow(shape, transforms=transforms, hidden=hidden, depth=depth)
            self.register_buffer("centre", torch.zeros(data.shape))
            self.register_buffer("spread", torch.ones(data.shape))
        elif data.kind == "vector":
            self.vector_flow = zuko.flows.RealNVP(
                data.dimensions, transforms=transforms, hidden_features=(2 * hidden,) * (depth + 1)
            )
        else:
            raise ValueError(f"realnvp takes images and vectors, got {data.kind} data {data.name!r}")

    def stages(self) -> tuple[Stage, ...]:
        # Weight decay is part of the loss, as in the paper (section 4.1), hence not decoupled.
        optimiser = Adam(
            self.learning_rate,
            weight_decay=self.weight_decay,
            decoupled=False,
            warmup_steps=20,
            decay="cosine",
            final_share=0.05,
        )
        couplings = Stage("couplings", phases=(Phase("all", self.parameters(), self.loss, optimiser),))
        if self.data.kind == "vector":
            return (couplings,)
        return (Stage("normalisation", fit=self._fit_normalisation, depends_on=()), couplings)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Mean negative log-density in nats per dimension."""
        log_density = self._log_density(batch.x, generator)
        loss = -log_density.mean() / self.data.dimensions
        return Losses(loss, {"nats_per_dim": loss.detach()})

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        """n samples; the base normal's deviation is `temperature`. A condition is not used: p(x) alone is modelled."""
        z = torch.randn(n, self.data.dimensions, generator=generator, device=self.device)
        x = self.decode(temperature * z)
        return self.data.to_lattice(x) if self.data.kind == "image" else x

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """Exact log-density of vectors; for images the bound from one draw of dequantisation noise.

        A condition is not used: p(x) alone is modelled.
        """
        log_density = self._log_density(batch.x, self.evaluation_generator())
        if self.data.kind == "vector":
            return Likelihood(log_density, LikelihoodKind.EXACT)
        return Likelihood(dequantised_log_prob(log_density, self.data), LikelihoodKind.DEQUANTISED)

    @torch.no_grad()
    def encode(self, batch: Batch) -> Tensor:
        """Codes z (n, D), standard normal where the model fits; images enter at the middle of their level's bin."""
        if self.data.kind == "vector":
            return self.vector_flow().transform(batch.x)
        levels = levels_of(self.data)
        u = ((batch.x + 1.0) * ((levels - 1) / 2.0) + 0.5) / levels
        return self.image_flow(self._normalise(u)[0])[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The inverse of `encode`. Images are not rounded to the lattice; codes of what lies beyond its ends, as no
        example does, give the ends."""
        x = self._inverse(z)
        return x.clamp(-1.0, 1.0) if self.data.kind == "image" else x

    def _inverse(self, z: Tensor) -> Tensor:
        """What the flow makes of codes (n, D); of images, also what lies outside [-1, 1]."""
        if self.data.kind == "vector":
            return self.vector_flow().transform.inv(z)
        levels = levels_of(self.data)
        y = self.image_flow.inverse(z) * self.spread + self.centre
        u = (torch.sigmoid(y) - _EDGE) / (1.0 - 2.0 * _EDGE)
        return (u * levels - 0.5) * (2.0 / (levels - 1)) - 1.0

    def _log_density(self, x: Tensor, generator: Generator) -> Tensor:
        """log p (n,) of vectors, or of dequantised images u."""
        if self.data.kind == "vector":
            return self.vector_flow().log_prob(x)
        y, log_det = self._normalise(dequantise(x, self.data, generator))
        z, change = self.image_flow(y)
        return standard_normal_log_prob(z) + log_det + change

    def _normalise(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """u to the standardised logit, and log|det| (n,).

        References: arXiv:1605.08803, section 4.1.
        """
        y, log_det = _logit(u)
        log_det = log_det - self.spread.log().sum()
        return (y - self.centre) / self.spread, log_det

    @torch.no_grad()
    def _fit_normalisation(self, data: Batch, generator: Generator) -> float:
        """Mean and deviation of every position's logit over the train split; returns the operations it took."""
        x = data.x[:_NORMALISATION_EXAMPLES]
        y, _ = _logit(dequantise(x, self.data, generator))
        self.centre.copy_(y.mean(dim=0))
        self.spread.copy_(y.std(dim=0).clamp(min=1e-2))
        return 20.0 * y.numel()


def _logit(u: Tensor) -> tuple[Tensor, Tensor]:
    """y = logit(alpha + (1 - 2 alpha) u) and log|det dy/du| (n,)."""
    p = _EDGE + (1.0 - 2.0 * _EDGE) * u
    y = torch.log(p) - torch.log1p(-p)
    # dy/du = (1 - 2 alpha) / (p (1 - p)), and -log p = softplus(-y), -log(1 - p) = softplus(y).
    slope = F.softplus(-y) + F.softplus(y) + math.log1p(-2.0 * _EDGE)
    return y, sum_per_example(slope)
