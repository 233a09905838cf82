"""GANs of images from images: losses in closed form, sides that are shuffled, and what a short training learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gentune.bench.training.loop import LoopSettings, train
from gentune.models import Batch, ConditionSpec, DataSpec
from gentune.models.adversarial.cyclegan import CycleGAN, ImageBuffer
from gentune.models.adversarial.pix2pix import Pix2Pix
from gentune.models.adversarial.srgan import SRGAN, Enlarger
from gentune.models.adversarial.translation import PatchDiscriminator, TranslationModel, cross_entropy
from gentune.models.nets.position_map import PositionMap
from gentune.models.nets.residual_generator import ResidualGenerator
from gentune.models.nets.skip_generator import SkipGenerator, dropped_out

HALF = DataSpec("half", "image", (1, 8, 8), levels=5, condition=ConditionSpec("image", (1, 4, 4), levels=5))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(n: int, seed: int = 0) -> Batch:
    """Images of four shades in quarters, and the same quarters as a condition of half the size, dark for light."""
    shades = torch.randint(5, (n, 1, 2, 2), generator=generator(seed)) / 2.0 - 1.0
    x, c = (shades.repeat_interleave(k, 2).repeat_interleave(k, 3) for k in (4, 2))
    return Batch(x, -c)


def test_cross_entropy_of_undecided_scores_is_log_two() -> None:
    zero = torch.zeros(3, 1, 2, 2)
    assert cross_entropy(zero, zero).item() == pytest.approx(math.log(2.0))
    assert cross_entropy(zero + 30.0, zero - 30.0).item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (16, 16), (32, 20)])
def test_generators_keep_sizes_and_discriminators_score_patches(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=generator())
    assert SkipGenerator(3, 1, size, width=8, dropout=0.5)(x, generator()).shape == (2, 1, *size)
    assert ResidualGenerator(3, 2, size, width=8, blocks=1)(x).shape == (2, 2, *size)
    scores = PatchDiscriminator(3, size, width=8, norm="spectral")(x)
    halvings = 1 if min(size) < 12 else 2
    assert scores.shape == (2, 1, *(-(-side // 2**halvings) for side in size))


def test_a_patch_sees_no_more_than_its_field() -> None:
    judge = PatchDiscriminator(1, (32, 32), width=8, norm="none")
    x = torch.zeros(1, 1, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(judge(x)[0, 0, 4, 4], x)
    rows = gradient[0, 0].abs().sum(1).nonzero()[:, 0]
    assert int(rows.max() - rows.min()) + 1 == 26


@pytest.mark.parametrize(("given", "size", "seen"), [((4, 4), (16, 16), (4, 4)), ((5, 4), (8, 8), (8, 8))])
def test_enlargers_double_sides_where_they_can(given: tuple[int, int], size: tuple[int, int], seen: object) -> None:
    network = Enlarger(1, 1, given, size, width=4, blocks=1)
    assert network.given == seen
    assert network(torch.zeros(2, 1, *given)).shape == (2, 1, *size)


def test_dropout_draws_from_its_generator_and_keeps_the_mean() -> None:
    x = torch.ones(20_000)
    first = dropped_out(x, 0.25, generator())
    assert torch.equal(first, dropped_out(x, 0.25, generator()))
    assert first.mean().item() == pytest.approx(1.0, abs=0.02)
    assert first.unique().tolist() == pytest.approx([0.0, 4 / 3])


def test_pix2pix_minimises_the_absolute_error_beside_the_judgement() -> None:
    torch.manual_seed(0)
    model, batch = Pix2Pix(HALF, width=8, dropout=0.05), pairs(8)
    losses = model.generator_loss(batch, generator())
    fake = torch.tanh(model.generator(model.seen(batch.condition), generator()))
    assert losses.parts["l1"].item() == pytest.approx((fake - batch.x).abs().mean().item(), rel=1e-5)
    weightless = Pix2Pix(HALF, width=8, dropout=0.05, l1_weight=1e-9)
    weightless.load_state_dict(model.state_dict())
    model.eval(), weightless.eval()
    with_it, without = (m.generator_loss(batch, generator()).total.item() for m in (model, weightless))
    assert with_it - without == pytest.approx(100.0 * losses.parts["l1"].item(), rel=1e-3)


def test_sides_of_unpaired_training_are_of_different_examples() -> None:
    model = CycleGAN(HALF, width=8, blocks=1)
    x = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 1, 8, 8)
    images, conditions = model._sides(Batch(x, x[:, :, :4, :4]))
    assert not {*images[:, 0, 0, 0].tolist()} & {*conditions[1:, 0, 0, 0].tolist()}
    assert len(images) == len(conditions) == 4


def test_the_buffer_shows_new_and_old_images_in_equal_parts() -> None:
    buffer = ImageBuffer((1, 1, 1))
    old = torch.zeros(50, 1, 1, 1)
    assert torch.equal(buffer(old, generator()), old)
    new = torch.ones(40, 1, 1, 1)
    shown = buffer(new, generator(1))
    kept = int(buffer.kept.sum())
    assert 10 < kept < 30
    assert int(shown.sum()) == 40 - kept, "an image that is kept is not shown, and the old one in its place is"


@pytest.mark.parametrize("family", [Pix2Pix, SRGAN])
def test_a_short_training_follows_the_condition(family: type[Pix2Pix] | type[SRGAN]) -> None:
    torch.manual_seed(0)
    model = family(HALF, width=8)
    train(model, pairs(128), LoopSettings(batch_size=32), steps=100, seed=0)
    asked = pairs(30, seed=1)
    assert asked.condition is not None
    x = model.eval().sample(30, condition=asked.condition, generator=generator())
    error, at_random = ((x - y).square().mean() for y in (asked.x, asked.x.roll(1, 0)))
    assert error < 0.3 * at_random


@pytest.mark.parametrize("family", [Pix2Pix, SRGAN, CycleGAN])
def test_wrong_conditions_are_refused(family: type[TranslationModel]) -> None:
    with pytest.raises(ValueError, match=f"{family.family} takes images as conditions; data 'plain' has none"):
        family(DataSpec("plain", "image", (1, 8, 8), levels=5))
    model, wrong = family(HALF), torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"needs images as conditions, shape \('n', 1, 4, 4\), got \(2, 1, 8, 8\)"):
        model.sample(2, condition=wrong, generator=generator())


def test_the_identity_loss_is_added_by_its_weight() -> None:
    torch.manual_seed(0)
    batch = pairs(8)
    values: list[Tensor] = []
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        model = CycleGAN(HALF, width=8, blocks=1, identity_weight=weight).eval()
        values.append(model.generator_loss(batch, generator()).total)
    assert values[1] > values[0]


@pytest.mark.parametrize(("size", "block"), [((4, 6), 1), ((64, 48), 2), ((96, 64), 4)])
def test_places_sum_to_one_and_the_inverse_moves_back(size: tuple[int, int], block: int) -> None:
    positions = PositionMap(size)
    assert positions.block == block
    places = size[0] * size[1] // block**2
    moved = torch.randperm(places, generator=generator())
    with torch.no_grad():
        assert torch.allclose(positions.weights().sum(0), torch.ones(places), atol=1e-5)
        assert torch.allclose(positions.weights().sum(1), torch.ones(places), atol=1e-2)
        positions.logits.zero_()[torch.arange(places), moved] = 5.0
        x = torch.rand(2, 3, *size, generator=generator())
        there = positions(x)
        assert torch.allclose(positions.inverse(there), x, atol=1e-4)
    assert not torch.allclose(there, x, atol=0.1)
    if block == 1:
        assert torch.allclose(there.flatten(2), x.flatten(2)[:, :, moved], atol=1e-4)


def test_sides_without_a_common_square_are_refused() -> None:
    with pytest.raises(ValueError, match="no square divides 37x41 pixels"):
        PositionMap((37, 41))


def test_learned_positions_find_a_rotation() -> None:
    """Pixels with means of their own, unpaired: half of the batch shows images, half conditions."""
    spec = DataSpec("turned", "image", (1, 4, 4), levels=256, condition=ConditionSpec("image", (1, 4, 4), levels=256))
    mean = torch.linspace(-0.9, 0.9, 16)[torch.randperm(16, generator=generator())].view(4, 4)
    x = (mean + 0.1 * torch.randn(512, 1, 4, 4, generator=generator(1))).clamp(-1.0, 1.0)
    turned = x.rot90(1, (2, 3))
    torch.manual_seed(0)
    model = CycleGAN(spec, width=8, blocks=1, positions="learned")
    assert [stage.name for stage in model.stages()] == ["positions", "adversarial"]
    train(model, Batch(x, turned), LoopSettings(batch_size=64), steps=600, seed=0)
    assert model.positions is not None
    read = torch.arange(16.0).view(1, 1, 4, 4).rot90(-1, (2, 3)).flatten()
    right = model.positions.map.weights().argmax(1) == read
    assert right.float().mean() > 0.8
    made = model.eval().sample(512, condition=turned, generator=generator())
    assert (made - x).square().mean() < 0.3 * (made - x.roll(1, 0)).square().mean()


def test_positions_are_kept_where_channels_differ() -> None:
    spec = DataSpec("coloured", "image", (3, 8, 8), levels=5, condition=ConditionSpec("image", (1, 8, 8), levels=5))
    assert len(CycleGAN(spec, width=8, blocks=1, positions="learned").stages()) == 1
