"""Examples of a data set for people: a sheet of images, the first rows of a table, or text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from ..data import DataSet
from ..data.tables.codec import decode
from ..data.tables.columns import frame_of
from ..files import write_atomically
from .pictures import in_original_units, write_samples, write_scatter
from .texts import text_of

_LOOKED_AT = 2_000  # examples, evenly spread over the train split, among which some of each class are found
_MOST_COLUMNS, _SHOWN = 10, 60  # of a sheet: a column for each class, or images without an order
_ROWS = 20


def write_examples(folder: Path, data: DataSet) -> list[Path]:
    """Writes examples of the train split into a folder, and says which files: `examples.png` for images (those on
    which others are conditioned stand above these), `examples.csv` for tables and other vectors, with a picture of two
    dimensions, and `examples.txt` for sequences."""
    train, spec = data.splits["train"], data.spec
    labelled = 0 < spec.classes <= _MOST_COLUMNS
    count = min(len(train), _LOOKED_AT if labelled or spec.kind == "vector" else _SHOWN)
    some = train[torch.linspace(0, len(train) - 1, count).round().long()]
    if spec.kind == "image":
        path = write_samples(folder, "examples", some, spec, maker=None)
        return [] if path is None else [path]
    if spec.kind == "sequence":
        path = folder / "examples.txt"
        write_atomically(path, "".join(f"{text_of(x, spec)}\n" for x in some.x[:_ROWS]))
        return [path]
    points = in_original_units(some.x, spec)
    if spec.table is not None:
        rows = frame_of(spec.table, decode(spec.table, points[:_ROWS]))
    else:
        rows = pd.DataFrame(points[:_ROWS], columns=[f"x{i + 1}" for i in range(spec.dimensions)])
    written = [folder / "examples.csv"]
    write_atomically(written[0], rows.to_csv(index=False))
    if spec.table is None and spec.dimensions == 2:
        groups = torch.zeros(len(points), dtype=torch.long) if some.labels is None else some.labels
        written.append(folder / "examples.png")
        write_scatter(written[1], points, groups.numpy(), maker=None)
    return written
