"""Text becomes sequences of characters and text again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gentune.bench.data import DataRef, DataSet, locate, open_data
from gentune.bench.data.sources.text import Text
from gentune.bench.errors import UsageError
from gentune.testing import DataContract

SENTENCES = [f"Grüße an Nummer {i}, von {i * i}." for i in range(200)]


def sentences(folder: Path) -> Path:
    path = folder / "letters.txt"
    path.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    return path


def written(data: DataSet) -> set[str]:
    return {"".join(data.spec.symbols[token] for token in row) for s in data.splits.values() for row in s.x[:].tolist()}


class TestText(DataContract):
    reader = Text()

    @pytest.fixture(autouse=True, scope="class")
    def file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        type(self).options = {"path": str(sentences(tmp_path_factory.mktemp("text"))), "lines": True}


def test_lines_come_back_as_they_were(tmp_path: Path) -> None:
    data = open_data(DataRef.of("text", path=str(sentences(tmp_path)), lines=True))
    assert written(data) == set(SENTENCES)
    assert data.spec.padding is not None
    assert data.spec.symbols[data.spec.padding] == ""
    assert data.spec.shape == (max(map(len, SENTENCES)),)


def test_windows_follow_one_another(tmp_path: Path) -> None:
    path = sentences(tmp_path)
    data = open_data(locate(str(path)))
    text = path.read_text(encoding="utf-8")
    assert written(data) == {text[i : i + 64] for i in range(0, len(text) - 63, 64)}
    assert data.spec.padding is None


def test_lines_that_are_too_long_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("\n".join([*(f"line {i}" for i in range(60)), "x" * 50, ""]), encoding="utf-8")
    data = open_data(DataRef.of("text", path=str(path), lines=True, length=20))
    assert data.notes == ("1 of 61 lines are left out: longer than 20",)


BAD: dict[str, tuple[bytes, Mapping[str, Any], str]] = {
    "empty": (b"", {}, "wanted more than one window of 64"),
    "blank lines": (b"\n\n \n", {"lines": True}, "no line of at most 64"),
    "one character": (b"a" * 4_000, {}, "1 different characters; wanted 2 to 4,096"),
    "short": (b"ab" * 50 + b"cd" * 50, {}, "wanted at least 5 in each split"),
    "long lines": (b"ab" * 100 + b"\n", {"lines": True}, "no line of at most 64 characters"),
    "no characters": (b"ab" * 100, {"length": 1}, "wanted at least 2"),
    "wrong encoding": ("ß".encode("latin-1") * 500, {}, 'such as "latin-1"'),
    "unknown encoding": (b"ab" * 100, {"encoding": "klingon"}, "unknown encoding 'klingon'"),
    "the wrong type": (b"ab" * 100, {"length": "long"}, "wanted a whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, options, said = BAD[case]
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        open_data(DataRef.of("text", path=str(path), **options))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
