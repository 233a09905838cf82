"""Data sets: splits, lattice, densities and entropies."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from gentune.bench.data import data_specs, load
from gentune.bench.data.builtin import sprites, toys
from gentune.bench.data.examples import Examples
from gentune.bench.evaluators import evaluators_for, load_or_train
from gentune.models import ConditionSpec, DataSpec

TOYS = {
    "eight_gaussians": (toys.log_density_eight_gaussians, -3.0, 3.0),
    "two_moons": (toys.log_density_two_moons, -2.0, 3.0),
    "checkerboard": (toys.log_density_checkerboard, -2.0, 2.0),
}


def test_digits_are_split_60_20_20_by_class() -> None:
    data = load("digits")
    sizes = {name: len(batch) for name, batch in data.splits.items()}
    assert sizes == {"train": 1078, "validation": 359, "test": 360}
    shares = []
    for batch in map(Examples.all, data.splits.values()):
        assert batch.labels is not None
        shares.append(torch.bincount(batch.labels, minlength=10) / len(batch))
    assert (shares[0] - shares[1]).abs().max() < 0.01
    assert (shares[0] - shares[2]).abs().max() < 0.01


def test_digits_are_those_of_scikit_learn() -> None:
    data = load("digits")
    images, labels = load_digits(return_X_y=True)
    wanted = {image.tobytes(): label for image, label in zip(images.astype("u1"), labels, strict=True)}
    found: dict[bytes, int] = {}
    for batch in map(Examples.all, data.splits.values()):
        levels = data.spec.to_levels(batch.x).to(torch.uint8).flatten(1)
        assert batch.labels is not None
        found |= dict(zip((row.numpy().tobytes() for row in levels), batch.labels.tolist(), strict=True))
    assert found == wanted


def test_digits_lie_on_the_lattice() -> None:
    data = load("digits")
    x = data.splits["train"].x[:]
    assert x.dtype == torch.float32
    assert x.shape[1:] == data.spec.shape
    levels = data.spec.to_levels(x)
    assert levels.unique().tolist() == list(range(17))
    assert torch.equal(data.spec.from_levels(levels), x)


def test_splits_do_not_overlap() -> None:
    splits = load("digits").splits
    total = torch.cat([examples.x[:] for examples in splits.values()]).flatten(1)
    assert len(total) == 1797
    assert len(total.unique(dim=0)) == 1797  # no image is in the set twice


def test_the_fingerprint_sees_values_and_labels() -> None:
    from dataclasses import replace

    data = load("digits")
    batch = data.splits["test"].all()
    assert batch.condition is not None
    other = Examples.of(replace(batch, condition=batch.condition.roll(1)), data.spec)
    assert replace(data, splits={**data.splits, "test": other}).fingerprint != data.fingerprint
    assert replace(data).fingerprint == data.fingerprint


@pytest.mark.parametrize("name", TOYS)
def test_toy_densities_integrate_to_one(name: str) -> None:
    log_density, low, high = TOYS[name]
    points = 300
    width = (high - low) / points
    axis = low + width * (np.arange(points) + 0.5)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(log_density(grid)).sum() * width**2 == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", TOYS)
def test_stated_entropies_are_those_of_the_densities(name: str) -> None:
    log_density, low, high = TOYS[name]
    assert toys.entropy_by_quadrature(log_density, low, high, 400) == pytest.approx(
        data_specs()[name].entropy, abs=1e-4
    )


@pytest.mark.parametrize("name", TOYS)
def test_toy_samples_come_from_their_density(name: str) -> None:
    data = load(name)
    test = data.splits["test"].all()
    assert len(test) >= 20_000
    assert data.log_density is not None
    log_p = data.log_density(test.x)
    # The mean of -log p over samples is the entropy, within four standard errors.
    error = log_p.std().item() / math.sqrt(len(log_p))
    assert data.spec.entropy is not None
    assert -log_p.mean().item() == pytest.approx(data.spec.entropy, abs=4 * error + 1e-9)


@pytest.mark.parametrize("name", TOYS)
def test_vectors_are_standardised_by_the_train_split(name: str) -> None:
    data = load(name)
    x = data.splits["train"].x[:].double()
    assert x.mean(0).abs().max() < 1e-5
    assert (x.std(0, correction=0) - 1).abs().max() < 1e-5
    assert data.spec.log_scale == pytest.approx(sum(math.log(s) for s in data.spec.deviation or ()))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "image", "shape": (8, 8), "levels": 2}, "needs a shape"),
        ({"kind": "image", "shape": (1, 8, 8)}, "at least 2 levels"),
        ({"kind": "sequence", "shape": (8,)}, "needs a vocabulary"),
    ],
)
def test_an_impossible_description_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DataSpec(name="wrong", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("sound", {}, "conditions of kind 'sound'; wanted one of none, label, image, text"),
        ("label", {}, "at least 1 class, got 0"),
        ("label", {"classes": 2, "levels": 4}, "conditions of kind 'label' have no levels, got 4"),
        ("image", {"shape": (8, 8), "levels": 2}, r"a shape \(C, H, W\) and at least 2 levels, got shape \(8, 8\)"),
        ("image", {"shape": (1, 8, 8)}, "levels None"),
        ("text", {"shape": (4,)}, "vocabulary None"),
        ("text", {"shape": (4, 2), "vocabulary": 9}, r"a shape \(T,\)"),
        ("none", {"classes": 3}, "conditions of kind 'none' have no classes, got 3"),
    ],
)
def test_an_impossible_condition_is_refused(kind: str, fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ConditionSpec(kind, **fields)  # type: ignore[arg-type]


def test_a_description_takes_a_described_condition_alone() -> None:
    with pytest.raises(TypeError, match="data 'wrong': condition is 'label'; wanted a ConditionSpec"):
        DataSpec("wrong", "vector", (2,), condition="label")  # type: ignore[arg-type]


def test_levels_round_and_clip() -> None:
    spec = DataSpec("x", "image", (1, 1, 5), levels=3)
    x = torch.tensor([-2.0, -0.4, 0.1, 0.6, 9.0])
    assert spec.to_levels(x).tolist() == [0, 1, 1, 2, 2]
    assert spec.to_lattice(x).tolist() == [-1.0, 0.0, 0.0, 1.0, 1.0]


def test_sprites_are_different_images_of_known_factors() -> None:
    data = load("sprites")
    assert data.factors is not None
    assert data.factor_names == ("shape", "size", "angle", "x", "y", "brightness")
    sizes = {"train": 4000, "validation": 1000, "test": 1000}
    assert {name: len(batch) for name, batch in data.splits.items()} == sizes
    everything = torch.cat([data.factors[name] for name in ("train", "validation", "test")])
    assert len(everything.unique(dim=0)) == 6000
    assert everything.amax(0).tolist() == [2, 3, 7, 7, 7, 3]
    assert everything.amin(0).tolist() == [0] * 6
    for name, examples in data.splits.items():
        batch = examples.all()
        assert torch.equal(batch.x, data.spec.to_lattice(batch.x))
        assert batch.condition is not None
        assert torch.equal(batch.condition, data.factors[name][:, 0])


@pytest.mark.slow
def test_evaluators_can_tell_the_shapes_of_sprites(tmp_path: Path) -> None:
    data = load("sprites")
    for name in evaluators_for(data):
        accuracy = load_or_train(data, name, cache=tmp_path).accuracy
        assert accuracy is not None
        assert accuracy > 0.95


def test_all_sprites_can_be_told_apart() -> None:
    values = tuple(sprites.FACTORS.values())
    factors = np.stack(np.unravel_index(np.arange(math.prod(values)), values), axis=1)
    images = sprites.render(factors, 32).reshape(len(factors), -1)
    assert len(np.unique(images, axis=0)) == len(factors) == 24_576


def test_a_sprite_has_the_area_and_place_that_its_factors_say() -> None:
    """Coverage sums to the shape's area, so that nothing is cut off; its centre of mass is the centre."""
    values = tuple(sprites.FACTORS.values())
    factors = np.stack(np.unravel_index(np.arange(math.prod(values)), values), axis=1)
    factors = factors[factors[:, 5] == 3][::7]
    coverage = sprites.render(factors, 10_001) / 10_000
    reach = 3.2 + 0.5 * factors[:, 1]
    area = np.choose(factors[:, 0], (16 / 17 * reach**2, 3 * math.pi / 4 * reach**2, 3**1.5 / 4 * reach**2))
    assert np.abs(coverage.sum((1, 2)) / area - 1.0).max() < 0.1  # corners are blunt, a small shape's most
    pixel = np.arange(16) + 0.5
    for axis, column in ((1, 3), (2, 4)):
        mass = coverage.sum(axis)  # over rows: along x; over columns: along y
        centre = (mass * pixel).sum(1) / mass.sum(1)
        assert np.abs(centre - (5.0 + 6.0 * factors[:, column] / 7.0)).max() < 0.15


def test_brightness_is_the_level_inside() -> None:
    factors = np.array([[0, 3, 0, 3, 3, b] for b in range(4)])
    assert sprites.render(factors, 101).max((1, 2)).tolist() == [40, 60, 80, 100]


def test_factors_of_another_length_are_refused() -> None:
    from dataclasses import replace

    data = load("sprites")
    assert data.factors is not None
    short = {name: values[1:] for name, values in data.factors.items()}
    with pytest.raises(ValueError, match=r"factors of train have shape \(3999, 6\); wanted \(4000, 6\)"):
        replace(data, factors=short)
