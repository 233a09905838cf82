"""Vectors as rows: of a table with its own columns, types and values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ...models.base import Batch
from ...models.data_spec import DataSpec
from ..data.tables.codec import decode
from ..files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

METADATA = "-metadata.json"  # where the W3C's "CSV on the Web" looks for what a file cannot say itself


def rows_of(samples: Batch, spec: DataSpec) -> pd.DataFrame:
    """Vectors as rows: of a table with its own columns, types and values; of other data x1, x2, ... and label."""
    import pandas as pd

    from ..data.tables.columns import frame_of

    x = in_original_units(samples.x, spec)
    labels = None if samples.labels is None else samples.labels.numpy()
    if spec.table is not None:
        codes = decode(spec.table, x)
        if labels is not None and spec.table.label is not None:
            codes[spec.table.label] = labels
        return frame_of(spec.table, codes)
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(1, spec.dimensions + 1)])
    return frame if labels is None else frame.assign(label=labels)


def write_rows(path: Path, batch: Batch, spec: DataSpec, *, maker: str | None) -> None:
    """Writes vectors as the rows of a CSV file, and next to it FILE-metadata.json, which says whether a family made
    them (maker); None: they are real."""
    write_atomically(path, rows_of(batch, spec).to_csv(index=False))
    content = {"synthetic": maker is not None, "made_by": maker}
    write_atomically(path.with_name(path.name + METADATA), json.dumps(content) + "\n")


def in_original_units(x: Tensor, spec: DataSpec) -> np.ndarray:
    """Vectors (n, D) in float64, as they were before they were standardised."""
    points = x.cpu().double().numpy()
    if spec.mean is not None and spec.deviation is not None:
        points = points * np.array(spec.deviation) + np.array(spec.mean)
    return points
