"""Two sides of an unpaired translation are brought to each other by moving pixels, before networks change them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..base import Adam, Batch, Losses, Phase
from ..nets.layers import Perceptron
from ..nets.position_map import PositionMap
from ..nets.sides import Size
from .base import squared_gradients

_ADAM = Adam(3e-3, betas=(0.5, 0.9), decay="cosine", final_share=0.1)
_HIDDEN, _LAYERS = 256, 2
_R1 = 0.3  # weight of the critics' squared gradients
_NOISE = 1.0  # deviation of the noise on what the critics see, at the beginning; images lie in [-1, 1]

Sides = Callable[[Batch], tuple[Tensor, Tensor]]


class PositionTraining(nn.Module):
    """An adversarial training of a `PositionMap` P, which takes conditions c to images x, with a critic of each side.

    critics    minimise -E log sigma(C_x(x)) - E log(1 - sigma(C_x(P c))) + r/2 E |grad C_x(x)|^2, C_c alike of c, P^T x
    positions  minimise -E log sigma(C_x(P c)) - E log sigma(C_c(P^T x)) + E |P^T P c - c| + E |P P^T x - x|

    Critics are perceptrons, which know a pixel by its place; convolutions do not. All that they see is noisy, less and
    less, so that whole regions find their places before single pixels do. Where the data have several rearrangements
    that look alike, which one is found depends on the seed.

    channels, size: of images and of conditions. sides: images and conditions of a batch, of different examples.
    fraction: how far the training has come, 0 to 1.

    References: Mescheder et al., arXiv:1801.04406, section 4.1 (R1); Sonderby et al., arXiv:1610.04490, section 3.3
    (noise); chosen on the validation split of `rotated:digits`.
    """

    def __init__(self, channels: int, size: Size, sides: Sides, fraction: Callable[[], float]) -> None:
        super().__init__()
        self.map = PositionMap(size)
        self.critics = nn.ModuleDict({side: _critic(channels * size[0] * size[1]) for side in ("x", "c")})
        self._sides, self._fraction = sides, fraction

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("critics", self.critics.parameters(), self.critic_loss, _ADAM),
            Phase("positions", self.map.parameters(), self.map_loss, _ADAM),
        )

    def critic_loss(self, batch: Batch, generator: Generator) -> Losses:
        x, c = self._sides(batch)
        with torch.no_grad():
            fakes = self.map(c), self.map.inverse(x)
        total = x.new_zeros(())
        for critic, real, fake in zip(self.critics.values(), (x, c), fakes, strict=True):
            seen = self._noisy(real, generator)
            total = total + F.softplus(-critic(seen)).mean() + F.softplus(critic(self._noisy(fake, generator))).mean()
            total = total + 0.5 * _R1 * squared_gradients(critic, seen).mean()
        return Losses(total)

    def map_loss(self, batch: Batch, generator: Generator) -> Losses:
        x, c = self._sides(batch)
        fake_x, fake_c = self.map(c), self.map.inverse(x)
        adversarial = x.new_zeros(())
        for critic, fake in zip(self.critics.values(), (fake_x, fake_c), strict=True):
            adversarial = adversarial + F.softplus(-critic(self._noisy(fake, generator))).mean()
        cycle = (self.map.inverse(fake_x) - c).abs().mean() + (self.map(fake_c) - x).abs().mean()
        return Losses(adversarial + cycle, {"cycle": cycle.detach()})

    def _noisy(self, images: Tensor, generator: Generator) -> Tensor:
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        return images + _NOISE * (1.0 - self._fraction()) * noise


def _critic(inputs: int) -> nn.Module:
    network = Perceptron(inputs, 1, hidden=_HIDDEN, layers=_LAYERS, activation=lambda: nn.LeakyReLU(0.2))
    return nn.Sequential(nn.Flatten(), network)
