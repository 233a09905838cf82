"""The collapse detector, in both directions: what counts as collapsed, and what is merely bad."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gentune.bench.data import load
from gentune.bench.evaluators import load_or_train
from gentune.bench.scoring.collapse import FEWEST, diversity, varied_by_value

N = 400


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=_random(seed), dtype=torch.float64)


def _clusters(per_cluster: int, k: int = 8, d: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """k clusters of deviation 1 around far centres, and their labels."""
    centres = 10 * _normal(k, d, seed=99)
    labels = torch.arange(k).repeat_interleave(per_cluster)
    return centres[labels] + _normal(len(labels), d, seed), labels


def _reason(generated: Tensor, real: Tensor, *labels: Tensor, images: bool = False) -> str | None:
    found = diversity(generated, real, *labels, images=images)
    assert found is not None
    return found.collapsed


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("d", [2, 32])
def test_equal_distributions_are_level(d: int, seed: int) -> None:
    found = diversity(_normal(N, d, seed), _normal(N, d, seed + 100), images=True)
    assert found is not None
    assert found.collapsed is None
    assert found.spread == pytest.approx(1.0, abs=0.1)
    assert found.twins == pytest.approx(1.0, abs=0.15)
    assert found.reach == pytest.approx(1.0, abs=0.15)
    assert found.directions > 0.85


def test_the_unit_does_not_matter() -> None:
    generated, real = 0.4 * _normal(N, 8), _normal(N, 8, 1)
    a, b = (diversity(c * generated + b, c * real + b, images=True) for c, b in ((1.0, 0.0), (1e3, 7.0)))
    assert a is not None
    assert b is not None
    assert (a.spread, a.twins, a.reach, a.directions) == pytest.approx((b.spread, b.twins, b.reach, b.directions))


def test_a_point_is_collapsed_wherever_it_lies() -> None:
    real = _normal(N, 8)
    for centre in (0.0, 100.0):
        said = _reason(centre + 1e-3 * _normal(N, 8, 1), real)
        assert said is not None
        assert "times as far apart" in said
    exactly = _reason(real[:1].expand(N, -1), real)
    assert exactly is not None


def test_few_modes_of_many_are_collapsed_and_most_of_them_are_not() -> None:
    real, _ = _clusters(50)
    again, labels = _clusters(50, seed=1)
    for modes, collapsed in ((1, True), (2, True), (6, False), (8, False)):
        some = again[labels < modes]
        assert (_reason(some, real[torch.randperm(N, generator=_random())[: len(some)]]) is not None) is collapsed


def test_the_same_few_samples_are_collapsed_however_far_apart() -> None:
    real, _ = _clusters(50)
    said = _reason(real[::40][torch.arange(N) % 10], real)
    assert said is not None
    assert "the same few samples" in said


def test_one_sample_for_each_class_is_collapsed() -> None:
    real, labels = _clusters(50)
    centre = torch.stack([real[labels == y].mean(0) for y in range(8)])
    generated = centre[labels] + 0.15 * _normal(N, 4, 1)
    assert _reason(generated, real) is None  # among all pairs the classes' distance hides it
    said = _reason(generated, real, labels, labels)
    assert said is not None
    assert "samples of one class" in said
    again, _ = _clusters(50, seed=1)
    assert _reason(again, real, labels, labels) is None


def test_variation_that_is_not_the_datas_is_collapsed() -> None:
    """Noise in directions in which the data hardly varies, at a place of its own."""
    wide = torch.tensor([10.0, 10.0, 10.0, 1.0, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    real = _normal(N, 8) * wide
    said = _reason(torch.tensor([9.0] * 8, dtype=torch.float64) + 3.0 * _normal(N, 8, 1) / wide, real, images=True)
    assert said is not None
    assert "main directions" in said


@pytest.mark.parametrize("scale", [0.6, 0.8, 1.0, 2.0, 5.0])
def test_a_spread_that_is_somewhat_wrong_is_no_collapse(scale: float) -> None:
    assert _reason(scale * _normal(N, 8, 1), _normal(N, 8), images=True) is None


def test_a_gaussian_is_no_collapse_of_anything() -> None:
    """Of the data's moments: blind to its structure, and yet diverse."""
    for name in ("eight_gaussians", "two_moons", "checkerboard"):
        x = load(name).splits["validation"].x[:N].double()
        assert _reason(_normal(N, 2, 1) * x.std(0) + x.mean(0), x) is None


def test_duplicates_among_real_examples_give_no_scale() -> None:
    real = torch.randint(2, (N, 3), generator=_random()).double()
    found = diversity(torch.randint(2, (N, 3), generator=_random(1)).double(), real)
    assert found is not None
    assert found.twins is None
    assert found.collapsed is None


def test_nothing_is_said_of_too_few_or_of_constant_data() -> None:
    assert diversity(_normal(FEWEST - 1, 2), _normal(N, 2)) is None
    assert diversity(_normal(N, 2), torch.ones(N, 2, dtype=torch.float64)) is None


def _patches(n: int, seed: int) -> Tensor:
    """Images (n, 3, 8, 8) in [-1, 1] whose pixels hardly differ within one: shades, with a little structure."""
    shade, tilt = _normal(n, 1, seed)[..., None, None], _normal(n, 1, seed + 50)[..., None, None]
    across = torch.linspace(-0.2, 0.2, 8, dtype=torch.float64)
    return torch.tanh(shade + tilt * across + 0.05 * _normal(n, 192, seed + 99).view(n, 3, 8, 8))


def _independent(images: Tensor, seed: int = 0) -> Tensor:
    """Every pixel from another image."""
    flat = images.flatten(1)
    return flat.gather(0, torch.randint(len(flat), flat.shape, generator=_random(seed))).view_as(images)


def _shades(images: Tensor) -> Tensor:
    """What an evaluator of such images learns: means of a half, (n, 6)."""
    return images.unflatten(2, (2, 4)).mean((3, 4)).flatten(1)


def test_independent_pixels_of_correlated_images_are_no_collapse() -> None:
    """They are all alike to an evaluator, and yet what a histogram should give."""
    real, train = _patches(N, 0), _patches(N, 1)
    noise = _independent(train)
    assert _reason(_shades(noise), _shades(real), images=True) is not None
    assert varied_by_value(noise, real, train)
    assert varied_by_value(noise[:100], real[:100], train)
    assert varied_by_value(noise, real + 0.4, train)  # held-out photographs may be brighter


def test_noise_of_no_datas_values_and_copies_are_still_collapsed() -> None:
    real, train = _patches(N, 0), _patches(N, 1)
    uniform = 2 * torch.rand(real.shape, generator=_random(), dtype=torch.float64) - 1
    for x in (
        torch.tanh(0.5 * _normal(N, 192, 1).view_as(real)),  # an untrained generator's: grey, and each image different
        0.9 * uniform.sign(),
        real[torch.arange(N) % 10],
        _independent(real[:5])[torch.arange(N) % 5] + 0.01 * uniform,
        0.02 * uniform,
    ):
        assert not varied_by_value(x, real, train)


@pytest.mark.slow
def test_bad_models_of_the_digits_are_no_collapse(own_cache: Path) -> None:
    """Through the evaluator, as trials see them: real examples, a Gaussian, and independent pixels."""
    data = load("digits")
    evaluator = load_or_train(data, "convolutional", cache=own_cache)
    train, real = data.splits["train"].x[:], data.splits["validation"].x[:]
    pixels = train.flatten(1)
    gaussian = torch.distributions.MultivariateNormal(pixels.mean(0), pixels.T.cov() + 1e-4 * torch.eye(64))
    torch.manual_seed(0)
    for x in (
        data.splits["test"].x[: len(real)],
        gaussian.sample((len(real),)),
        pixels.gather(0, torch.randint(len(pixels), (len(real), 64))),
    ):
        image = data.spec.to_lattice(x.reshape(real.shape))
        assert _reason(evaluator.features(image), evaluator.features(real), images=True) is None
