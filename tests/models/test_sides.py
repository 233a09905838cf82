"""Networks on images whose sides are no multiples of 4."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gentune.models import DataSpec
from gentune.models.adversarial.dcgan import TransposedDecoder
from gentune.models.adversarial.equalised import down
from gentune.models.nets.layers import ConvDecoder, ConvEncoder
from gentune.models.nets.sides import DoublingConv, HalvingConv, Size, enlarged, image_shape, padded, shrunk, size_of
from gentune.models.nets.unet import UNet

SIZES: list[Size] = [(4, 4), (14, 14), (28, 28), (30, 20), (17, 23), (9, 9), (5, 6)]


def _image(size: Size, channels: int = 2) -> Tensor:
    return torch.randn(3, channels, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
def test_halves_are_rounded_up_and_doubled_to_what_they_were(size: Size) -> None:
    x = _image(size)
    half = shrunk(size)
    assert [2 * h - s for h, s in zip(half, size, strict=True)] == [side % 2 for side in size]
    assert shrunk(half) == shrunk(size, 4)
    assert size_of(HalvingConv(2, 1)(x)) == size_of(down(x)) == half
    assert size_of(DoublingConv(2, 1, size, bias=True)(_image(half))) == size
    rows, columns = (torch.arange(side) // 2 for side in size)
    assert torch.equal(enlarged(_image(half), size), _image(half)[:, :, rows][:, :, :, columns])


def test_every_pixel_counts_on_the_way_down() -> None:
    x = _image((5, 7)).requires_grad_()
    for halved in (HalvingConv(2, 1)(x), down(x)):
        (gradient,) = torch.autograd.grad(halved.sum(), x)
        assert (gradient != 0).all()


def test_means_at_an_edge_are_of_the_pixels_that_there_are() -> None:
    assert torch.equal(down(torch.ones(1, 1, 5, 3)), torch.ones(1, 1, 3, 2))


def test_what_is_added_is_zero_and_below_and_on_the_right() -> None:
    x = _image((5, 6))
    larger = padded(x, 4)
    assert size_of(larger) == (8, 8)
    assert torch.equal(larger[..., :5, :6], x)
    assert larger.abs().sum() == x.abs().sum()


@pytest.mark.parametrize("size", SIZES)
def test_pairs_of_networks_come_back_to_the_size(size: Size) -> None:
    encoder = ConvEncoder((2, *size), 5, width=2, depth=1)
    decoders: list[nn.Module] = [
        ConvDecoder(5, (2, *size), width=2, depth=1),
        TransposedDecoder(5, (2, *size), width=2, depth=1),
    ]
    for decoder in decoders:
        assert decoder(encoder(_image(size))).shape == (3, 2, *size)


@pytest.mark.parametrize("size", SIZES)
def test_the_unet_takes_any_sides(size: Size) -> None:
    network = UNet((2, *size), width=8, depth=1, dropout=0.0, embedding=4)
    assert network(_image(size), torch.rand(3), torch.zeros(3, 4)).shape == (3, 2, *size)


def test_sides_below_four_and_other_data_are_refused() -> None:
    assert image_shape(DataSpec("x", "image", (1, 4, 5), levels=2), "vae") == (1, 4, 5)
    with pytest.raises(ValueError, match="vae needs images of at least 4 x 4 pixels, data 'x' has 4 x 3"):
        image_shape(DataSpec("x", "image", (1, 4, 3), levels=2), "vae")
    with pytest.raises(ValueError, match="vae takes image data, data 'x' is vector"):
        image_shape(DataSpec("x", "vector", (4,)), "vae")
