"""The examples of docs/data.md work: their study files are read, and the data that they name opened."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gentune.bench.data import open_data
from gentune.bench.driver.run_setup import describe

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def example(path: str) -> str:
    """The study file of the page that has a path."""
    found = [text for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if f'path = "{path}"' in text]
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
