"""What people write for a data set, and readers of what they have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gentune.bench.data import (
    DataRef,
    Found,
    SourceReader,
    add_reader,
    describe_data,
    locate,
    open_data,
    remove_reader,
)
from gentune.bench.driver.run_setup import describe
from gentune.bench.errors import UsageError
from gentune.models import DataSpec


class Points(SourceReader):
    """Numbers, one a line."""

    name = "points"
    suffixes = (".pts",)

    def find(self, *, path: str, scale: float = 1.0, title: str = "", positive: bool = False) -> Found:
        x = np.loadtxt(path, ndmin=2) * scale
        return Found(DataSpec(Path(path).stem, "vector", (1,)), np.abs(x) if positive else x)


class Named(SourceReader):
    """Data that are called by a name."""

    name = "shop"

    def find(self, *, name: str, shift: float = 0.0) -> Found:
        return Found(DataSpec(name, "vector", (1,)), np.arange(40.0)[:, None] + shift)


@pytest.fixture(autouse=True)
def _readers() -> Iterator[None]:
    for reader in (Points(), Named()):
        add_reader(reader)
    yield
    for name in ("points", "shop"):
        remove_reader(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my data.pts"
    np.savetxt(path, np.random.default_rng(0).normal(size=100))
    return path


def test_text_is_a_name_or_a_path(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = DataRef.of("points", path=str(file))
    assert locate(str(file)) == locate(file) == locate("my data.pts", file.parent) == wanted
    monkeypatch.chdir(file.parent)
    assert locate("./my data.pts") == locate({"path": "my data.pts"}) == wanted
    assert locate("digits") == DataRef("digits")
    assert locate("shop:shoes") == locate({"name": "shop:shoes"}) == DataRef.of("shop", name="shoes")
    assert locate("of a plug-in") == DataRef("of a plug-in")
    assert [ref.label for ref in (wanted, locate("shop:shoes"), locate("digits"))] == ["my-data", "shoes", "digits"]


def test_tables_have_a_path_or_a_name_and_options(file: Path) -> None:
    table: dict[str, Any] = {"path": str(file), "scale": 2.0, "split": {"shares": [0.5, 0.3, 0.2], "seed": 7}}
    ref = DataRef.of("points", path=str(file), scale=2.0, split=(0.5, 0.3, 0.2), split_seed=7)
    assert locate(table) == ref
    assert locate(ref.to_value()) == ref
    assert {name: len(split) for name, split in open_data(ref).splits.items()} == {
        "train": 50,
        "validation": 30,
        "test": 20,
    }


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nowhere/my data.pts", "my data.pts is not there"),
        ("my date.pts", "my date.pts is not there; did you mean 'my data.pts'?"),
        ("other.docx", r"other.docx is none of what can be read: .*\.pts"),
        ({"scale": 2.0}, "wanted a table with either a path or a name"),
        ({"path": "my data.pts", "name": "digits"}, "wanted a table with either a path or a name"),
        ({"path": 3}, "path is 3; wanted text"),
        ({"path": "my data.pts", "split": {"sheed": 1}}, "split has no key 'sheed'; did you mean 'seed'?"),
    ],
)
def test_what_leads_nowhere_is_refused(value: Any, said: str, file: Path) -> None:
    (file.parent / "other.docx").touch()
    with pytest.raises(UsageError, match=said):
        locate(value, file.parent)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subsets": 20}, "data reader 'points' takes no option 'subsets'; did you mean 'subset'?"),
        ({"subset": "some"}, "option subset is 'some'; wanted a whole number"),
        ({"subset": True}, "option subset is True; wanted a whole number"),
        ({"split": 0.8}, "option split is 0.8; wanted a list"),
        ({"positive": 1}, "option positive is 1; wanted true or false"),
        ({"title": 3}, "option title is 3; wanted text"),
        ({"scale": "two"}, "option scale is 'two'; wanted a number"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(options: dict[str, Any], said: str, file: Path) -> None:
    with pytest.raises(UsageError, match=said):
        describe_data(locate({"path": str(file), **options}))


def test_study_files_have_a_table_of_data(file: Path) -> None:
    study = file.parent / "study.toml"
    study.write_text(
        'families = "gaussian"\ntrainings = 1\n[data]\npath = "my data.pts"\nscale = 3\nsplit = { seed = 5 }\n',
        encoding="utf-8",
    )
    assert describe(study, {}).data == DataRef.of("points", path=str(file), scale=3, split_seed=5)
    assert describe(study, {"data": "digits"}).data == DataRef("digits")


def test_a_file_that_has_changed_is_read_again_when_that_is_asked_for(file: Path) -> None:
    ref = locate(file)
    before = open_data(ref)
    assert open_data(ref, again=True).fingerprint == before.fingerprint
    np.savetxt(file, np.arange(100.0))
    assert open_data(ref).fingerprint == before.fingerprint
    assert open_data(ref, again=True).fingerprint != before.fingerprint
