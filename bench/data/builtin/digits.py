"""scikit-learn's digits: 1,797 grey images of 8×8 pixels with 17 levels and ten classes."""

from __future__ import annotations

import numpy as np

from ....models.data_spec import DataSpec
from ..base import DataSet, Split
from ..examples import Examples

_SPLIT_SEED = 20_240


def load(spec: DataSpec) -> DataSet:
    """Splits 60/20/20, stratified by class, by a fixed seed: 1,078, 359 and 360 examples."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    everything = np.arange(len(labels))
    train, rest = train_test_split(everything, train_size=0.6, stratify=labels, random_state=_SPLIT_SEED)
    validation, test = train_test_split(rest, train_size=0.5, stratify=labels[rest], random_state=_SPLIT_SEED)
    indices: dict[Split, np.ndarray] = {"train": train, "validation": validation, "test": test}
    splits: dict[Split, Examples] = {}
    for name, index in indices.items():
        index = np.sort(index)
        levels = images[index].reshape(-1, *spec.shape).astype(np.uint8)
        splits[name] = Examples.of_arrays(spec, levels, labels[index])
    return DataSet(spec, splits)
