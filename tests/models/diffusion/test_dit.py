"""The transformer of dit: its patches, its attention, and what modulates it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.diffusion.dit import DiT
from gentune.models.diffusion.label_guidance import LabelledNetwork
from gentune.models.nets.diffusion_transformer import DiffusionTransformer, ModulatedBlock

IMAGES = DataSpec("toy", "image", (1, 8, 8), levels=17, condition=ConditionSpec("label", classes=3))


def random_network(shape: tuple[int, int, int], patch: int, **settings: int) -> DiffusionTransformer:
    """One whose gates and last layer are not zero."""
    torch.manual_seed(0)
    network = DiffusionTransformer(shape, patch=patch, width=32, depth=2, heads=2, **settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def inputs(shape: tuple[int, int, int], n: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, e = torch.randn(n, *shape, generator=generator), torch.randn(n, 32, generator=generator)
    return x, torch.rand(n, generator=generator), e


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (4, 12)])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_are_put_together_as_they_were_cut(size: tuple[int, int], patch: int) -> None:
    network = DiffusionTransformer((1, *size), patch=patch, width=patch * patch, depth=1, heads=1)
    assert isinstance(network.embedding, nn.Conv2d)
    with torch.no_grad():  # a token is its patch, row by row
        network.embedding.weight.copy_(torch.eye(patch * patch).view_as(network.embedding.weight))
    seen: list[Tensor] = []
    network.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(0))
    network(x, torch.zeros(2), torch.zeros(2, patch * patch))
    assert torch.allclose(network._image(seen[0] - network.position), x, atol=1e-6)


def test_it_starts_at_zero_with_blocks_that_change_nothing() -> None:
    torch.manual_seed(0)
    network = DiffusionTransformer((2, 8, 8), patch=2, width=32, depth=2, heads=2, outputs=4)
    x, t, e = inputs((2, 8, 8))
    assert torch.equal(network(x, t, e), torch.zeros(3, 4, 8, 8))
    h = torch.randn(3, 16, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(network.blocks[0](h, e), h)


def test_attention_is_that_of_torch() -> None:
    block = random_network((1, 4, 4), 1).blocks[0]
    assert isinstance(block, ModulatedBlock)
    oracle = nn.MultiheadAttention(32, 2, batch_first=True)
    oracle.load_state_dict(
        {
            "in_proj_weight": block.to_heads.weight,
            "in_proj_bias": block.to_heads.bias,
            "out_proj.weight": block.from_heads.weight,
            "out_proj.bias": block.from_heads.bias,
        }
    )
    h = torch.randn(3, 16, 32, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(block._attended(h), oracle(h, h, h)[0], atol=1e-5)


def test_places_time_and_condition_matter() -> None:
    shape = (1, 4, 4)
    network = random_network(shape, 1)
    x, t, e = inputs(shape)
    out = network(x, t, e)
    moved = network(x.roll(1, dims=-1), t, e)  # without positions a transformer would only move its result
    assert not torch.allclose(moved, out.roll(1, dims=-1), atol=1e-2)
    assert not torch.allclose(network(x, 1.0 - t, e), out, atol=1e-2)
    assert not torch.allclose(network(x, t, e + 1.0), out, atol=1e-2)
    rows = torch.cat([network(x[i : i + 1], t[i : i + 1], e[i : i + 1]) for i in range(3)])
    assert torch.allclose(rows, out, atol=1e-5)


def test_refusals_name_what_is_wanted() -> None:
    with pytest.raises(ValueError, match="width of a transformer is 30; wanted a multiple of its 4 heads"):
        DiffusionTransformer((1, 8, 8), patch=2, width=30, depth=1, heads=4)
    with pytest.raises(ValueError, match="dit takes image data, data 'toy' is vector"):
        DiT(DataSpec("toy", "vector", (2,)))


def test_widths_are_rounded_up_to_whole_heads() -> None:
    network = DiT(IMAGES, width=33).network
    assert isinstance(network, LabelledNetwork)
    assert network.label_embedding.weight.shape == (4, 64)
