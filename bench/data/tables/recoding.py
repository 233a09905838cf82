"""Rows made elsewhere, as codes of a table whose columns are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....models.table_spec import TableColumn, TableSpec
from ....search_spaces.space import suggest
from ...errors import UsageError
from .files import read_csv, read_parquet

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", ".parquet")


def read_rows(path: Path, table: TableSpec) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The codes of a file's rows, by column, and a note on columns that the table does not model.

    Text files are as `gentune sample` writes them: UTF-8, with a first line of names. The label may be missing.
    Raises UsageError for columns that are missing, and for values that the table's columns cannot have.
    """
    if path.suffix.lower() == ".parquet":
        frame = read_parquet(path)
    else:
        frame = read_csv(path, separator="", encoding="utf-8", decimal=".", header=True, missing_values=())
    codes = {}
    for column in table.columns:
        if column.name in frame.columns:
            codes[column.name] = _codes(column, frame[column.name], path)
        elif column.name != table.label and column.width:
            raise UsageError(f"{path} has no column {column.name!r}{suggest(column.name, list(frame.columns))}")
    known = {column.name for column in table.columns}
    unused = [str(name) for name in frame.columns if name not in known]
    return codes, (f"{path}: columns that are not used: {', '.join(unused)}",) if unused else ()


def _codes(column: TableColumn, series: pd.Series, path: Path) -> np.ndarray:
    import pandas as pd

    where = f"{path}: column {column.name!r}"
    gaps = series.isna().to_numpy(bool)
    if gaps.any() and not column.missing:
        raise UsageError(f"{where} lacks values in {int(gaps.sum())} rows; in the data none is missing")
    if column.kind == "category":
        places = {str(value): code for code, value in enumerate(column.categories)}
        texts = series.astype(object)
        for row, (text, gap) in enumerate(zip(texts, gaps, strict=True), 1):
            if not gap and str(text) not in places:
                raise UsageError(f"{where} holds {str(text)!r} in row {row}{suggest(str(text), places)}")
        return np.array([-1 if gap else places[str(t)] for t, gap in zip(texts, gaps, strict=True)], dtype=np.int64)
    codes = np.full(len(series), np.nan)
    present = series[~gaps]
    try:
        if column.kind == "number":
            codes[~gaps] = present.to_numpy(np.float64)
        else:
            times = pd.to_datetime(present).to_numpy().astype(f"datetime64[{column.unit}]")
            codes[~gaps] = times.astype(np.int64) - column.origin
    except (ValueError, TypeError) as error:
        raise UsageError(f"{where} holds no {column.kind}s: {str(error).splitlines()[0]}") from None
    if not np.isfinite(codes[~gaps]).all():
        raise UsageError(f"{where} holds infinite values; wanted finite numbers")
    return codes
