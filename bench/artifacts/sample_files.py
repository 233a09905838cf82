"""Samples as files that other programs read: pictures, arrays, tables with their own columns, text."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...models.base import Batch
from ...models.data_spec import DataSpec
from ..errors import UsageError
from ..files import write_atomically
from .pictures import write_sheet
from .rows import METADATA, in_original_units, rows_of

_COLUMNS = 10  # images in a row of a sheet


def write_sample_file(path: Path, samples: Batch, spec: DataSpec, about: Mapping[str, Any]) -> None:
    """Writes samples as the path's ending says.

    .png: images, ten in a row, in columns by class where they have one. .npz: `samples` as `gentune evaluate` reads
    them (images in [-1, 1], vectors in original units, tokens) and `labels`. .csv, .parquet: rows of a table with its
    own columns and the names of classes; vectors of other data as x1, x2, ... and label. .txt: one example a line.

    about: what is said of the samples, with `made_by`: in the file where it has a place, else in FILE-metadata.json.
    Raises UsageError where the file cannot be written.
    """
    ending = path.suffix.lower()
    try:
        if ending == ".png":
            filled = -(-len(samples) // _COLUMNS) * _COLUMNS
            sheet = samples.x.new_full((filled, *spec.shape), -1.0)
            sheet[: len(samples)] = samples.x
            write_sheet(path, sheet.unflatten(0, (-1, _COLUMNS)), spec, maker=str(about["made_by"]))
            return
        if ending == ".npz":
            write_atomically(path, _archive(samples, spec, about))
            return
        write_atomically(path, _text(samples, spec) if ending == ".txt" else _table(samples, spec, ending))
        write_atomically(path.with_name(path.name + METADATA), json.dumps(dict(about), indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def _archive(samples: Batch, spec: DataSpec, about: Mapping[str, Any]) -> bytes:
    x = in_original_units(samples.x, spec) if spec.kind == "vector" else samples.x.numpy()
    arrays = {"samples": x, "about": np.array(json.dumps(dict(about)))}
    if samples.labels is not None:
        arrays["labels"] = samples.labels.numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _table(samples: Batch, spec: DataSpec, ending: str) -> bytes:
    frame = rows_of(samples, spec)
    if ending == ".csv":
        return frame.to_csv(index=False).encode()
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _text(samples: Batch, spec: DataSpec) -> str:
    """An example a line: its characters, or its tokens as numbers where they stand for no text. Line breaks in an
    example are written as such, and an empty line then parts two examples."""
    rows = samples.x.tolist()
    if not spec.symbols:
        return "".join(" ".join(str(token) for token in row if token != spec.padding) + "\n" for row in rows)
    texts = ["".join(spec.symbols[token] for token in row) for row in rows]
    return ("\n\n" if "\n" in spec.symbols else "\n").join(texts) + "\n"
