"""A small StyleGAN: codes become styles, which modulate every convolution of the generator; noise adds detail.

Glossary: as in `adversarial`, with
    w   the style (n, latent_dim) that the mapping network makes of a code
    s   what a layer makes of w: a factor for each of its input channels
    gamma  weight of the gradient penalty R1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..base import Batch, Losses
from ..data_spec import DataSpec
from ..nets.sides import Size, enlarged
from .base import AdversarialModel, AdversarialSettings, squared_gradients
from .equalised import EqualisedConv, EqualisedLinear, Head, Leaky, PixelNorm, channels_of, down, resolutions

_MAPPING_RATE = 0.1  # of the mapping network's learning rate; the paper's 0.01 is for half a million steps
_MEAN_CODES = 256  # over which the mean style is taken
_TINY = 1e-8


class StyleGAN(AdversarialModel):
    """Karras et al., arXiv:1812.04948 (mapping, style mixing, noise) and arXiv:1912.04958 (modulated convolutions,
    skip connections in G, a residual D).

    discriminator  -E log sigma(D(x)) - E log(1 - sigma(D(G(z)))) + gamma / 2 E |grad D(x)|^2
    generator      -E log sigma(D(G(z)))

    R1, the penalty on the gradients at real examples, makes the game converge near its solution (Mescheder et al.,
    arXiv:1801.04406, equation 9). Some samples of G's training take the styles of another code from some layer on, so
    that the levels learn to be independent. Left out: the path-length penalty and the lazy evaluation of R1.

    r1: gamma. style_mixing: chance that a sample's styles are mixed. mapping_layers: of the mapping network.
    width: w; 4w channels at the lowest resolution, halved with each further one down to w.
    depth: convolutions at each resolution. The others: as in `AdversarialSettings`.
    """

    family = "stylegan"
    generator: StyleGenerator

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 2e-2,
        learning_rate_discriminator: float = 2e-2,
        beta1: float = 0.0,
        discriminator_steps: int = 2,
        r1: float = 0.1,
        style_mixing: float = 0.1,
        mapping_layers: int = 2,
        latent_dim: int = 32,
        width: int = 8,
        depth: int = 1,
    ) -> None:
        self._sizes = resolutions(data, self.family)
        self._mapping_layers = mapping_layers
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
        self.r1 = r1
        self.style_mixing = style_mixing

    def discriminator_loss(self, batch: Batch, generator: Generator) -> Losses:
        """The logistic loss and R1, whose part is E |grad D(x)|^2."""
        losses = super().discriminator_loss(batch, generator)
        penalty = squared_gradients(self.discriminator, batch.x).mean()
        return Losses(losses.total + 0.5 * self.r1 * penalty, {**losses.parts, "r1": penalty})

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, truncation: float = 1.0
    ) -> Tensor:
        """n samples (n, *data.shape), rounded to the lattice; truncation psi: styles are wbar + psi (w - wbar).

        References: arXiv:1812.04948, appendix B.
        """
        w = self.generator.mapping(self._codes(n, generator))
        if truncation != 1.0:
            mean = self._mean_style()
            w = mean + truncation * (w - mean)
        x = self._output(self.generator.synthesise(self.generator.everywhere(w), generator))
        return self.data.to_lattice(x)

    def _generate(self, z: Tensor, condition: Tensor | None, generator: Generator) -> Tensor:
        """Samples with noise and, while G trains, with some styles mixed."""
        styles = self.generator.everywhere(self.generator.mapping(z))  # (n, layers, latent_dim)
        n, layers = styles.shape[:2]
        if self.training and self.style_mixing > 0.0 and layers > 1:
            other = self.generator.mapping(self._codes(n, generator))
            cut = torch.randint(1, layers, (n,), generator=generator, device=z.device)
            kept = torch.rand(n, generator=generator, device=z.device) >= self.style_mixing
            styles = mix(styles, other, torch.where(kept, layers, cut))
        return self._output(self.generator.synthesise(styles, generator))

    def _mean_style(self) -> Tensor:
        """wbar (latent_dim,) under the current weights, over the same codes every time."""
        fixed = torch.Generator(self.device).manual_seed(0)
        return self.generator.mapping(self._codes(_MEAN_CODES, fixed)).mean(0)

    def _build_discriminator(self, width: int, depth: int) -> nn.Module:
        return ResidualCritic(self.data.shape[0], self._sizes, width=width, depth=depth)

    def _build_generator(self, width: int, depth: int) -> nn.Module:
        return StyleGenerator(
            self.latent_dim, self._mapping_layers, self.data.shape[0], self._sizes, width=width, depth=depth
        )

    def _initialise(self) -> None:
        """The layers draw their own weights."""


class StyleGenerator(nn.Module):
    """Codes (n, d) to images (n, C, H, W) of the last of `sizes`; each resolution adds its image to the one below."""

    def __init__(
        self,
        inputs: int,
        mapping_layers: int,
        channels: int,
        sizes: Sequence[Size],
        *,
        width: int,
        depth: int,
    ) -> None:
        super().__init__()
        dense = [
            layer
            for _ in range(mapping_layers)
            for layer in (EqualisedLinear(inputs, inputs, learning_rate=_MAPPING_RATE), Leaky())
        ]
        self.mapping = nn.Sequential(PixelNorm(), *dense)
        features = channels_of(width, len(sizes))
        self.constant = nn.Parameter(torch.randn(1, features[0], *sizes[0]))
        self.levels = nn.ModuleList(
            nn.ModuleList(StyledConv(before if i == 0 else here, here, inputs) for i in range(depth))
            for before, here in pairwise((features[0], *features))
        )
        self.to_image = nn.ModuleList(ModulatedConv(f, channels, 1, inputs, demodulate=False) for f in features)
        self.layers = depth * len(sizes)
        self.sizes = sizes

    def forward(self, z: Tensor) -> Tensor:
        """Without noise."""
        return self.synthesise(self.everywhere(self.mapping(z)), None)

    def everywhere(self, w: Tensor) -> Tensor:
        """The same style (n, d) for every layer: (n, layers, d)."""
        return w[:, None].expand(-1, self.layers, -1)

    def synthesise(self, styles: Tensor, generator: Generator | None) -> Tensor:
        """Images of the styles (n, layers, d) of every layer, from the lowest resolution on; no generator, no noise."""
        h = self.constant.expand(len(styles), -1, -1, -1)
        image: Tensor | None = None
        by_layer = iter(styles.unbind(1))
        for number, (layers, to_image, size) in enumerate(zip(self.levels, self.to_image, self.sizes, strict=True)):
            if number:
                h = enlarged(h, size)
            for layer in layers.children():
                w = next(by_layer)
                h = layer(h, w, generator)
            own = to_image(h, w)
            image = own if image is None else enlarged(image, size) + own
        assert image is not None
        return image


class ModulatedConv(nn.Module):
    """A convolution whose weights are scaled by the style for each input channel, and then, `demodulate`, to norm 1
    for each output channel: w'_jik = s_i w_jik, w''_jik = w'_jik / sqrt(sum_ik w'_jik^2); arXiv:1912.04958, equations 1
    and 3.

    Instead of the weights, the input and the output are scaled: the result is the same, without a copy of the
    weights for each example.
    """

    def __init__(self, inputs: int, outputs: int, size: int, style: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.style = EqualisedLinear(style, inputs, bias=1.0)
        self.scale = 1.0 if demodulate else 1.0 / math.sqrt(inputs * size**2)
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.convolve(x, w) + self.bias[:, None, None]

    def convolve(self, x: Tensor, w: Tensor) -> Tensor:
        """Without the bias; x (n, inputs, H, W), w (n, style)."""
        s = self.style(w)  # (n, inputs)
        weight = self.weight * self.scale
        y = F.conv2d(x * s[:, :, None, None], weight, padding=weight.shape[-1] // 2)
        return y * demodulation(weight, s)[:, :, None, None] if self.demodulate else y


class StyledConv(ModulatedConv):
    """A modulated 3 x 3 convolution, noise of one plane an example with a learned strength, and a leaky rectifier."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__(inputs, outputs, 3, style)
        self.strength = nn.Parameter(torch.zeros(()))
        self.activation = Leaky()

    def forward(self, x: Tensor, w: Tensor, generator: Generator | None = None) -> Tensor:
        y = self.convolve(x, w) + self.bias[:, None, None]
        if generator is not None:
            y = y + self.strength * torch.randn(len(y), 1, *y.shape[2:], generator=generator, device=y.device)
        return self.activation(y)


class ResidualCritic(nn.Module):
    """Images (n, C, H, W) to scores (n, 1): a residual block for each halving, and the head at the smallest image."""

    def __init__(self, channels: int, sizes: Sequence[Size], *, width: int, depth: int) -> None:
        super().__init__()
        features = channels_of(width, len(sizes))[::-1]  # from the largest image down
        self.body = nn.Sequential(
            EqualisedConv(channels, features[0], 1),
            Leaky(),
            *(_Halving(here, below, depth) for here, below in pairwise(features)),
            Head(features[-1], sizes[0]),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class _Halving(nn.Module):
    """(conv(x) + skip(x)) / sqrt(2) at half the sides; arXiv:1912.04958, figure 7c."""

    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(depth):
            layers += [EqualisedConv(inputs, outputs if number == depth - 1 else inputs, 3), Leaky()]
        self.body = nn.Sequential(*layers)
        self.skip = EqualisedConv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (down(self.body(x)) + self.skip(down(x))) / math.sqrt(2.0)


def demodulation(weight: Tensor, s: Tensor) -> Tensor:
    """1 / |w'_j| (n, outputs), of weights (outputs, inputs, k, k) and factors s (n, inputs)."""
    squares = weight.square().sum((2, 3))  # (outputs, inputs)
    return (s.square() @ squares.T + _TINY).rsqrt()


def mix(styles: Tensor, other: Tensor, cut: Tensor) -> Tensor:
    """Styles (n, layers, d) up to layer `cut` (n,), exclusive, and those of `other` (n, d) from there on."""
    coarse = torch.arange(styles.shape[1], device=styles.device) < cut[:, None]  # (n, layers)
    return torch.where(coarse[:, :, None], styles, other[:, None])
