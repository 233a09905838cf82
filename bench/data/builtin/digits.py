"""scikit-learn's digits: 1,797 grey images of 8×8 pixels with 17 levels and ten classes."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ....models.data_spec import DataSpec
from ..base import DataSet, Split
from ..examples import Examples

_LETTERS: dict[Split, str] = {"train": "T", "validation": "V", "test": "E"}


def load(spec: DataSpec) -> DataSet:
    """Splits 60/20/20, stratified by class: 1,078, 359 and 360 examples.

    digits_split.txt has each example's split. It was drawn once by scikit-learn's `train_test_split`, whose draws may
    change between versions.
    """
    images, labels = _read()
    letters = np.array(list("".join(Path(__file__).with_name("digits_split.txt").read_text("ascii").split())))
    splits: dict[Split, Examples] = {}
    for name, letter in _LETTERS.items():
        index = np.flatnonzero(letters == letter)
        splits[name] = Examples.of_arrays(spec, images[index].reshape(-1, *spec.shape), labels[index])
    return DataSet(spec, splits)


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 64) and labels (n,) from the file that `sklearn.datasets.load_digits` reads.

    Without importing scikit-learn, which takes longer than all other work before the first training.
    """
    package = find_spec("sklearn")
    assert package is not None and package.submodule_search_locations is not None, "a dependency of Gentune"
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.int64)
    return rows[:, :-1].astype(np.uint8), rows[:, -1]
