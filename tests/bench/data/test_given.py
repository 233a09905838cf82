"""Arrays, frames and Datasets of Python are kept by their content and opened by reference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

import gentune
from gentune.bench.data import open_data
from gentune.bench.data.given import reference_to
from gentune.bench.errors import UsageError

RANDOM = np.random.default_rng(7)
VECTORS = RANDOM.standard_normal((60, 3)).astype(np.float32)
IMAGES = RANDOM.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
LABELS = np.arange(60) % 3


class Pictures(Dataset[Any]):
    """Images of Pillow's with labels, as torchvision's sets give them."""

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(IMAGES[index]), int(LABELS[index])


@pytest.mark.parametrize(
    ("value", "kind", "shape", "classes"),
    [
        (VECTORS, "vector", (3,), 0),
        (torch.from_numpy(VECTORS).requires_grad_(), "vector", (3,), 0),
        (IMAGES, "image", (3, 8, 8), 0),
        ((VECTORS, LABELS), "vector", (3,), 3),
        ([torch.from_numpy(IMAGES), torch.from_numpy(LABELS)], "image", (3, 8, 8), 3),
        ((VECTORS, np.array(["a", "b", "c"])[LABELS]), "vector", (3,), 3),
        (np.arange(480).reshape(60, 8) % 7, "sequence", (8,), 0),
        (TensorDataset(torch.from_numpy(VECTORS)), "vector", (3,), 0),
        (TensorDataset(torch.from_numpy(VECTORS), torch.from_numpy(LABELS)), "vector", (3,), 3),
        (Pictures(), "image", (3, 8, 8), 3),
        (pd.DataFrame({"a": RANDOM.integers(0, 50, 60), "b": list("xyz") * 20}), "vector", (4,), 0),
    ],
)
def test_what_python_holds_is_a_data_set(value: object, kind: str, shape: tuple[int, ...], classes: int) -> None:
    data = open_data(reference_to(value))
    assert (data.spec.kind, data.spec.shape, data.spec.classes) == (kind, shape, classes)
    assert sum(map(len, data.splits.values())) == 60


def test_examples_keep_their_values_and_labels() -> None:
    data = open_data(reference_to(Pictures()))
    seen: dict[bytes, int] = {}
    for split in data.splits.values():
        assert split.labels is not None
        levels = data.spec.to_levels(split.x[:]).permute(0, 2, 3, 1).numpy().astype(np.uint8)
        seen |= {x.tobytes(): int(label) for x, label in zip(levels, split.labels, strict=True)}
    assert seen == {x.tobytes(): int(label) for x, label in zip(IMAGES, LABELS, strict=True)}


def test_the_same_content_has_the_same_reference_and_another_process_opens_it() -> None:
    ref = reference_to((VECTORS, LABELS))
    assert reference_to((VECTORS.copy(), LABELS.copy())) == ref
    assert reference_to((VECTORS + 1, LABELS)) != ref
    code = (
        "from gentune.bench.data import DataRef, open_data; "
        f"print(open_data(DataRef.from_value({ref.to_value()!r})).fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == open_data(ref).fingerprint


class Ragged(Dataset[Any]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(index + 1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "data is of type int; wanted a name, a path"),
        (object(), "data is of type object; wanted a name"),
        ((VECTORS, LABELS, LABELS), "data is a tuple of 3"),
        ((VECTORS, LABELS[:5]), "60 examples and 5 labels"),
        (np.array([object()] * 9), "are Python objects"),
        (Ragged(), r"shapes \(1,\) and \(2,\)"),
        (TensorDataset(*[torch.zeros(4)] * 3), "has 3 parts"),
        (TensorDataset(torch.zeros(0)), "has no items"),
        (pd.DataFrame({3: [1, 2]}), "a column called 3"),
        (pd.DataFrame({"a": [1, "x", None]}), "cannot be written as Parquet"),
    ],
)
def test_anything_else_is_refused_in_one_line(value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        reference_to(value)
    assert "\n" not in str(refused.value)


def test_compare_refuses_what_is_no_data_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data is of type set; wanted"):
        gentune.compare(data={1, 2}, families="histogram", trainings=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
