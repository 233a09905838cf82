"""The examples of docs/data.md work: their study files are read, and the data that they name opened."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gentune.bench.data import open_data
from gentune.bench.driver.run_setup import describe

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def example(place: str) -> str:
    """The study file of the page that has a path or a name."""
    wanted = (f'path = "{place}"', f'name = "{place}"')
    found = [text for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if any(w in text for w in wanted)]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(60):
        image = random.integers(0, 256, (20 + i % 3, 24, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "photos" / f"day{i // 3}-{i}.jpg")
    volumes = random.integers(0, 17, (120, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "scans.npz", volumes=volumes, site=np.arange(120) % 2, patient=np.arange(120) // 2)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "shape", "levels", "classes", "examples"),
    [("photos", (1, 16, 16), 64, 0, (2 * 48, 6, 6)), ("scans.npz", (1, 12, 12), 17, 2, (60, 20, 20))],
)
def test_an_example_opens_what_it_says(
    path: str, shape: tuple[int, ...], levels: int, classes: int, examples: tuple[int, ...], files: Path
) -> None:
    study = files / "study.toml"
    study.write_text(example(path), encoding="utf-8")
    data = open_data(describe(study, {}).data)
    assert (data.spec.shape, data.spec.levels, data.spec.classes) == (shape, levels, classes)
    counts = [len(split) for split in data.splits.values()]
    assert np.abs(np.array(counts) - examples).max() <= 6  # groups of three and of two are not cut
    assert sum(counts) >= 100


@pytest.fixture
def more_files(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    rows = [
        f"{i // 3};{random.integers(0, 999) / 100:.2f};{'?' if i % 7 == 0 else i % 4};{('gut', 'schlecht')[i % 2]};x{i}"
        for i in range(120)
    ]
    text = "\n".join(["patient;größe;ward;outcome;note", *rows]).replace(".", ",")
    (tmp_path / "visits.csv").write_text(text, encoding="latin-1")
    (tmp_path / "names.txt").write_text("\n".join(f"Anna {i}" for i in range(60)), encoding="utf-8")
    (tmp_path / "letters.py").symlink_to(Path(__file__).parents[2] / "plugins" / "letters.py")
    raw = tmp_path / "files" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for word, n in (("train", 60), ("t10k", 20)):  # IDX: a magic number, the sizes of the axes, bytes
        images = random.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        (raw / f"{word}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, n, 28, 28) + images.tobytes())
        (raw / f"{word}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, n) + bytes(i % 10 for i in range(n)))
    (tmp_path / "people").mkdir()
    people = pd.DataFrame({"age": random.integers(18, 90, 90), "town": ["Ulm", "Bonn", "Jena"] * 30})
    people.to_parquet(tmp_path / "people" / "train.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("place", "kind", "shape", "classes"),
    [
        ("visits.csv", "vector", (1 + 5,), 2),
        ("names.txt", "sequence", (7,), 0),
        ("torchvision:MNIST", "image", (1, 12, 12), 0),
        ("hf:./people", "vector", (1,), 3),
    ],
)
def test_an_example_of_another_reader_opens_what_it_says(
    place: str, kind: str, shape: tuple[int, ...], classes: int, more_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", more_files / "hf")
    study = more_files / "study.toml"
    study.write_text(example(place), encoding="utf-8")
    data = open_data(describe(study, {}).data)
    assert (data.spec.kind, data.spec.shape, data.spec.classes) == (kind, shape, classes)
