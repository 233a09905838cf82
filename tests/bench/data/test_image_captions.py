"""Captions of the user's own images: JSON lines and tables, and what is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gentune.bench.data import DataRef, open_data
from gentune.bench.errors import UsageError

COUNT = 40


def _colour(i: int) -> str:
    return "dark" if i % 2 else "bright"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENTUNE_CACHE", str(tmp_path / "cache"))
    images = tmp_path / "mine" / "images"
    images.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(COUNT):
        pixels = random.integers(0, 100, (8, 8), dtype=np.uint8) + (0 if i % 2 else 150)
        Image.fromarray(pixels.astype(np.uint8)).save(images / f"{i:02}.png")
    return tmp_path / "mine"


def _rows() -> list[tuple[str, str]]:
    return [(f"images/{i:02}.png", f"A {_colour(i)} picture, number {i}.") for i in range(COUNT)]


def _json_lines(place: Path) -> None:
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in _rows()]
    place.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _csv(place: Path) -> None:
    rows = [f'{name},"{text}"' for name, text in _rows()]
    place.write_text("\n".join(["file_name,text", *rows]) + "\n", encoding="utf-8")


@pytest.mark.parametrize(("name", "write"), [("captions.jsonl", _json_lines), ("captions.csv", _csv)])
def test_images_have_the_captions_of_a_file_beside_them(folder: Path, name: str, write: Callable[[Path], None]) -> None:
    write(folder / name)
    data = open_data(DataRef.of("images", path=str(folder), captions=name))
    condition = data.spec.condition
    assert (condition.kind, condition.shape, data.spec.classes) == ("text", (7,), 0)
    assert sum(map(len, data.splits.values())) == COUNT
    for split in data.splits.values():
        batch = split.all()
        assert batch.condition is not None
        for x, text in zip(batch.x, batch.condition.tolist(), strict=True):
            written = condition.written(text)
            assert written.startswith("a bright picture, number" if x.mean() > 0 else "a dark picture, number")


def test_another_key_and_captions_of_no_image_are_taken(folder: Path) -> None:
    lines = [json.dumps({"file_name": name, "said": text}) for name, text in [*_rows(), ("images/99.png", "none")]]
    (folder / "images" / "..").joinpath("c.jsonl").resolve().write_text("\n".join(lines), encoding="utf-8")
    data = open_data(DataRef.of("images", path=str(folder), captions="c.jsonl", caption="said"))
    assert any("1 captions belong to no image" in note for note in data.notes)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (None, {}, "option captions is 'c.jsonl'; wanted a file within"),
        ("{}", {}, 'line 1: wanted an object with text for "file_name" and "text"'),
        ("x", {}, "line 1: no JSON; wanted an object on each line"),
        ('{"file_name": "images/00.png", "text": "a"}', {}, "no caption of 39 of 40 images, such as images/01.png"),
        ("", {"flip": True}, "option flip is for images without captions"),
        ("", {"captions": "../c.jsonl"}, r"option captions is '../c.jsonl'; wanted a file within"),
    ],
)
def test_what_cannot_be_used_is_refused(folder: Path, text: str | None, options: dict[str, object], said: str) -> None:
    if text is not None:
        (folder / "c.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        open_data(DataRef.of("images", path=str(folder), **({"captions": "c.jsonl"} | options)))


def test_a_table_without_the_column_is_refused(folder: Path) -> None:
    _csv(folder / "c.csv")
    with pytest.raises(UsageError, match="has no column 'said'"):
        open_data(DataRef.of("images", path=str(folder), captions="c.csv", caption="said"))
