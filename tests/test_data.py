"""Data sets: splits, lattice, densities and entropies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gentune.bench.data import DATA_SETS, load, toys
from gentune.models import DataSpec

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
    for batch in data.splits.values():
        assert batch.condition is not None
        shares.append(torch.bincount(batch.condition, minlength=10) / len(batch))
    assert (shares[0] - shares[1]).abs().max() < 0.01
    assert (shares[0] - shares[2]).abs().max() < 0.01


def test_digits_lie_on_the_lattice() -> None:
    data = load("digits")
    x = data.splits["train"].x
    assert x.dtype == torch.float32
    assert x.shape[1:] == data.spec.shape
    levels = data.spec.to_levels(x)
    assert levels.unique().tolist() == list(range(17))
    assert torch.equal(data.spec.from_levels(levels), x)


def test_splits_do_not_overlap() -> None:
    splits = load("digits").splits
    total = torch.cat([batch.x for batch in splits.values()]).flatten(1)
    assert len(total) == 1797
    assert len(total.unique(dim=0)) == 1797  # no image stands twice in the set


def test_the_fingerprint_sees_values_and_labels() -> None:
    from dataclasses import replace

    data = load("digits")
    batch = data.splits["test"]
    assert batch.condition is not None
    other = replace(batch, condition=batch.condition.roll(1))
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
    assert toys.entropy_by_quadrature(log_density, low, high, 400) == pytest.approx(DATA_SETS[name].entropy, abs=1e-4)


@pytest.mark.parametrize("name", TOYS)
def test_toy_samples_come_from_their_density(name: str) -> None:
    data = load(name)
    test = data.splits["test"]
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
    x = data.splits["train"].x.double()
    assert x.mean(0).abs().max() < 1e-5
    assert (x.std(0, correction=0) - 1).abs().max() < 1e-5
    assert data.spec.log_scale == pytest.approx(sum(math.log(s) for s in data.spec.deviation or ()))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "image", "shape": (8, 8), "levels": 2}, "needs a shape"),
        ({"kind": "image", "shape": (1, 8, 8)}, "at least 2 levels"),
        ({"kind": "sequence", "shape": (8,)}, "needs a vocabulary"),
        ({"kind": "vector", "shape": (2,), "condition": "label"}, "no classes"),
    ],
)
def test_an_impossible_description_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DataSpec(name="wrong", **fields)  # type: ignore[arg-type]


def test_levels_round_and_clip() -> None:
    spec = DataSpec("x", "image", (1, 1, 5), levels=3)
    x = torch.tensor([-2.0, -0.4, 0.1, 0.6, 9.0])
    assert spec.to_levels(x).tolist() == [0, 1, 1, 2, 2]
    assert spec.to_lattice(x).tolist() == [-1.0, 0.0, 0.0, 1.0, 1.0]
