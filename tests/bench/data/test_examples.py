"""Compact examples: what batches hold, what is stored, and what a training makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gentune.bench.data import DataSet, Split, examples, load
from gentune.bench.data.examples import Column, Examples
from gentune.bench.training.loop import LoopSettings, train
from gentune.models import Batch, DataSpec
from gentune.models.base import Losses, Trainable
from gentune.models.data_spec import ConditionSpec

IMAGES = DataSpec("pictures", "image", (1, 2, 3), levels=17, condition=ConditionSpec("label", classes=10))
TOKENS = DataSpec("words", "sequence", (4,), vocabulary=40_000)
POINTS = DataSpec("points", "vector", (2,))
SKETCHES = DataSpec("sketches", "image", (1, 2, 2), levels=1000, condition=ConditionSpec("image", (1, 1, 2), levels=2))


def levels(n: int, spec: DataSpec = IMAGES) -> np.ndarray:
    assert spec.levels is not None
    return np.random.default_rng(n).integers(spec.levels, size=(n, *spec.shape))


def pictures(n: int = 50) -> Examples:
    return Examples.of_arrays(IMAGES, levels(n), np.arange(n) % 10)


def test_levels_and_labels_are_bytes_and_batches_hold_what_they_stand_for() -> None:
    split, k = pictures(), torch.from_numpy(levels(50))
    assert split.condition is not None
    assert split.x.stored.dtype == split.condition.stored.dtype == torch.uint8
    for index in (slice(3, 20), torch.tensor([7, 0, 7]), torch.arange(50) % 3 == 1, slice(None)):
        batch = split[index]
        assert batch.x.dtype == torch.float32
        assert torch.equal(batch.x, IMAGES.from_levels(k[index]))
        assert batch.condition is not None
        assert batch.condition.dtype == torch.int64
        assert torch.equal(batch.condition, (torch.arange(50) % 10)[index])
        assert torch.equal(split.x[index], batch.x)
        assert torch.equal(split.select(index).all().x, batch.x)
    assert len(split) == len(split.all()) == 50
    assert split.labels is not None
    assert split.labels.tolist() == [i % 10 for i in range(50)]


def test_digits_are_stored_as_bytes() -> None:
    for split in load("digits").splits.values():
        assert split.condition is not None
        assert split.x.stored.dtype == split.condition.stored.dtype == torch.uint8
        assert split.x.bytes == 64 * len(split)


def test_other_kinds_are_stored_in_the_smallest_type_that_holds_them() -> None:
    words = Examples.of_arrays(TOKENS, np.full((3, 4), 39_999))
    assert words.x.stored.dtype == torch.int32
    assert words.all().x.dtype == torch.int64
    assert words.all().x.unique().tolist() == [39_999]
    points = Examples.of_arrays(POINTS, np.ones((3, 2), dtype=np.float32))
    assert points.all().x.dtype == torch.float32
    assert points.labels is None
    sketches = Examples.of_arrays(SKETCHES, levels(3, SKETCHES), np.ones((3, 1, 1, 2), dtype=np.int64))
    assert sketches.x.stored.dtype == torch.int16
    assert sketches.condition is not None
    assert sketches.condition.stored.dtype == torch.uint8
    assert torch.equal(sketches.condition[:], torch.ones(3, 1, 1, 2))
    assert sketches.labels is None


@pytest.mark.parametrize("split", [pictures(), Examples.of_arrays(TOKENS, np.ones((3, 4), dtype=np.int64))])
def test_a_batch_makes_the_examples_that_made_it(split: Examples) -> None:
    spec, batch = (IMAGES if split.condition else TOKENS), split.all()
    again = Examples.of(batch, spec)
    assert again.x.stored.dtype == split.x.stored.dtype
    assert torch.equal(again.all().x, batch.x)
    assert Examples.of(batch).x[:] is not None
    assert torch.equal(Examples.of(batch)[torch.tensor([1])].x, batch.x[1:2])


def test_images_off_the_lattice_stay_as_they_are() -> None:
    x = torch.rand(5, 1, 2, 3)
    assert torch.equal(Examples.of(Batch(x), IMAGES).all().x, x)


@pytest.mark.parametrize(
    ("spec", "x", "condition", "said"),
    [
        (IMAGES, np.zeros((4, 2, 3), dtype=np.uint8), None, r"x has shape \(4, 2, 3\); wanted \('n', 1, 2, 3\)"),
        (IMAGES, np.full((4, 1, 2, 3), 17), None, r"x lies in 17...17; wanted 0...16"),
        (IMAGES, np.full((4, 1, 2, 3), 0.5), None, "x has type float64; wanted integers or float32"),
        (IMAGES, np.zeros((4, 1, 2, 3), dtype=np.uint8), np.zeros(3, dtype=int), "4 examples have 3 conditions"),
        (IMAGES, np.zeros((4, 1, 2, 3), dtype=np.uint8), np.full(4, -1), "condition lies in -1...-1; wanted 0...9"),
        (POINTS, np.zeros((4, 2)), None, "x has type float64; wanted float32"),
        (TOKENS, np.zeros((4, 4), dtype=np.float32), None, "x has type float32; wanted integers"),
    ],
)
def test_what_does_not_fit_the_description_is_refused(
    spec: DataSpec, x: np.ndarray, condition: np.ndarray | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Examples.of_arrays(spec, x, condition)


@pytest.mark.parametrize("resident", [2**20, 0], ids=["small", "large"])
def test_examples_travel_to_a_device_in_compact_form(resident: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "_RESIDENT_BYTES", resident)
    restored: list[Tensor] = []

    def restore(stored: Tensor) -> Tensor:
        restored.append(stored)
        return stored.float()

    split = Examples(Column(torch.zeros(50, 3, dtype=torch.uint8), restore)).to("meta")  # a device without values
    batches = [split[torch.tensor([4, 2])], split.to("meta")[torch.tensor([1, 1])]]
    assert [batch.x.device.type for batch in batches] == ["meta"] * 2
    assert [(stored.dtype, tuple(stored.shape)) for stored in restored] == [(torch.uint8, (2, 3))] * 2
    assert bool(split._resident) == bool(resident)


class Line(Trainable):
    """One layer, to learn the level of a pixel and the label from the others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        assert batch.condition is not None
        noise = torch.randn(len(batch), 6, generator=generator)
        wanted = torch.stack([batch.x.flatten(1)[:, 0], batch.condition.float()], dim=1)
        return Losses((self.layer(batch.x.flatten(1) + noise) - wanted).square().mean())


class Largest(TorchDispatchMode):
    """The most numbers of a floating-point tensor that any operation has made."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point():
            self.numbers = max(self.numbers, out.numel())
        return out


def trained(split: Examples | Batch) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = Line()
    train(model, split, LoopSettings(batch_size=16), steps=40, seed=0)
    return dict(model.state_dict())


def test_a_mapped_set_trains_the_same_and_only_batches_become_floats(tmp_path: Path) -> None:
    n = 3_000
    np.save(tmp_path / "x.npy", levels(n).astype(np.uint8))
    np.save(tmp_path / "y.npy", (np.arange(n) % 10).astype(np.uint8))
    mapped = Examples.of_arrays(
        IMAGES, np.load(tmp_path / "x.npy", mmap_mode="r"), np.load(tmp_path / "y.npy", mmap_mode="r")
    )
    in_memory = pictures(n)
    with Largest() as largest:
        weights = trained(mapped)
    assert largest.numbers == 16 * 6
    for other in (in_memory, in_memory.all()):
        assert all(torch.equal(value, weights[name]) for name, value in trained(other).items())


def test_a_mapped_set_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", levels(20).astype(np.uint8))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert Examples.of_arrays(IMAGES, x).x.stored.data_ptr() == x.ctypes.data


def test_a_fingerprint_is_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    names: tuple[Split, ...] = ("train", "validation", "test")
    splits = {name: pictures(20 + i) for i, name in enumerate(names)}
    whole = DataSet(IMAGES, splits).fingerprint
    monkeypatch.setattr(examples, "_CHUNK_NUMBERS", 13)
    assert [len(chunk) for chunk in splits["train"].x.chunks()] == [2] * 10
    assert DataSet(IMAGES, splits).fingerprint == whole
