"""Progressive growing: the schedule, the fade-in at its ends, and the layers of its own."""

from __future__ import annotations

import math

import pytest
import torch

from gentune.bench.budget.operations import count_operations
from gentune.bench.training.loop import LoopSettings
from gentune.models import Batch, DataSpec, Progress
from gentune.models.adversarial.equalised import (
    EqualisedConv,
    EqualisedLinear,
    MinibatchDeviation,
    PixelNorm,
    channels_of,
    down,
    resolutions,
)
from gentune.models.adversarial.progressive_gan import Grown, ProgressiveGAN, grown_at
from gentune.models.nets.sides import enlarged

IMAGE = DataSpec("image", "image", (1, 16, 16), levels=17)  # three levels: 4, 8, 16


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _model(**settings: float) -> ProgressiveGAN:
    torch.manual_seed(0)
    return ProgressiveGAN(IMAGE, **{"width": 4, "latent_dim": 8, **settings})  # type: ignore[arg-type]


def _images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 1, 16, 16, generator=_random()) * 2 - 1


def _lowest(x: torch.Tensor) -> torch.Tensor:
    """Images of 16 x 16 pixels with the detail of 4 x 4."""
    return enlarged(enlarged(down(down(x)), (8, 8)), (16, 16))


def test_resolutions_grow_by_doubling() -> None:
    def sides(height: int, width: int) -> tuple[tuple[int, int], ...]:
        return resolutions(DataSpec("x", "image", (1, height, width), levels=2), "progressive_gan")

    assert sides(8, 8) == ((4, 4), (8, 8))
    assert sides(28, 28) == ((7, 7), (14, 14), (28, 28))
    assert sides(8, 12) == ((4, 6), (8, 12))
    assert sides(4, 4) == ((4, 4),)
    assert sides(14, 14) == ((4, 4), (7, 7), (14, 14))
    assert sides(17, 23) == ((5, 6), (9, 12), (17, 23))
    assert sides(36, 36) == ((9, 9), (18, 18), (36, 36))
    assert sides(5, 9) == ((5, 9),)
    assert channels_of(16, 4) == (64, 32, 16, 16)


def test_the_schedule() -> None:
    """Three levels by 80% of the training: four parts of 20%."""
    expected = {
        0.0: (0, 1.0),
        0.2: (0, 1.0),
        0.3: (1, 0.5),
        0.4: (1, 1.0),
        0.6: (1, 1.0),
        0.7: (2, 0.5),
        0.8: (2, 1.0),
        1.0: (2, 1.0),
    }
    for fraction, (level, alpha) in expected.items():
        now = grown_at(fraction, 3, 0.8)
        assert now.level == level, fraction
        assert now.alpha == pytest.approx(alpha), fraction
    assert grown_at(0.0, 3, 0.0) == Grown(2, 1.0)
    assert grown_at(0.5, 1, 0.4) == Grown(0, 1.0)


@pytest.mark.parametrize("level", [1, 2])
def test_fading_begins_with_the_lower_level_and_ends_with_the_higher(level: int) -> None:
    model = _model()
    z, x = torch.randn(4, 8, generator=_random()), _images()

    def outputs(now: Grown) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        model.generator.now = model.discriminator.now = now
        return model.generator(z), model.discriminator(x), now.coarse(x, 3)

    below, begun, half, nearly, done = (
        outputs(Grown(k, alpha))
        for k, alpha in ((level - 1, 1.0), (level, 0.0), (level, 0.5), (level, 1 - 1e-6), (level, 1.0))
    )
    for a, b in zip(below, begun, strict=True):
        assert torch.allclose(a, b, atol=1e-6), "alpha = 0 is the level below, enlarged"
    for a, b in zip(nearly, done, strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    assert torch.allclose(half[0], (begun[0] + done[0]) / 2, atol=1e-6)
    assert not torch.allclose(begun[0], done[0], atol=1e-2)


def test_low_levels_see_and_make_large_pixels() -> None:
    model = _model()
    model.generator.now = model.discriminator.now = Grown(0, 1.0)
    made = model.generator(torch.randn(3, 8, generator=_random()))
    assert made.shape == (3, 1, 16, 16)
    assert torch.equal(made, _lowest(made))
    x = _images()
    assert torch.allclose(model.discriminator(x), model.discriminator(_lowest(x)), atol=1e-5)


def test_a_model_remembers_how_far_it_has_grown() -> None:
    model = _model(growth=0.8).train()
    model.progress = Progress(10, 100)
    model.discriminator_loss(Batch(_images()), _random())
    again = _model(growth=0.8)
    again.load_state_dict(model.state_dict())
    made = again.eval().decode(torch.randn(3, 8, generator=_random()))
    assert torch.equal(made, _lowest(made)), "a tenth of a training knows the lowest level alone"


def test_operations_are_counted_as_it_grows() -> None:
    """Half of the training with both levels, a quarter with the lower, and a quarter with the second fading in."""
    small = DataSpec("small", "image", (1, 8, 8), levels=17)
    x = torch.rand(16, 1, 8, 8, generator=_random()) * 2 - 1

    def operations(growth: float, *, shown: Grown | None = None) -> float:
        def build() -> ProgressiveGAN:
            model = ProgressiveGAN(small, width=4, latent_dim=8, growth=growth)
            if shown is not None:
                model._show = lambda fraction: _show(model, shown)  # type: ignore[method-assign]
            return model

        loop = LoopSettings(batch_size=8)
        return count_operations(build, Batch(x), loop, steps=100, sampling={}, conditional=False).train

    low, fading, grown = (operations(0.0, shown=Grown(k, alpha)) for k, alpha in ((0, 1.0), (1, 0.5), (1, 1.0)))
    assert low < grown < fading
    assert operations(0.5) == pytest.approx(0.25 * low + 0.25 * fading + 0.5 * grown)


def _show(model: ProgressiveGAN, now: Grown) -> None:
    model.generator.now = model.discriminator.now = now


def test_minibatch_deviation_of_equal_samples_is_nought() -> None:
    layer = MinibatchDeviation()
    x = torch.randn(1, 3, 4, 4, generator=_random())
    assert layer(x.expand(5, -1, -1, -1))[:, 3].abs().max() < 2e-4
    normal = layer(2.0 * torch.randn(500, 3, 4, 4, generator=_random()))
    assert normal.shape == (500, 4, 4, 4)
    assert torch.allclose(normal[:, 3], torch.tensor(2.0), atol=0.1)


def test_pixel_norm_gives_features_of_mean_square_one() -> None:
    x = PixelNorm()(5.0 * torch.randn(3, 6, 2, 2, generator=_random()))
    assert torch.allclose(x.square().mean(1), torch.ones(3, 2, 2), atol=1e-4)


def test_equalised_layers_keep_the_variance() -> None:
    torch.manual_seed(0)
    x = torch.randn(2000, 50, generator=_random())
    for rate in (1.0, 0.01):
        assert EqualisedLinear(50, 80, learning_rate=rate)(x).var().item() == pytest.approx(1.0, abs=0.1)
    y = EqualisedConv(32, 64, 3, gain=math.sqrt(2.0))(torch.randn(8, 32, 12, 12, generator=_random()))
    assert y[:, :, 1:-1, 1:-1].var().item() == pytest.approx(2.0, abs=0.15)


def test_a_scaled_learning_rate_scales_the_steps() -> None:
    moved = []
    for rate in (1.0, 0.01):
        torch.manual_seed(0)
        layer = EqualisedLinear(5, 5, learning_rate=rate)
        before = layer(torch.ones(1, 5)).detach()
        optimiser = torch.optim.Adam(layer.parameters(), 1e-3)
        layer(torch.ones(1, 5)).sum().backward()
        optimiser.step()
        moved.append((layer(torch.ones(1, 5)) - before).abs().sum().item())
    assert moved[1] == pytest.approx(0.01 * moved[0], rel=0.02)
