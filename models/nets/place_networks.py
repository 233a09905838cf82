"""Networks between examples and vectors at places: a map of an image, of lower resolution, or a few places of a vector.

Shapes: n examples, T places, d numbers at each, C channels, H x W pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..data_spec import DataSpec
from .layers import ResidualBlock, decoder_for, encoder_for
from .sides import Enlarged, HalvingConv, Size, image_shape, shrunk

_VECTOR_PLACES = 4  # T of vectors


def places_of(spec: DataSpec, downsampling: int, family: str) -> Size:
    """Rows and columns of the places: an image's sides by `downsampling`, rounded up; vectors have 1 x 4."""
    if spec.kind != "image":
        return 1, _VECTOR_PLACES
    return shrunk(image_shape(spec, family)[1:], downsampling)


def place_networks(
    spec: DataSpec,
    *,
    written: int,
    read: int,
    outputs_per_value: int,
    downsampling: int,
    width: int,
    depth: int,
    family: str,
) -> tuple[nn.Module, nn.Module]:
    """Examples (n, *spec.shape) to (n, T, written), and (n, T, read) to what `decoder_for` gives.

    downsampling: 2 or 4; vectors do not heed it. width: w; 2w channels at half resolution, 4w at a quarter; vectors
    have 4w hidden units. depth: blocks at each lower resolution; vectors have depth + 1 hidden layers.

    Raises ValueError for another factor, and for data that the networks cannot take.
    """
    if spec.kind == "image":
        shape = image_shape(spec, family)
        widths = map_widths(width, downsampling)
        encoder: nn.Module = MapEncoder(shape[0], written, widths, depth)
        return encoder, MapDecoder(read, outputs_per_value * shape[0], widths, depth, shape[1:])
    t = _VECTOR_PLACES
    flat = encoder_for(spec, t * written, width=width, depth=depth, family=family)
    encoder = nn.Sequential(flat, nn.Unflatten(1, (t, written)))
    decoder = decoder_for(spec, t * read, width=width, depth=depth, family=family, outputs_per_value=outputs_per_value)
    return encoder, nn.Sequential(nn.Flatten(), decoder)


def map_widths(width: int, downsampling: int) -> tuple[int, ...]:
    """Channels at each lower resolution, the highest first. Raises ValueError for a factor other than 2 and 4."""
    if downsampling not in (2, 4):
        raise ValueError(f"downsampling is {downsampling}; wanted 2 or 4")
    return (2 * width,) if downsampling == 2 else (2 * width, 4 * width)


class MapEncoder(nn.Sequential):
    """Images (n, C, H, W) to vectors (n, T, code_dim), one for each place of the lowest resolution."""

    def __init__(self, channels: int, code_dim: int, widths: tuple[int, ...], depth: int) -> None:
        blocks: list[nn.Module] = []
        for inside, outside in zip((channels, *widths), widths, strict=False):
            blocks.append(HalvingConv(inside, outside))
            blocks += [ResidualBlock(outside) for _ in range(depth - 1)]
            blocks.append(nn.SiLU())
        super().__init__(*blocks, nn.Conv2d(widths[-1], code_dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(2).transpose(1, 2)


class MapDecoder(nn.Sequential):
    """Vectors (n, T, code_dim) to images (n, channels, H, W): the encoder backwards, up-sampled as `ConvDecoder`.

    size: of the images.
    """

    def __init__(self, code_dim: int, channels: int, widths: tuple[int, ...], depth: int, size: Size) -> None:
        self.rows = shrunk(size, 2 ** len(widths))[0]
        blocks: list[nn.Module] = [nn.Conv2d(code_dim, widths[-1], 3, padding=1)]
        for number, outside in reversed(list(enumerate((widths[0] // 2, *widths[:-1])))):
            blocks += [ResidualBlock(widths[number]) for _ in range(depth - 1)]
            blocks += [nn.SiLU(), Enlarged(shrunk(size, 2**number))]
            blocks.append(nn.Conv2d(widths[number], outside, 3, padding=1))
        super().__init__(*blocks, nn.SiLU(), nn.Conv2d(widths[0] // 2, channels, 3, padding=1))

    def forward(self, q: Tensor) -> Tensor:
        return super().forward(q.transpose(1, 2).unflatten(2, (self.rows, -1)))
