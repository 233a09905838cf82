"""Diffusions conditioned on images: what the network sees, and guidance between with and without."""

from __future__ import annotations

import pytest
import torch

from gentune.bench.training.loop import LoopSettings, train
from gentune.models.base import Batch
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.diffusion.couplings import paired_noise
from gentune.models.diffusion.ddpm import DDPM
from gentune.models.diffusion.flow_matching import FlowMatching
from gentune.models.diffusion.label_guidance import usual_network

IMAGES = DataSpec("toy", "image", (1, 8, 8), levels=5, condition=ConditionSpec("image", (1, 4, 4), levels=5))
VECTORS = DataSpec("toy", "vector", (2,), condition=ConditionSpec("image", (1, 4, 4), levels=5))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(n: int, seed: int = 0) -> Batch:
    """Images of one shade, and the same shade as a condition of half the size."""
    shade = torch.randint(5, (n, 1, 1, 1), generator=generator(seed)) / 2.0 - 1.0
    return Batch(shade.expand(n, 1, 8, 8).clone(), shade.expand(n, 1, 4, 4).clone())


@pytest.mark.parametrize("spec", [IMAGES, VECTORS], ids=["images", "vectors"])
def test_a_condition_stands_beside_the_input_or_is_left_out(spec: DataSpec) -> None:
    network = usual_network(spec, width=8, depth=1, dropout=0.0, family="ddpm")
    condition = pairs(6).condition
    given, none = network.labels(6, condition), network.labels(6, None)
    assert (given[:, :1] == 1.0).all()
    assert not none.any()
    if spec is IMAGES:
        assert given.shape == (6, 2, 8, 8)
        assert torch.allclose(given[:, 1:], pairs(6).x)
    kept = network.dropped(given, 0.5, generator(1))
    left_out = ~kept.flatten(1).any(1)
    assert 0 < left_out.sum() < 6
    assert torch.equal(kept[~left_out], given[~left_out])
    with pytest.raises(ValueError, match=r"ddpm needs one image an example, shape \(6, 1, 4, 4\), got \(6,\)"):
        network.labels(6, torch.zeros(6, dtype=torch.int64))


def test_guidance_of_zero_and_one_is_without_and_with_the_condition() -> None:
    network = usual_network(IMAGES, width=8, depth=1, dropout=0.0, family="ddpm")
    torch.manual_seed(0)
    for parameter in network.parameters():  # the last layer starts at zero
        torch.nn.init.normal_(parameter, std=0.2)
    x, t, c = torch.randn(4, 1, 8, 8, generator=generator()), torch.full((4,), 0.5), pairs(4).condition
    given = network.labels(4, c)
    without, own = network(x, t, network.labels(4, None)), network(x, t, given)
    assert not torch.allclose(without, own, atol=1e-3)
    for scale, wanted in ((0.0, without), (1.0, own), (2.0, 2.0 * own - without)):
        assert torch.allclose(network.guided(x, t, given, scale), wanted, atol=1e-4)


@pytest.mark.parametrize("family", [DDPM, FlowMatching])
def test_samples_follow_their_condition(family: type[DDPM] | type[FlowMatching]) -> None:
    model = family(IMAGES, width=8, unconditional_probability=0.1, learning_rate=5e-3)
    train(model, pairs(256), LoopSettings(batch_size=64), steps=30, seed=0)
    asked = pairs(40, seed=1)
    shades = model.eval().sample(40, condition=asked.condition, generator=generator()).mean((1, 2, 3))
    assert torch.stack([shades, asked.x[:, 0, 0, 0]]).corrcoef()[0, 1] > 0.8
    assert model.sample(3, generator=generator()).shape == (3, 1, 8, 8)


def test_images_keep_their_noise_under_optimal_transport() -> None:
    x, noise = torch.randn(6, 2, generator=generator()), torch.randn(6, 2, generator=generator(1))
    assert torch.equal(paired_noise(x, noise, torch.rand(6, 3, 4, 4), "optimal_transport"), noise)
