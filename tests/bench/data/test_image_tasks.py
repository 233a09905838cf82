"""Image-to-image tasks made of other data, and pairs of images in two folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from gentune.bench.data import DataRef, DataSet, describe_data, load, locate, open_data
from gentune.bench.data.image_tasks import hidden
from gentune.bench.errors import UsageError
from gentune.bench.evaluators import default_cache, load_evaluator
from gentune.testing import DataContract


class TestSuperResolution(DataContract):
    reader = "super_resolution"
    options: ClassVar[Mapping[str, Any]] = {"name": "digits"}


class TestInpainting(DataContract):
    reader = "inpainting"
    options: ClassVar[Mapping[str, Any]] = {"name": "digits"}


class TestRotated(DataContract):
    reader = "rotated"
    options: ClassVar[Mapping[str, Any]] = {"name": "digits"}


def _task(text: str) -> DataSet:
    return open_data(locate(text))


def test_targets_and_splits_are_those_of_the_data() -> None:
    digits = load("digits")
    for task in ("super_resolution:digits", "inpainting:digits", "rotated:digits"):
        data = _task(task)
        for name, split in digits.splits.items():
            assert torch.equal(data.splits[name].x[:], split.x[:])
        assert (data.spec.classes, data.spec.target_classes, data.spec.labelled) == (0, 10, True)
        assert data.targets is digits


def test_super_resolution_averages_two_by_two_pixels() -> None:
    batch = _task("super_resolution:digits").splits["test"].all()
    assert batch.condition is not None
    mean = torch.nn.functional.avg_pool2d(batch.x.double(), 2)
    step = 2.0 / 16
    assert batch.condition.shape == (360, 1, 4, 4)
    assert (batch.condition - mean).abs().max() <= step / 2 + 1e-6, "the nearest level"
    assert (batch.condition - mean).abs().mean() > 0.0


def test_inpainting_hides_a_rectangle_that_the_mask_shows() -> None:
    batch = _task("inpainting:digits").splits["train"].all()
    assert batch.condition is not None
    image, mask = batch.condition[:, :1], batch.condition[:, 1:] > 0
    assert torch.equal(mask.flatten(1).sum(1), torch.full((1_078,), 16))
    assert torch.equal(image[~mask], batch.x[~mask])
    assert (image[mask] == 0.0).all(), "the middle level"
    places = mask.flatten(1).int().argmax(1).unique()
    assert len(places) == 25, "every place occurs"


def test_masks_depend_on_the_image_alone() -> None:
    levels = np.random.default_rng(0).integers(0, 17, (20, 3, 7, 10))
    masks = hidden(levels)
    assert np.array_equal(hidden(levels[::-1].astype(np.uint8))[::-1], masks)
    assert (masks.sum((1, 2, 3)) == 3 * 5).all()


def test_rotated_images_stand_beside_others() -> None:
    data = _task("rotated:digits")
    split, labels = data.splits["test"], data.targets.splits["test"].labels  # type: ignore[union-attr]
    batch = split.all()
    assert batch.condition is not None
    assert labels is not None
    assert data.source_labels is not None
    upright = batch.condition.rot90(-1, (2, 3)).flatten(1)
    assert not (upright == batch.x.flatten(1)).all(1).any()
    assert sorted(map(tuple, upright.tolist())) == sorted(map(tuple, batch.x.flatten(1).tolist()))
    by_image = dict(zip(map(tuple, batch.x.flatten(1).tolist()), labels.tolist(), strict=True))
    assert [by_image[tuple(image)] for image in upright.tolist()] == data.source_labels["test"].tolist()
    assert data.spec.unpaired
    assert not data.spec.paired


def test_tasks_of_a_path_take_its_readers_options(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 12, 12), dtype=np.uint8)
    np.save(tmp_path / "noise.npy", x)
    ref = locate("inpainting:noise.npy", tmp_path)
    assert locate(ref.keywords["name"]) == locate(tmp_path / "noise.npy")
    assert ref.label == "inpainting-noise"
    assert describe_data(ref).shape == (1, 12, 12)
    table = {"name": "super_resolution:noise.npy", "subset": 40, "resize": 8}
    spec = describe_data(locate(table, tmp_path))
    assert (spec.shape, spec.condition.shape) == ((1, 8, 8), (1, 4, 4))
    with pytest.raises(UsageError, match="takes no option 'crob'"):
        describe_data(locate({**table, "crob": 3}, tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inpainting:", "inpainting needs the data that it is made of"),
        ("rotated:nothing", "unknown data set 'nothing'"),
        ("super_resolution:iris", "made of images with labels or none; data 'iris' is vector"),
        ("inpainting:rotated:digits", "data 'rotated-digits' is image with image conditions"),
        ("super_resolution:odd.npy", "needs even sides; images of data 'odd' are 7 × 6"),
        ("rotated:odd.npy", "needs square images; those of data 'odd' are 7 × 6"),
    ],
)
def test_what_makes_no_task_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", np.random.default_rng(0).integers(0, 256, (60, 7, 6), dtype=np.uint8))
    with pytest.raises(UsageError, match=said) as raised:
        describe_data(locate(text, tmp_path))
    assert "\n" not in str(raised.value)


def test_evaluators_are_those_of_the_targets() -> None:
    task, digits = _task("rotated:digits"), load("digits")
    cache = default_cache()
    found = load_evaluator(task, "raw", cache=cache)
    assert found.fingerprint == load_evaluator(digits, "raw", cache=cache).fingerprint


# --- pairs of the user's own -------------------------------------------------------------------------------


def _write(folder: Path, names: list[str], side: int, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(0, 256, (side, side), dtype=np.uint8)).save(path)


NAMES = [f"{number:02}.png" for number in range(40)]


def test_pairs_have_the_same_name_in_two_folders(tmp_path: Path) -> None:
    _write(tmp_path / "photos", NAMES, 8, 0)
    _write(tmp_path / "sketches", NAMES, 6, 1)
    ref = locate({"name": f"pairs:{tmp_path}", "condition": "sketches", "target": "photos"})
    data = open_data(ref)
    assert data.spec.pairing is not None
    assert data.spec.pairing.direction == "sketches to photos"
    assert (data.spec.shape, data.spec.condition.shape) == ((1, 8, 8), (1, 6, 6))
    assert DataRef.from_value(json.loads(json.dumps(ref.to_value()))) == ref
    known = {}
    for name in NAMES:
        photo, sketch = (np.asarray(Image.open(tmp_path / f / name)) for f in ("photos", "sketches"))
        known[photo.tobytes()] = sketch
    for split in data.splits.values():
        batch = split.all()
        assert batch.condition is not None
        for x, c in zip(data.spec.to_levels(batch.x), data.spec.to_levels(batch.condition), strict=True):
            assert np.array_equal(known[x.numpy().astype(np.uint8).tobytes()], c[0].numpy())


def test_pairs_keep_their_own_splits(tmp_path: Path) -> None:
    names = [f"{split}/{name}" for split in ("train", "val", "test") for name in NAMES[:10]]
    for seed, side in enumerate(("condition", "target")):
        _write(tmp_path / side, names, 8, seed)
    data = open_data(locate(f"pairs:{tmp_path}"))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 10, "validation": 10, "test": 10}


def test_images_without_a_partner_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "condition", NAMES, 8, 0)
    with pytest.raises(UsageError, match="has no folder 'target'; pairs are two folders"):
        describe_data(locate(f"pairs:{tmp_path}"))
    _write(tmp_path / "target", NAMES[1:], 8, 1)
    with pytest.raises(UsageError, match=r"1 images have no partner of the same name, such as 00.png, .* the targets"):
        describe_data(locate(f"pairs:{tmp_path}"))
