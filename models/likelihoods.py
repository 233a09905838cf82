"""Likelihoods shared by the families: dequantisation, discretised logistics, Gaussians.

Glossary:
    k   integer levels 0...L-1 of an image
    u   dequantised values, u = (k + U[0, 1)) / L in [0, 1)
    D   numbers in one example
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .data_spec import DataSpec


def dequantise(x: Tensor, spec: DataSpec, generator: Generator) -> Tensor:
    """Lattice images (n, C, H, W) in [-1, 1] to u = (k + U[0, 1)) / L.

    References: Uria et al., "RNADE", arXiv:1306.0186; Theis et al., arXiv:1511.01844, section 3.1.
    """
    noise = torch.rand(x.shape, generator=generator, device=x.device)
    return (spec.to_levels(x) + noise) / levels_of(spec)


def quantise(u: Tensor, spec: DataSpec) -> Tensor:
    """Dequantised values to the lattice: k = floor(u L), clipped to 0...L-1."""
    levels = levels_of(spec)
    return spec.from_levels((u * levels).floor().clamp(0, levels - 1))


def dequantised_log_prob(log_density: Tensor, spec: DataSpec) -> Tensor:
    """A bound on log P(k) in nats from the log-density (n,) of u: log P(k) >= E log p(u) - D log L.

    References: Theis et al., arXiv:1511.01844, equation 5.
    """
    return log_density - spec.dimensions * math.log(levels_of(spec))


def discretised_logistic_log_prob(k: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """log of the logistic's mass on each level's bin of width 2/(L-1) around its lattice point, elementwise.

    The first and last level take the tails, so that the probabilities of the L levels sum to 1.
    `mean` and `log_scale` are in units of x in [-1, 1] and broadcast against `k`.

    References: Salimans et al., "PixelCNN++", arXiv:1701.05517, equation 2.
    """
    x = k.to(mean.dtype) * (2.0 / (levels - 1)) - 1.0
    half = 1.0 / (levels - 1)
    inverse_scale = torch.exp(-log_scale)
    upper = (x + half - mean) * inverse_scale
    lower = (x - half - mean) * inverse_scale
    log_tail_below = F.logsigmoid(upper)  # mass below the upper edge
    log_tail_above = F.logsigmoid(-lower)  # mass above the lower edge
    # log(sigmoid(upper) - sigmoid(lower)) without cancellation: sigmoid(upper) sigmoid(-lower) (1 - e^(lower-upper)).
    log_middle = log_tail_below + log_tail_above + torch.log(-torch.expm1(lower - upper))
    return torch.where(k == 0, log_tail_below, torch.where(k == levels - 1, log_tail_above, log_middle))


def sample_logistic(mean: Tensor, log_scale: Tensor, generator: Generator) -> Tensor:
    """Draws from the continuous logistic; rounding to the lattice gives the discretised one."""
    v = torch.rand(mean.shape, generator=generator, device=mean.device).clamp(1e-5, 1 - 1e-5)
    return mean + torch.exp(log_scale) * (torch.log(v) - torch.log1p(-v))


def gaussian_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Elementwise log N(x; mean, exp(log_scale)^2)."""
    return -0.5 * ((x - mean) * torch.exp(-log_scale)) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) summed over all but the first dimension: (n, ...) to (n,)."""
    return sum_per_example(-0.5 * z**2 - 0.5 * math.log(2 * math.pi))


def gaussian_kl(
    mean_1: Tensor, log_scale_1: Tensor, mean_2: Tensor | float = 0.0, log_scale_2: Tensor | float = 0.0
) -> Tensor:
    """Elementwise KL(N(mean_1, scale_1^2) || N(mean_2, scale_2^2)) in nats; the second defaults to N(0, 1)."""
    log_scale_2 = torch.as_tensor(log_scale_2, dtype=mean_1.dtype, device=mean_1.device)
    variance_ratio = torch.exp(2 * (log_scale_1 - log_scale_2))
    distance = ((mean_1 - mean_2) * torch.exp(-log_scale_2)) ** 2
    return 0.5 * (variance_ratio + distance - 1.0) + log_scale_2 - log_scale_1


def marginal_log_prob(by_class: Tensor, log_prior: Tensor) -> Tensor:
    """log p(x) (n,) = logsumexp_y [log p(y) + log p(x|y)] of log p(x|y) (n, K) and log p(y) (K,).

    Of lower bounds on log p(x|y) it is a lower bound on log p(x). It is convex in them, so that noise in an estimate
    raises it, by about half the variance of the differences between classes that are as probable given x.
    """
    return (log_prior + by_class).logsumexp(1)


def sum_per_example(values: Tensor) -> Tensor:
    """Sum over all but the first dimension: (n, ...) to (n,)."""
    return values.flatten(1).sum(1)


def levels_of(spec: DataSpec) -> int:
    """L of image data; a clear error for data without levels."""
    if spec.levels is None:
        raise ValueError(f"{spec.kind} data {spec.name!r} has no levels to dequantise or count")
    return spec.levels
