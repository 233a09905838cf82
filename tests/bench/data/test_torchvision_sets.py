"""torchvision's sets, read by torchvision from files in its own formats: IDX of MNIST, and batches of CIFAR-10."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gentune.bench._torchvision import make_importable
from gentune.bench.data import DataRef, DataSet, locate, open_data
from gentune.bench.errors import UsageError

RANDOM = np.random.default_rng(3)


def idx(path: Path, values: np.ndarray) -> None:
    """Writes bytes as an IDX file: a magic number that tells the axes, their sizes, the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">I", 0x0800 + values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


def mnist(root: Path, train: int = 90, test: int = 30) -> dict[str, np.ndarray]:
    """A small MNIST under a root, as torchvision unpacks it; its images by split."""
    images = {}
    for split, word, n in (("train", "train", train), ("test", "t10k", test)):
        images[split] = RANDOM.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        idx(root / "MNIST" / "raw" / f"{word}-images-idx3-ubyte", images[split])
        idx(root / "MNIST" / "raw" / f"{word}-labels-idx1-ubyte", np.arange(n) % 10)
    return images


def cifar(root: Path, patch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A small CIFAR-10 under a root: pickled batches with their checksums, as torchvision unpacks them."""
    make_importable()
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    sums, images = {}, {}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        images[name] = RANDOM.integers(0, 256, (20, 3, 32, 32)).astype(np.uint8)
        content = pickle.dumps({"data": images[name].reshape(20, -1), "labels": [i % 10 for i in range(20)]})
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    meta = pickle.dumps({"label_names": [f"thing {i}" for i in range(10)]})
    (folder / "batches.meta").write_bytes(meta)
    patch.setattr(CIFAR10, "train_list", [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)])
    patch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    patch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": hashlib.md5(meta).hexdigest()})
    return images


def levels_of(data: DataSet, split: Any) -> set[bytes]:
    return {row.tobytes() for row in data.spec.to_levels(data.splits[split].x[:]).numpy().astype(np.uint8)}


def test_the_official_test_split_of_mnist_stays_the_test_split(tmp_path: Path) -> None:
    images = mnist(tmp_path)
    data = open_data(DataRef.of("torchvision", name="MNIST", root=str(tmp_path)))
    assert (data.spec.shape, data.spec.levels, data.spec.classes) == ((1, 28, 28), 256, 10)
    assert data.class_names[3] == "3 - three"
    assert levels_of(data, "test") == {image.tobytes() for image in images["test"]}
    learned = levels_of(data, "train") | levels_of(data, "validation")
    assert learned == {image.tobytes() for image in images["train"]}
    assert any("from the source's train split" in note for note in data.notes)


def test_images_may_be_made_smaller(tmp_path: Path) -> None:
    mnist(tmp_path)
    data = open_data(DataRef.of("torchvision", name="MNIST", root=str(tmp_path), resize=12, levels=16, label="none"))
    assert (data.spec.shape, data.spec.levels, data.spec.classes) == ((1, 12, 12), 16, 0)


def test_batches_of_cifar_are_colour_images_with_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = cifar(tmp_path, monkeypatch)
    data = open_data(DataRef.of("torchvision", name="CIFAR10", root=str(tmp_path)))
    assert (data.spec.shape, data.spec.classes) == ((3, 32, 32), 10)
    assert data.class_names[7] == "thing 7"
    assert levels_of(data, "test") == {image.tobytes() for image in images["test_batch"]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "MNIST"}, "cannot be read from .*set download = true"),
        ({"name": "MNISTT"}, "no data set 'MNISTT'; did you mean '.*MNIST'"),
        ({"name": "EMNIST"}, "has no splits of images that Gentune knows"),
        ({"name": "MNIST", "label": "y"}, 'wanted "none"'),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        open_data(DataRef.of("torchvision", root=str(tmp_path), **options))
    assert "\n" not in str(refused.value)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(UsageError, match="torchvision's MNIST cannot be read") as refused:
        open_data(DataRef.of("torchvision", name="MNIST", root=str(tmp_path)))
    assert "\n" not in str(refused.value)


def test_a_name_behind_a_colon_is_torchvisions() -> None:
    assert locate("torchvision:MNIST") == DataRef.of("torchvision", name="MNIST")
