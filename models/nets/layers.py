"""Small network blocks that several families share.

Shapes: n examples, C channels, H x W pixels, w = `width`. The convolutional pair walks between the image and a map of
4w channels at a quarter of its sides, rounded up as `sides` says; the perceptron serves vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from ..data_spec import DataSpec
from .sides import Enlarged, HalvingConv, image_shape, shrunk

HIDDEN_PER_WIDTH = 4  # hidden units of a vector network for each unit of `width`

Activation = Callable[[], nn.Module]


def require_kind(spec: DataSpec, family: str, kinds: tuple[str, ...] = ("image", "vector")) -> None:
    """Raises ValueError unless the family takes this kind of data."""
    if spec.kind not in kinds:
        raise ValueError(f"{family} takes {' and '.join(kinds)} data, data {spec.name!r} is {spec.kind}")


class Perceptron(nn.Sequential):
    """(n, inputs) to (n, outputs) through `layers` hidden layers of `hidden` units."""

    def __init__(
        self, inputs: int, outputs: int, *, hidden: int, layers: int, activation: Activation = nn.SiLU
    ) -> None:
        sizes = [inputs] + [hidden] * layers
        blocks: list[nn.Module] = []
        for size, following in pairwise(sizes):
            blocks += [nn.Linear(size, following), activation()]
        super().__init__(*blocks, nn.Linear(sizes[-1], outputs))


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(x)))), 3 x 3 with `channels` in and out (He et al., arXiv:1603.05027).

    The second convolution starts at zero, so that the block starts as the identity, whatever the depth.
    """

    def __init__(self, channels: int, *, activation: Activation = nn.SiLU) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = activation()
        self.start_at_identity()

    def start_at_identity(self) -> None:
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.activation(self.first(self.activation(x))))


class ConvEncoder(nn.Module):
    """Images (n, C, H, W) to features (n, outputs): two strided convolutions, to 2w and 4w channels (DCGAN's
    architecture, arXiv:1511.06434); none at full resolution, where double backward would cost the most.

    depth: blocks at each of the two lower resolutions, the strided one included.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        width: int,
        depth: int,
        activation: Activation = nn.SiLU,
    ) -> None:
        super().__init__()
        channels, height, side = shape
        blocks: list[nn.Module] = []
        for inside, outside in ((channels, 2 * width), (2 * width, 4 * width)):
            blocks.append(HalvingConv(inside, outside))
            blocks += [ResidualBlock(outside, activation=activation) for _ in range(depth - 1)]
            blocks.append(activation())
        rows, columns = shrunk((height, side), 4)
        self.body = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4 * width * rows * columns, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class ConvDecoder(nn.Module):
    """Features (n, inputs) to images (n, C, H, W): the encoder backwards, 4w -> 2w -> w channels.

    Up-sampling is by nearest neighbour and a 3 x 3 convolution, which leaves no checkerboard (Odena et al.,
    doi:10.23915/distill.00003). depth: as the encoder's.
    """

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        *,
        width: int,
        depth: int,
        activation: Activation = nn.SiLU,
    ) -> None:
        super().__init__()
        channels, size = shape[0], shape[1:]
        lowest = (4 * width, *shrunk(size, 4))
        blocks: list[nn.Module] = [
            nn.Linear(inputs, lowest[0] * lowest[1] * lowest[2]),
            nn.Unflatten(1, lowest),  # (n, 4w, H/4, W/4)
        ]
        for inside, outside, larger in ((4 * width, 2 * width, shrunk(size)), (2 * width, width, size)):
            blocks += [ResidualBlock(inside, activation=activation) for _ in range(depth - 1)]
            blocks += [
                activation(),
                Enlarged(larger),
                nn.Conv2d(inside, outside, 3, padding=1),
            ]
        self.body = nn.Sequential(*blocks, activation(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        return self.body(features)


def he_initialise(network: nn.Module) -> None:
    """Normal weights that keep the signal's variance through rectifiers, and no biases (arXiv:1502.01852).

    Torch's own initialisation shrinks the signal in every layer; a generator then starts almost independent of its
    codes and collapses.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.start_at_identity()


def encoder_for(
    spec: DataSpec,
    outputs: int,
    *,
    width: int,
    depth: int,
    family: str,
    activation: Activation = nn.SiLU,
) -> nn.Module:
    """Examples (n, *spec.shape) to (n, outputs): convolutional for images, a perceptron for vectors.

    Vectors: depth + 1 hidden layers of 4 * width units. Raises ValueError for data that it cannot take.
    """
    require_kind(spec, family)
    if spec.kind == "vector":
        return Perceptron(
            spec.dimensions,
            outputs,
            hidden=HIDDEN_PER_WIDTH * width,
            layers=depth + 1,
            activation=activation,
        )
    shape = image_shape(spec, family)
    return ConvEncoder(shape, outputs, width=width, depth=depth, activation=activation)


def decoder_for(
    spec: DataSpec,
    inputs: int,
    *,
    width: int,
    depth: int,
    family: str,
    outputs_per_value: int = 1,
    activation: Activation = nn.SiLU,
) -> nn.Module:
    """Codes (n, inputs) to (n, outputs_per_value * C, H, W) or (n, outputs_per_value * D); see `encoder_for`."""
    require_kind(spec, family)
    if spec.kind == "vector":
        return Perceptron(
            inputs,
            outputs_per_value * spec.dimensions,
            hidden=HIDDEN_PER_WIDTH * width,
            layers=depth + 1,
            activation=activation,
        )
    channels, height, side = image_shape(spec, family)
    shape = (outputs_per_value * channels, height, side)
    return ConvDecoder(inputs, shape, width=width, depth=depth, activation=activation)
