"""Image-to-image translation without pairs.

Glossary: as in `translation`, and
    F        the generator of the other direction, from images to conditions
    D_x, D_c  discriminators of images and of conditions
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from ..base import Batch, Losses, Stage
from ..data_spec import DataSpec
from ..nets.residual_generator import ResidualGenerator
from .base import Norm
from .position_training import PositionTraining
from .translation import PatchDiscriminator, TranslationModel

_KEPT = 50  # images that a discriminator sees again
_POSITIONS_SHARE = 0.8  # of the steps, where positions are learned
_INSIDE = 0.99  # what has been moved is scaled by it: the inverse of tanh is finite there


class CycleGAN(TranslationModel):
    """Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks", arXiv:1703.10593.

    discriminators  1/2 E (D_x(x) - 1)^2 + 1/2 E D_x(G(c))^2, and the same of D_c, c and F(x)
    generators      E (D_x(G(c)) - 1)^2 + E (D_c(F(x)) - 1)^2
                    + lambda (E |F(G(c)) - c| + E |G(F(x)) - x|)                  (equations 1 to 3, least squares)
                    + lambda mu (E |G(x) - x| + E |F(c) - c|)                     (section 5.2)

    Both sides are shuffled independently: of a batch, images come from one half and conditions from the other, so that
    pairs are never seen. Discriminators see images of the generators' past, too (`ImageBuffer`).

    cycle_weight: lambda. identity_weight: mu; without effect where images and conditions differ in channels. blocks:
    residual blocks of both generators. width: channels of the first maps. discriminator_norm: as `normalise` has it.
    positions: "learned": before networks, pixels move (`PositionTraining`), in a stage of its own. A generator is then
    tanh(atanh(.99 P c) + network(P c)), its network 0 at first, and the other one has P transposed. Networks alone
    prefer small changes, and do not find a rotation. Without effect where images and conditions differ in channels.
    The others are as in the GANs of this package.
    """

    family = "cyclegan"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 2e-3,
        learning_rate_discriminator: float = 1e-3,
        beta1: float = 0.5,
        cycle_weight: float = 10.0,
        identity_weight: float = 0.0,
        blocks: int = 2,
        width: int = 24,
        discriminator_norm: Norm = "spectral",
        positions: Literal["kept", "learned"] = "kept",
    ) -> None:
        super().__init__(data)
        self.rates, self.beta1 = (learning_rate_discriminator, learning_rate_generator), beta1
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        sides = {"x": self.channels, "c": self.condition_channels}
        self.discriminators = nn.ModuleDict(
            {side: PatchDiscriminator(n, self.size, width=width, norm=discriminator_norm) for side, n in sides.items()}
        )

        self.positions = None
        if positions == "learned" and self.channels == self.condition_channels:
            self.positions = PositionTraining(self.channels, self.size, self._sides, lambda: self.progress.fraction)

        def generator(inputs: int, outputs: int) -> ResidualGenerator:
            moves = self.positions is not None
            return ResidualGenerator(inputs, outputs, self.size, width=width, blocks=blocks, zero_at_first=moves)

        self.generators = nn.ModuleDict(
            {"x": generator(sides["c"], sides["x"]), "c": generator(sides["x"], sides["c"])}
        )
        self.past = nn.ModuleDict({side: ImageBuffer((n, *self.size)) for side, n in sides.items()})

    def stages(self) -> tuple[Stage, ...]:
        networks = self.discriminators, self.generators
        losses = self.discriminator_loss, self.generator_loss
        if self.positions is None:
            return (self.adversarial_stage(networks, losses, self.rates, self.beta1),)
        moving = Stage("positions", phases=self.positions.phases(), share=_POSITIONS_SHARE, depends_on=("positions",))
        return moving, self.adversarial_stage(networks, losses, self.rates, self.beta1, 1.0 - _POSITIONS_SHARE)

    def discriminator_loss(self, batch: Batch, generator: Generator) -> Losses:
        x, c = self._sides(batch)
        with torch.no_grad():
            fakes = {"x": self._to("x", c), "c": self._to("c", x)}
        total = x.new_zeros(())
        for side, real in (("x", x), ("c", c)):
            fake = self.past[side](fakes[side], generator) if self.training else fakes[side]
            judge = self.discriminators[side]
            total = total + 0.5 * ((judge(real) - 1.0).square().mean() + judge(fake).square().mean())
        return Losses(total)

    def generator_loss(self, batch: Batch, generator: Generator) -> Losses:
        x, c = self._sides(batch)
        fake_x, fake_c = self._to("x", c), self._to("c", x)
        adversarial = (self.discriminators["x"](fake_x) - 1.0).square().mean()
        adversarial = adversarial + (self.discriminators["c"](fake_c) - 1.0).square().mean()
        cycle = (self._to("c", fake_x) - c).abs().mean() + (self._to("x", fake_c) - x).abs().mean()
        total = adversarial + self.cycle_weight * cycle
        if self.identity_weight > 0.0 and self.channels == self.condition_channels:
            same = (self._to("x", x) - x).abs().mean() + (self._to("c", c) - c).abs().mean()
            total = total + self.identity_weight * self.cycle_weight * same
        return Losses(total, {"cycle": cycle.detach()})

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor, generator: Generator) -> Tensor:
        """n images of conditions (n, C', h, w), rounded to the lattice."""
        return self.data.to_lattice(self._to("x", self.seen(condition)))

    def _to(self, side: str, image: Tensor) -> Tensor:
        if self.positions is None:
            return torch.tanh(self.generators[side](image).float())
        moved = (self.positions.map(image) if side == "x" else self.positions.map.inverse(image)).clamp(-1.0, 1.0)
        return torch.tanh(torch.atanh(_INSIDE * moved) + self.generators[side](moved).float())

    def _sides(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images and conditions of different examples: those of one half of the batch, and of the other."""
        half = (len(batch) + 1) // 2
        return batch.x[:half], self.seen(batch.condition)[-half:]


class ImageBuffer(nn.Module):
    """The last 50 images of a generator: each new image is shown to the discriminator, or with probability 1/2 takes
    the place of a kept one, which is shown.

    References: Shrivastava et al., arXiv:1612.07828, section 2.3.
    """

    kept: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(_KEPT, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, generator: Generator) -> Tensor:
        room = _KEPT - int(self.count)
        if room > 0:
            new = images[:room]
            self.kept[_KEPT - room : _KEPT - room + len(new)] = new
            self.count += len(new)
            return images
        swapped = torch.rand(len(images), generator=generator, device=images.device) < 0.5
        # Different places, so that none is written twice.
        places = torch.randperm(max(_KEPT, len(images)), generator=generator, device=images.device)[: len(images)]
        swapped &= places < _KEPT
        places = places[swapped]
        shown = images.clone()
        shown[swapped] = self.kept[places]
        self.kept[places] = images[swapped]
        return shown
