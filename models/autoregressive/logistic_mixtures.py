"""Mixtures of discretised logistics for pixels whose channels depend on each other.

    log P(x_c | x_1 ... x_(c-1)) = log sum_m p_m prod_(c' <= c) P_m(x_c') - log sum_m p_m prod_(c' < c) P_m(x_c')

with P_m(x_c) a logistic's mass on the level's bin, around mu_mc + sum_(c' < c) a_mcc' x_c'; the bins at both ends take
the tails.

Shapes: n examples, M components, C channels, L levels, ... pixels.

References: Salimans et al., "PixelCNN++", arXiv:1701.05517, sections 2.1 and 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..data_spec import to_levels
from ..likelihoods import discretised_logistic_log_prob

_LOWEST_LOG_SCALE = -7.0  # the paper's code: far below a bin, where gradients vanish


def mixture_outputs(channels: int, components: int) -> int:
    """How many numbers describe a pixel: of each component a weight, and the channels' means, scales, coefficients."""
    return components * (1 + 2 * channels + channels * (channels - 1) // 2)


@dataclass(frozen=True)
class LogisticMixture:
    """log_weights: (n, M, ...), normalised. means, log_scales: (n, M, C, ...). coefficients: (n, M, C (C - 1) / 2,
    ...), those of the second channel first."""

    log_weights: Tensor
    means: Tensor
    log_scales: Tensor
    coefficients: Tensor

    @staticmethod
    def of(outputs: Tensor, channels: int) -> LogisticMixture:
        """From a network's outputs (n, `mixture_outputs`, ...)."""
        outputs = outputs.float()
        each = 1 + 2 * channels + channels * (channels - 1) // 2
        outputs = outputs.unflatten(1, (-1, each))
        weights, means, log_scales, coefficients = outputs.split(
            [1, channels, channels, each - 1 - 2 * channels], dim=2
        )
        return LogisticMixture(
            weights.squeeze(2).log_softmax(1), means, log_scales.clamp(min=_LOWEST_LOG_SCALE), coefficients.tanh()
        )

    def log_prob(self, x: Tensor, levels: int) -> Tensor:
        """log P of each channel given those before it: (n, C, ...), of x (n, C, ...) in [-1, 1]."""
        by_component = torch.stack([self._log_prob_of(x, c, levels) for c in range(x.shape[1])], dim=2)
        joint = (self.log_weights.unsqueeze(2) + by_component.cumsum(2)).logsumexp(1)
        return joint - torch.cat([torch.zeros_like(joint[:, :1]), joint[:, :-1]], dim=1)

    def level_logits(self, x: Tensor, channel: int, levels: int) -> Tensor:
        """log P of every level of a channel given the channels before it, up to a constant: (n, L, ...)."""
        weights = self.log_weights
        for c in range(channel):
            weights = weights + self._log_prob_of(x, c, levels)
        every = torch.arange(levels, device=x.device).view(1, 1, -1, *[1] * (x.ndim - 2))
        mean, log_scale = self._mean(x, channel).unsqueeze(2), self.log_scales[:, :, channel].unsqueeze(2)
        by_component = discretised_logistic_log_prob(every, mean, log_scale, levels)  # (n, M, L, ...)
        return (weights.unsqueeze(2) + by_component).logsumexp(1)

    def _mean(self, x: Tensor, channel: int) -> Tensor:
        """Of a channel in each component (n, M, ...), given the channels of x before it."""
        mean, first = self.means[:, :, channel], channel * (channel - 1) // 2
        for c in range(channel):
            mean = mean + self.coefficients[:, :, first + c] * x[:, None, c]
        return mean

    def _log_prob_of(self, x: Tensor, channel: int, levels: int) -> Tensor:
        """log P_m (n, M, ...) of a channel of x given the channels before it."""
        level = to_levels(x[:, None, channel], levels)
        return discretised_logistic_log_prob(level, self._mean(x, channel), self.log_scales[:, :, channel], levels)
