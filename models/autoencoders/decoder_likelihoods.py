"""Decoder likelihoods: p(x|z) for each kind of data, with its mean and samples from it.

Glossary:
    raw  the decoder's output (n, p C, H, W) or (n, p D): p numbers for each value of the example, the channels of
         the first number before those of the second
    L    levels of an image
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..data_spec import DataSpec
from ..likelihoods import discretised_logistic_log_prob, gaussian_log_prob, levels_of, sample_logistic, sum_per_example

PIXELS = ("logistic", "categorical")
_LOG_SCALE_RANGE = (-6.0, 2.0)  # keeps the likelihood finite early in training


class DecoderLikelihood(Protocol):
    """p(x|z) from the decoder's raw output. Draws and means of images lie in [-1, 1]; means between lattice points.

    outputs_per_value: numbers p that the decoder gives for each value of an example.
    """

    outputs_per_value: int

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (n,): of an image's levels, or the density of a vector."""

    def mean(self, raw: Tensor) -> Tensor:
        """E[x|z], (n, *shape)."""

    def draw(self, raw: Tensor, generator: Generator) -> Tensor:
        """A draw from p(x|z), (n, *shape); images on the lattice."""


def likelihood_for(spec: DataSpec, pixels: str = "logistic") -> DecoderLikelihood:
    """The decoder likelihood that is right for the data.

    Vectors: a Gaussian with a learned deviation for every value. Images of two levels: Bernoulli (these only).
    Other images: as `pixels` says, a discretised "logistic" or a "categorical" with a free probability for each level.
    Raises ValueError for another `pixels`, and for sequences.
    """
    if pixels not in PIXELS:
        raise ValueError(f"pixels is {pixels!r}; wanted {' or '.join(PIXELS)}")
    if spec.kind == "vector":
        return Gaussian()
    if spec.kind != "image":
        raise ValueError(f"decoder likelihoods are of images and vectors, data {spec.name!r} is {spec.kind}")
    if spec.levels == 2:
        return Bernoulli(spec)
    return DiscretisedLogistic(spec) if pixels == "logistic" else Categorical(spec)


class Gaussian:
    """N(x; mean, scale^2) with a learned scale for every value (arXiv:2006.13202)."""

    outputs_per_value = 2

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        return sum_per_example(gaussian_log_prob(x, *_mean_and_log_scale(raw)))

    def mean(self, raw: Tensor) -> Tensor:
        return _mean_and_log_scale(raw)[0]

    def draw(self, raw: Tensor, generator: Generator) -> Tensor:
        mean, log_scale = _mean_and_log_scale(raw)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + torch.exp(log_scale) * noise


class DiscretisedLogistic:
    """The logistic's mass on each level's bin, with a learned mean and scale for every value (arXiv:1701.05517)."""

    outputs_per_value = 2

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        levels = self.spec.to_levels(x)
        return sum_per_example(discretised_logistic_log_prob(levels, *_mean_and_log_scale(raw), levels_of(self.spec)))

    def mean(self, raw: Tensor) -> Tensor:
        """The logistic's mean, which at the edges lies slightly outside the mean of the levels."""
        return _mean_and_log_scale(raw)[0].clamp(-1.0, 1.0)

    def draw(self, raw: Tensor, generator: Generator) -> Tensor:
        return self.spec.to_lattice(sample_logistic(*_mean_and_log_scale(raw), generator))


class Categorical:
    """A probability for each of the L levels of every value, by a softmax (arXiv:1601.06759, section 3.4)."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec
        self.outputs_per_value = levels_of(spec)

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        levels = self.spec.to_levels(x).unsqueeze(1)  # (n, 1, C, H, W)
        return sum_per_example(self._log_softmax(raw).gather(1, levels))

    def mean(self, raw: Tensor) -> Tensor:
        probabilities = self._log_softmax(raw).exp()  # (n, L, C, H, W)
        lattice = self.spec.from_levels(torch.arange(self.outputs_per_value, device=raw.device))
        return (probabilities * lattice.view(1, -1, 1, 1, 1)).sum(1)

    def draw(self, raw: Tensor, generator: Generator) -> Tensor:
        log_p = self._log_softmax(raw).movedim(1, -1)  # (n, C, H, W, L)
        u = torch.rand(log_p.shape, generator=generator, device=raw.device).clamp_min(1e-20)
        return self.spec.from_levels((log_p - torch.log(-torch.log(u))).argmax(-1))  # the Gumbel maximum

    def _log_softmax(self, raw: Tensor) -> Tensor:
        return raw.float().unflatten(1, (self.outputs_per_value, self.spec.shape[0])).log_softmax(1)


class Bernoulli:
    """A probability of level 1 for every value of a binary image."""

    outputs_per_value = 1

    def __init__(self, spec: DataSpec) -> None:
        if spec.levels != 2:
            raise ValueError(f"Bernoulli is for images of 2 levels, data {spec.name!r} has {spec.levels}")
        self.spec = spec

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        return sum_per_example(F.logsigmoid(x * raw.float()))  # x is -1 or 1

    def mean(self, raw: Tensor) -> Tensor:
        return torch.tanh(raw.float() / 2)  # 2 sigmoid(r) - 1

    def draw(self, raw: Tensor, generator: Generator) -> Tensor:
        u = torch.rand(raw.shape, generator=generator, device=raw.device)
        return self.spec.from_levels(u < torch.sigmoid(raw.float()))


def _mean_and_log_scale(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-scale, each of the example's shape."""
    mean, log_scale = raw.float().chunk(2, dim=1)
    return mean, log_scale.clamp(*_LOG_SCALE_RANGE)
