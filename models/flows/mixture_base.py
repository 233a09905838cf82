"""An autoregressive mixture of Gaussians, as the base of a flow."""

from __future__ import annotations

import math

import torch
import zuko
from torch import Generator, Tensor, nn

from ..likelihoods import gaussian_log_prob

_LOG_SCALE_BOUND = 7.0  # as zuko bounds its affine maps


class MixtureBase(nn.Module):
    """p(z) = prod_i sum_c w_ic N(z_i; m_ic, s_ic^2), where w_i, m_i and s_i are functions of z_<i and a context.

    One masked network gives all of them; at first the components lie side by side.

    References: Papamakarios et al., arXiv:1705.07057, section 4, "MADE MoG"; mixtures: Uria et al., arXiv:1306.0186.

    dimensions, context: numbers in z and in the context. hidden_features: units of the network's layers.
    """

    centres: Tensor

    def __init__(self, dimensions: int, context: int, components: int, hidden_features: tuple[int, ...]) -> None:
        super().__init__()
        before = torch.ones(dimensions, dimensions, dtype=torch.bool).tril(-1)
        given = torch.ones(dimensions, context + 1, dtype=torch.bool)  # and a constant, all that the first one has
        adjacency = torch.cat((before, given), dim=1).repeat_interleave(3 * components, dim=0)
        self.network = zuko.nn.MaskedMLP(adjacency, hidden_features)
        middles = (torch.arange(components) + 0.5) / components
        self.register_buffer("centres", torch.special.ndtri(middles), persistent=False)
        self.dimensions, self.components = dimensions, components

    def log_prob(self, z: Tensor, context: Tensor | None) -> Tensor:
        """log p(z), (n,), of z (n, D) and contexts (n, context)."""
        log_weights, means, log_scales = self._mixtures(z, context)
        return (log_weights + gaussian_log_prob(z[..., None], means, log_scales)).logsumexp(2).sum(1)

    def sample(self, noise: Tensor, context: Tensor | None, generator: Generator) -> Tensor:
        """z (n, D), one coordinate after another. noise (n, D): where each lies in its component, in deviations."""
        z = torch.zeros_like(noise)
        for i in range(self.dimensions):
            log_weights, means, log_scales = (values[:, i] for values in self._mixtures(z, context))
            c = torch.multinomial(log_weights.exp(), 1, generator=generator)
            z[:, i] = (means.gather(1, c) + log_scales.gather(1, c).exp() * noise[:, i : i + 1])[:, 0]
        return z

    def _mixtures(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and log-deviations, each (n, D, C)."""
        given = [z] if context is None else [z, context]
        raw = self.network(torch.cat((*given, z.new_ones(len(z), 1)), dim=1))
        weights, means, log_scales = raw.unflatten(1, (-1, 3, self.components)).unbind(2)
        log_scales = log_scales / (1.0 + log_scales.abs() / _LOG_SCALE_BOUND) - math.log(self.components) / 2
        return weights.log_softmax(2), self.centres + means, log_scales
