"""What normalising flows share: dequantised images as standardised logits, likelihoods, temperature, codes, labels.

Glossary:
    u       dequantised image, in [0, 1); the map's own input is y: the standardised logit of u, or the vector itself
    z       code (n, D), standard normal where the model fits
    labels  int64 (n,), with the number of classes for "no label"; None where the family or the data has no labels
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import dequantise, dequantised_log_prob, levels_of, standard_normal_log_prob, sum_per_example
from .mixture_base import MixtureBase

_EDGE = 0.05  # alpha of arXiv:1605.08803: how far the logit stays away from 0 and 1
_NORMALISATION_EXAMPLES = 4096  # enough for means and deviations


class NormalisingFlow(GenerativeModel):
    """An invertible map from data to codes of a simple density, the standard normal, with an exact density.

    A family writes the map, `_forward` and `_inverse`. Images are dequantised, mapped by
    y = logit(alpha + (1 - 2 alpha) u) and standardised position by position before it.

    With labels, the map depends on them. In training, a label is dropped now and then: what is asked without a label
    (a likelihood, samples, codes) is of the model without labels. Codes are always of that one.

    References: Dinh et al., arXiv:1605.08803, section 4.1; dropped labels: Ho and Salimans, arXiv:2207.12598.

    family: its name, for errors. takes_labels: whether the map depends on labels. dropped: how often a label is
    dropped. training_stage: the name of the stage that trains the map.
    """

    family: ClassVar[str]
    takes_labels: ClassVar[bool] = True
    dropped: ClassVar[float] = 0.1
    training_stage: ClassVar[str] = "flow"
    centre: Tensor
    spread: Tensor

    def __init__(self, data: DataSpec, *, learning_rate: float, weight_decay: float) -> None:
        super().__init__(data)
        if data.kind not in ("image", "vector"):
            raise ValueError(f"{self.family} takes images and vectors, got {data.kind} data {data.name!r}")
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.classes = data.classes if self.takes_labels else 0
        self.base: MixtureBase | None = None
        if data.kind == "image":
            self.register_buffer("centre", torch.zeros(data.shape))
            self.register_buffer("spread", torch.ones(data.shape))

    def _forward(self, y: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """y (n, *data.shape) to codes z (n, D) and log|det dz/dy| (n,)."""
        raise NotImplementedError

    def _inverse(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Codes (n, D) to y (n, *data.shape)."""
        raise NotImplementedError

    def _context(self, labels: Tensor | None) -> Tensor | None:
        """Labels as numbers (n, context) for the base."""
        return None

    def _base_log_prob(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """log-density (n,) of codes."""
        return standard_normal_log_prob(z) if self.base is None else self.base.log_prob(z, self._context(labels))

    @torch.no_grad()
    def _draw(self, n: int, labels: Tensor | None, generator: Generator, temperature: float = 1.0) -> Tensor:
        """Codes (n, D) from the base; its deviations are multiplied by the temperature."""
        z = temperature * torch.randn(n, self.data.dimensions, generator=generator, device=self.device)
        return z if self.base is None else self.base.sample(z, self._context(labels), generator)

    def stages(self) -> tuple[Stage, ...]:
        # Weight decay is part of the loss, as in arXiv:1605.08803 (section 4.1), hence not decoupled.
        optimiser = Adam(
            self.learning_rate,
            weight_decay=self.weight_decay,
            decoupled=False,
            warmup_steps=20,
            decay="cosine",
            final_share=0.05,
        )
        training = Stage(self.training_stage, phases=(Phase("all", self.parameters(), self.loss, optimiser),))
        if self.data.kind == "vector":
            return (training,)
        return (Stage("normalisation", fit=self._fit_normalisation, depends_on=()), training)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Mean negative log-density in nats per dimension."""
        labels = self._labels(len(batch), batch.labels)
        if labels is not None:
            dropped = torch.rand(len(batch), generator=generator, device=labels.device) < self.dropped
            labels = torch.where(dropped, self.classes, labels)
        loss = -self._log_density(batch.x, labels, generator).mean() / self.data.dimensions
        return Losses(loss, {"nats_per_dim": loss.detach()})

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        """n samples (n, *data.shape), of labels (n,) or without; the base's deviations are times `temperature`."""
        labels = self._labels(n, condition)
        x = self._to_data(self._inverse(self._draw(n, labels, generator, temperature), labels))
        return self.data.to_lattice(x.clamp(-1.0, 1.0)) if self.data.kind == "image" else x

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """Exact log-density of vectors; for images the bound from one draw of dequantisation noise."""
        labels = self._labels(len(batch), batch.labels)
        log_density = self._log_density(batch.x, labels, self.evaluation_generator())
        if self.data.kind == "vector":
            return Likelihood(log_density, LikelihoodKind.EXACT)
        return Likelihood(dequantised_log_prob(log_density, self.data), LikelihoodKind.DEQUANTISED)

    @torch.no_grad()
    def encode(self, batch: Batch) -> Tensor:
        """Codes z (n, D) without labels; images enter at the middle of their level's bin."""
        y = batch.x
        if self.data.kind == "image":
            levels = levels_of(self.data)
            y = self._normalise(((batch.x + 1.0) * ((levels - 1) / 2.0) + 0.5) / levels)[0]
        return self._forward(y, self._labels(len(batch), None))[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The inverse of `encode`. Images are not rounded to the lattice; codes of what lies beyond its ends, as no
        example does, give the ends."""
        x = self._to_data(self._inverse(z, self._labels(len(z), None)))
        return x.clamp(-1.0, 1.0) if self.data.kind == "image" else x

    def _labels(self, n: int, condition: Tensor | None) -> Tensor | None:
        """Labels as the map takes them. Raises ValueError for another number of labels than n."""
        if not self.classes:
            return None
        if condition is None:
            return torch.full((n,), self.classes, device=self.device)
        if condition.shape != (n,):
            raise ValueError(f"{self.family} needs one label an example, shape ({n},), got {tuple(condition.shape)}")
        return condition.to(self.device)

    def _log_density(self, x: Tensor, labels: Tensor | None, generator: Generator) -> Tensor:
        """log p (n,) of vectors; of images x, of dequantised ones, in expectation over the noise a bound."""
        if self.data.kind == "vector":
            z, change = self._forward(x, labels)
            return self._base_log_prob(z, labels) + change
        u, noise_log_density = self._dequantise(x, generator)
        y, log_det = self._normalise(u)
        z, change = self._forward(y, labels)
        log_density = self._base_log_prob(z, labels) + log_det + change
        return log_density if noise_log_density is None else log_density - noise_log_density

    def _dequantise(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """u of images x, and log q (n,) of the noise, u L minus the level; None for uniform noise, where it is 0."""
        return dequantise(x, self.data, generator), None

    def _to_data(self, y: Tensor) -> Tensor:
        """Of images also what lies outside [-1, 1]."""
        if self.data.kind == "vector":
            return y
        levels = levels_of(self.data)
        u = (torch.sigmoid(y * self.spread + self.centre) - _EDGE) / (1.0 - 2.0 * _EDGE)
        return (u * levels - 0.5) * (2.0 / (levels - 1)) - 1.0

    def _normalise(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """u to the standardised logit, and log|det| (n,)."""
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
