"""Progressive growing: both networks start with small images and get layers for larger ones during training.

Glossary: as in `adversarial`, with D the critic, and
    level   a resolution, from 0, the lowest
    alpha   weight of the newest level's layers while they are faded in
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from ..base import Batch, Losses, Stage
from ..data_spec import DataSpec
from ..nets.sides import Size, enlarged, size_of
from .base import AdversarialSettings, gradient_penalty
from .equalised import EqualisedConv, EqualisedLinear, Head, Leaky, PixelNorm, channels_of, down, resolutions
from .wgan import Wasserstein

_DRIFT = 1e-3  # weight of E D(x)^2, which keeps the critic's scores near 0; the paper, appendix A.1


@dataclass(frozen=True)
class Grown:
    """How far the networks have grown: images of `level`, of which the newest layers weigh `alpha` in [0, 1]."""

    level: int
    alpha: float

    def coarse(self, x: Tensor, levels: int) -> Tensor:
        """Images (n, C, H, W) with the detail of this moment: pixels of a lower level are means of theirs."""
        halvings = levels - 1 - self.level
        fine = _coarser(x, halvings)
        return fine if self.alpha == 1.0 else torch.lerp(_coarser(x, halvings + 1), fine, self.alpha)


def grown_at(fraction: float, levels: int, growth: float) -> Grown:
    """The networks after a `fraction` of the full training.

    The first `growth` of it is cut into equal parts, two for each level but the last: one to train as it is, one to
    fade the next level in. After it all levels are there.
    """
    parts = 2 * (levels - 1)
    at = min(parts * fraction / growth, float(parts)) if growth > 0.0 else float(parts)
    level, within = int(at) // 2, at % 2.0
    if within <= 1.0:
        return Grown(level, 1.0)
    return Grown(level + 1, within - 1.0)


def _coarser(x: Tensor, halvings: int) -> Tensor:
    sizes: list[Size] = []
    for _ in range(halvings):
        sizes.append(size_of(x))
        x = down(x)
    for size in reversed(sizes):
        x = enlarged(x, size)
    return x


class ProgressiveGAN(Wasserstein):
    """Karras et al., "Progressive growing of GANs", arXiv:1710.10196, with the objective of WGAN-GP and a small
    penalty on the critic's scores (appendix A.1).

    G ends, and D begins, with a 1 x 1 convolution of the newest level's own. While a level is faded in, what comes
    out is (1 - alpha) times the image of the level below, enlarged, plus alpha times its own; what D sees goes the
    same way back, and examples are as coarse (section 2). alpha rises from 0 to 1 with the training's progress, so
    that nothing jumps. Equalised learning rates, pixel norm in G, minibatch deviation in D: see `equalised`.

    How far the networks have grown is a buffer, and so a part of the model's state: a training that stops early
    samples what it has, enlarged.

    growth: share of the full training after which all levels are there. gradient_penalty: its weight.
    width: w; 4w channels at the lowest resolution, halved with each further one down to w.
    depth: convolutions at each resolution. The others: as in `AdversarialSettings`.
    """

    family = "progressive_gan"
    beta2 = 0.99
    grown: Tensor
    generator: GrowingGenerator
    discriminator: GrowingCritic

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 2e-2,
        learning_rate_discriminator: float = 2e-2,
        beta1: float = 0.0,
        discriminator_steps: int = 2,
        gradient_penalty: float = 1.0,
        growth: float = 0.2,
        latent_dim: int = 32,
        width: int = 8,
        depth: int = 1,
    ) -> None:
        self._sizes = resolutions(data, self.family)
        settings = AdversarialSettings(
            learning_rate_generator=learning_rate_generator,
            learning_rate_discriminator=learning_rate_discriminator,
            beta1=beta1,
            discriminator_steps=discriminator_steps,
            latent_dim=latent_dim,
            width=width,
            depth=depth,
        )
        super().__init__(data, settings)
        self.gradient_penalty = gradient_penalty
        self.growth = growth
        # Progress at the last step, as a share of the full training.
        self.register_buffer("grown", torch.zeros((), dtype=torch.float64))

    def stages(self) -> tuple[Stage, ...]:
        fading = 2 * (len(self._sizes) - 1)
        grown = (1.0 - self.growth,)
        parts = (self.growth / fading,) * fading + grown if fading and self.growth else (1.0,)
        return (Stage("adversarial", phases=self._phases(), parts=parts),)

    def discriminator_loss(self, batch: Batch, generator: Generator) -> Losses:
        """WGAN-GP's with examples as coarse as samples, plus the drift penalty."""
        self._grow()
        real = self.generator.now.coarse(batch.x, len(self._sizes))
        fake = self._fake(batch, generator)
        losses = self._judge(Batch(real), fake)
        penalty = gradient_penalty(self.discriminator, real, fake, generator)
        total = losses.total + self.gradient_penalty * penalty
        return Losses(total, {**losses.parts, "gradient_penalty": penalty})

    def discriminator_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """E D(G(z)) - E D(x) + 0.001 E D(x)^2, of scores (n,)."""
        return super().discriminator_objective(real, fake) + _DRIFT * real.square().mean()

    def generator_loss(self, batch: Batch, generator: Generator) -> Losses:
        """-E D(G(z)) with as many levels as there are."""
        self._grow()
        return super().generator_loss(batch, generator)

    def decode(self, z: Tensor) -> Tensor:
        """G(z), enlarged to the data's size where it has not grown so far."""
        if not self.training:  # the model may have been loaded
            self._show(float(self.grown))
        return super().decode(z)

    def _grow(self) -> None:
        self.grown.fill_(self.progress.fraction)
        self._show(self.progress.fraction)

    def _show(self, fraction: float) -> None:
        self.generator.now = self.discriminator.now = grown_at(fraction, len(self._sizes), self.growth)

    def _build_discriminator(self, width: int, depth: int) -> nn.Module:
        return GrowingCritic(self.data.shape[0], self._sizes, width=width, depth=depth)

    def _build_generator(self, width: int, depth: int) -> nn.Module:
        return GrowingGenerator(self.latent_dim, self.data.shape[0], self._sizes, width=width, depth=depth)

    def _initialise(self) -> None:
        """The layers draw their own weights."""


class GrowingGenerator(nn.Module):
    """Codes (n, inputs) to images (n, C, H, W) of the last of `sizes`, made at the level of `now` and enlarged."""

    def __init__(self, inputs: int, channels: int, sizes: Sequence[Size], *, width: int, depth: int) -> None:
        super().__init__()
        self.now = Grown(len(sizes) - 1, 1.0)
        self.sizes = sizes
        features = channels_of(width, len(sizes))
        height, side = sizes[0]
        first = EqualisedLinear(inputs, features[0] * height * side, gain=math.sqrt(2.0) / 4.0)
        start = [PixelNorm(), first, nn.Unflatten(1, (features[0], height, side)), _Normed()]
        blocks = [nn.Sequential(*start, *_convolutions(features[0], features[0], depth, _Normed))]
        blocks += [nn.Sequential(*_convolutions(a, b, depth, _Normed)) for a, b in pairwise(features)]
        self.blocks = nn.ModuleList(blocks)
        self.to_image = nn.ModuleList(EqualisedConv(f, channels, 1) for f in features)

    def forward(self, z: Tensor) -> Tensor:
        level, alpha = self.now.level, self.now.alpha
        h = below = self.blocks[0](z)
        for number in range(1, level + 1):
            below = h
            h = self.blocks[number](enlarged(h, self.sizes[number]))
        x = self.to_image[level](h)
        if alpha < 1.0:
            x = torch.lerp(enlarged(self.to_image[level - 1](below), self.sizes[level]), x, alpha)
        for size in self.sizes[level + 1 :]:
            x = enlarged(x, size)
        return x


class GrowingCritic(nn.Module):
    """Images (n, C, H, W) of the last of `sizes` to scores (n, 1), seen at the level of `now`."""

    def __init__(self, channels: int, sizes: Sequence[Size], *, width: int, depth: int) -> None:
        super().__init__()
        self.now = Grown(len(sizes) - 1, 1.0)
        features = channels_of(width, len(sizes))
        self.from_image = nn.ModuleList(nn.Sequential(EqualisedConv(channels, f, 1), Leaky()) for f in features)
        # blocks[k] leads from level k + 1 to level k
        self.blocks = nn.ModuleList(
            nn.Sequential(*_convolutions(b, a, depth, Leaky), nn.AvgPool2d(2, ceil_mode=True))
            for a, b in pairwise(features)
        )
        self.head = nn.Sequential(
            *_convolutions(features[0], features[0], depth - 1, Leaky), Head(features[0], sizes[0])
        )

    def forward(self, x: Tensor) -> Tensor:
        level, alpha = self.now.level, self.now.alpha
        for _ in range(level, len(self.blocks)):
            x = down(x)
        h = self.from_image[level](x)
        for number in reversed(range(level)):
            h = self.blocks[number](h)
            if number == level - 1 and alpha < 1.0:
                h = torch.lerp(self.from_image[number](down(x)), h, alpha)
        return self.head(h)


class _Normed(nn.Sequential):
    """A leaky rectifier and pixel norm."""

    def __init__(self) -> None:
        super().__init__(Leaky(), PixelNorm())


def _convolutions(inputs: int, outputs: int, count: int, after: Callable[[], nn.Module]) -> list[nn.Module]:
    """`count` 3 x 3 convolutions, the first one from `inputs` channels, each with what comes after it."""
    layers: list[nn.Module] = []
    for number in range(count):
        layers += [EqualisedConv(inputs if number == 0 else outputs, outputs, 3), after()]
    return layers
