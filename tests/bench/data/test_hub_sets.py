"""Sets in the form of the hub, as local folders of Parquet and JSON, read by the library `datasets`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gentune.bench.data import DataRef, locate, open_data
from gentune.bench.errors import UsageError

RANDOM = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and no cache but the test's."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def people(folder: Path) -> Path:
    """A table in Parquet, with train and test."""
    for split, n in (("train", 80), ("test", 20)):
        path = folder / "people" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        ages = RANDOM.integers(18, 90, n)
        pd.DataFrame({"age": ages, "town": [("Ulm", "Bonn")[age % 2] for age in ages]}).to_parquet(path)
    return folder / "people"


def pictures(folder: Path) -> Path:
    """Images in Parquet with names of classes, as the hub keeps them."""
    import datasets

    def png(i: int) -> dict[str, Any]:
        buffer = io.BytesIO()
        Image.fromarray(RANDOM.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": f"{i}.png"}

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    content = {"image": [png(i) for i in range(60)], "label": [i % 2 for i in range(60)]}
    (folder / "pictures").mkdir()
    made = datasets.Dataset.from_dict(content, features=features)
    made.to_parquet(folder / "pictures" / "train.parquet")
    return folder / "pictures"


def test_a_table_keeps_its_test_split(tmp_path: Path) -> None:
    data = open_data(locate(f"hf:{people(tmp_path)}"))
    assert data.spec.table is not None
    assert [(c.name, c.kind) for c in data.spec.table.columns] == [("age", "number"), ("town", "category")]
    assert len(data.splits["test"]) == 20
    assert len(data.splits["train"]) + len(data.splits["validation"]) <= 80
    labelled = open_data(DataRef.of("hf", name=str(tmp_path / "people"), label="town"))
    assert labelled.class_names == ("Bonn", "Ulm")


def test_images_come_with_the_names_of_their_classes(tmp_path: Path) -> None:
    data = open_data(locate(f"hf:{pictures(tmp_path)}"))
    assert (data.spec.kind, data.spec.shape, data.spec.classes) == ("image", (3, 8, 8), 2)
    assert data.class_names == ("cat", "dog")
    assert sum(map(len, data.splits.values())) == 60


def test_lines_of_json_may_be_text(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    lines = [json.dumps({"body": f"note {i} of the {i * i}th day"}) for i in range(60)]
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = open_data(DataRef.of("hf", name=str(folder), text="body"))
    assert data.spec.kind == "sequence"
    assert "n" in data.spec.symbols


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label": "twon"}, "no column 'twon'; did you mean 'town'?"),
        ({"config": "other"}, "cannot be read"),
        ({"name": "no-one/nothing-at-all"}, "hf:no-one/nothing-at-all cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    folder = people(tmp_path)
    with pytest.raises(UsageError) as refused:
        open_data(DataRef.of("hf", **{"name": str(folder), **options}))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
