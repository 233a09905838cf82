"""`gentune data show`: what a data set is, its problems and its examples; and the decoded data in `gentune cache`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gentune.bench.commands.cli import main


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def shown(capsys: pytest.CaptureFixture[str], data: str, out: Path) -> dict[str, Any]:
    code, text, _ = ran(capsys, "data", "show", data, "--out", str(out), "--json")
    assert code == 0
    content: dict[str, Any] = json.loads(text)
    return content


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of two classes, with a file that is no image."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i, image in enumerate(random.integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)):
            Image.fromarray(image).save(tmp_path / "pets" / name / f"{i:02}.png")
    (tmp_path / "pets" / "notes.txt").touch()
    return tmp_path / "pets"


def test_a_folder_is_shown_with_its_problems_and_a_sheet(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = shown(capsys, str(pets), tmp_path / "out")
    assert {key: content[key] for key in ("kind", "shape", "levels", "classes", "splits", "class_names")} == {
        "kind": "image",
        "shape": [3, 12, 12],
        "levels": 256,
        "classes": 2,
        "splits": {"train": 24, "validation": 8, "test": 8},
        "class_names": ["cat", "dog"],
    }
    assert len(content["fingerprint"]) == 16
    assert content["problems"] == ["skipped files of other kinds (1)"]
    with Image.open(content["examples"][0]) as sheet:
        assert sheet.size == (10 * 25 + 1, 2 * 25 + 1)  # six of each class, enlarged twice, ten in a row
    code, text, _ = ran(capsys, "data", "show", str(pets), "--out", str(tmp_path / "out"))
    assert code == 0
    assert text.splitlines()[:3] == [
        "pets: image 3 × 12 × 12, levels 256",
        "splits: train 24, validation 8, test 8",
        "classes: 2 (cat, dog)",
    ]


def test_a_study_file_has_options(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study.toml"
    study.write_text('[data]\npath = "pets"\nresize = 8\ngrey = true\nlevels = 16\n', encoding="utf-8")
    content = shown(capsys, str(study), tmp_path / "out")
    assert (content["shape"], content["levels"]) == ([1, 8, 8], 16)


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ("digits", ["examples.png"]),
        ("two_moons", ["examples.csv", "examples.png"]),
        ("iris", ["examples.csv"]),
    ],
)
def test_every_kind_of_data_has_examples(
    data: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = shown(capsys, data, tmp_path)
    assert [Path(path).name for path in content["examples"]] == files
    assert content["problems"] == [] or data == "iris"


def test_sequences_are_shown_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 9, (50, 7)))
    content = shown(capsys, str(tmp_path / "a.npy"), tmp_path)
    assert content["vocabulary"] == 9
    lines = Path(content["examples"][0]).read_text(encoding="utf-8").splitlines()
    assert all(len(line.split()) == 7 for line in lines)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("digit", "unknown data set 'digit'; did you mean 'digits'?"),
        ("nowhere/at.npz", "nowhere/at.npz is not there"),
        ("empty.toml", "empty.toml has no data; wanted a table [data]"),
    ],
)
def test_what_is_not_there_gets_one_line(
    data: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.toml").touch()
    code, out, error = ran(capsys, "data", "show", data)
    assert (code, out) == (2, "")
    assert said in error and error.count("\n") == 1


def test_the_cache_tells_of_decoded_data_and_trims_it(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENTUNE_DATA_CACHE_GIB", "3")
    shown(capsys, str(pets), tmp_path / "out")
    data = json.loads(ran(capsys, "cache", "--json")[1])["data"]
    assert data["limit_gib"] == 3
    assert [row["name"] for row in data["sets"]] == ["pets"]
    assert data["bytes"] > 40 * 3 * 144
    assert "decoded data: 1" in ran(capsys, "cache")[1]
    data = json.loads(ran(capsys, "cache", "--trim-data", "0", "--json")[1])["data"]
    assert (data["sets"], data["trimmed"]["sets"]) == ([], 1)
    monkeypatch.setenv("GENTUNE_DATA_CACHE_GIB", "much")
    assert "GENTUNE_DATA_CACHE_GIB is 'much'; wanted a number of GiB" in ran(capsys, "cache")[2]
