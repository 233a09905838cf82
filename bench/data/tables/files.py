"""Reads CSV and Parquet files into pandas frames, and refuses in one line what is no table."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..text_files import check_encoding, reading, without_mark
from .columns import numbers_in

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 4_096
_SEPARATORS = (",", ";", "\t", "|")  # of which the first line shows one; a comma where it shows several
_HEADER_CHARACTERS = 2**20  # of the first line; a table of thousands of columns needs no more
# What stands for a missing value; "None" may be one of the table's words.
_MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null")


def read_csv(
    path: Path, *, separator: str, encoding: str, decimal: str, header: bool, missing_values: tuple[str, ...]
) -> pd.DataFrame:
    """A text file with one row a line, and numbers where a column has nothing else.

    separator: between values; "": the first line tells. decimal: what stands before decimals, "." or ",".
    header: whether the first line names the columns; else they are called column_1, column_2, ...
    missing_values: texts that stand for a missing value, as do "", NA, N/A, n/a, #N/A, NaN, nan, NULL and null.
    Raises UsageError for what is no regular table in this encoding.
    """
    import pandas as pd

    _check_options(encoding, separator, decimal)
    try:
        with reading(path, encoding), warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # for rows longer than the first
            first = _first_lines(path, encoding)
            between = separator or max(_SEPARATORS, key=first[0].count)
            names = _names(path, first, between, header)
            frame = pd.read_csv(
                path,
                sep=between,
                encoding=encoding,
                dtype=str,
                names=names,
                header=0 if header else None,
                index_col=False,
                keep_default_na=False,
                na_values=[*_MISSING, *missing_values],
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise UsageError(f"{path} is no regular table: {reason}") from None
    if frame.empty:
        raise UsageError(f"{path} has no rows")
    for name in frame.columns:
        texts = frame[name]
        if decimal != ".":
            texts = texts.str.replace(decimal, ".", regex=False)
        try:
            frame[name] = numbers_in(texts)
        except UsageError as error:
            raise UsageError(f"{path}: column {name!r} {error}") from None
    return frame


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file. Raises UsageError for one that is damaged, or that no single row of values stands behind."""
    import pandas as pd
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            check_names(str(path), file.schema_arrow.names)
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except (ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{path} is no Parquet file, or is damaged: {error}") from None
    if frame.empty:
        raise UsageError(f"{path} has no rows")
    return frame


def check_names(where: str, names: list[str]) -> None:
    """Raises UsageError for too many columns, and for two of one name."""
    if len(names) > MOST_COLUMNS:
        raise UsageError(f"{where} has {len(names):,} columns; wanted at most {MOST_COLUMNS:,}")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"{where} has two columns called {name!r}; wanted different names")
        seen.add(name)


def _first_lines(path: Path, encoding: str) -> list[str]:
    with path.open(encoding=without_mark(encoding), newline="") as file:
        lines = [file.readline(_HEADER_CHARACTERS) for _ in range(2)]
    if not lines[0].strip():
        raise UsageError(f"{path} is empty" if not any(lines) else f"{path} begins with an empty line")
    if "\0" in lines[0]:
        raise UsageError(f"{path} is no text")
    return [line.rstrip("\r\n") for line in lines]


def _check_options(encoding: str, separator: str, decimal: str) -> None:
    check_encoding(encoding)
    if len(separator) > 1:
        raise UsageError(f"option separator is {separator!r}; wanted one character")
    if decimal not in (".", ","):
        raise UsageError(f'option decimal is {decimal!r}; wanted "." or ","')


def _names(path: Path, first: list[str], separator: str, header: bool) -> list[str]:
    names = next(csv.reader(first, delimiter=separator))
    if not header:
        names = [f"column_{i}" for i in range(1, len(names) + 1)]
    elif all(map(_is_number, names)):
        raise UsageError(f"{path} names its columns {', '.join(names[:3])}; if it has no names, say header = false")
    if len(names) > 1 and not names[0].strip():
        names[0] = "index"  # pandas writes it without a name
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise UsageError(f"{path}: column {number} has no name")
    check_names(str(path), names)
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
