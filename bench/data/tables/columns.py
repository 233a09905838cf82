"""What the columns of a pandas frame are, and their values as codes (`codec`) and back."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....models.table_spec import TableColumn, TableSpec, Value
from ...errors import UsageError
from .codec import Codes, noise_reach

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 64  # more different texts are no category: each takes an entry of every vector
MOST_CLASSES = 1_000
_LARGEST = 1e100  # its square is still finite
_LARGEST_WHOLE = 2.0**53  # float64 holds all whole numbers up to it
_MOST_DECIMALS = 9
_PILED_UP = 0.05  # share of one value in a column without noise from which on its likelihoods are doubtful
_FEW = 10  # equal values that tell nothing
_MOSTLY = 0.5  # share of numbers in a column of text that is meant to be numbers

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_CODE = re.compile(r"[+-]?0\d+")  # a leading zero: a post code, not a number
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:([T ])\d\d:\d\d:\d\d)?")
_UNITS = ("D", "s", "ms", "us", "ns")


@dataclass(frozen=True, eq=False)
class Described:
    """A table whose columns are known.

    codes: of every column, those of the label as well. notes: sentences on columns that are left out.
    """

    table: TableSpec
    codes: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


class _LeftOutError(Exception):
    """A column that nothing can be made of; the message says why."""


def describe(frame: pd.DataFrame, *, where: str, label: str = "", categorical: Collection[str] = ()) -> Described:
    """The columns of a frame, and its values as codes.

    where: the table's name in messages. label: the column that is the class; "": there is none.
    categorical: columns of numbers that are names of categories.
    Columns of many different texts, of row numbers and of numbers too large to be exact are left out.
    Raises UsageError for values that are of no kind, for a label with one value or too many, and where nothing is left.
    """
    columns: list[TableColumn] = []
    codes: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for name in frame.columns:
        series = frame[name]
        try:
            made = _category(series, MOST_CLASSES) if name == label else _column(series, name in categorical)
        except _LeftOutError as reason:
            if name == label:
                raise UsageError(f"{where}: label {name!r} cannot be a class: {reason}") from None
            notes.append(f"column {name!r} is left out: {reason}")
            continue
        except UsageError as error:
            raise UsageError(f"{where}: column {name!r} {error}") from None
        column = replace(made[0], name=name)
        columns.append(column)
        codes[name] = made[1]
        notes += _doubts(column, made[1])
    table = TableSpec(tuple(columns), label or None)
    if not table.dimensions:
        left_out = "".join(f"; {note}" for note in notes)
        raise UsageError(f"{where} has no column that varies{left_out}")
    _check_label(table, codes, where)
    return Described(table, codes, tuple(notes))


def frame_of(table: TableSpec, codes: Codes) -> pd.DataFrame:
    """Rows of codes as a frame with the table's own columns, in its order, and their own types."""
    import pandas as pd

    return pd.DataFrame({c.name: _series(c, codes[c.name]) for c in table.columns if c.name in codes})


def _check_label(table: TableSpec, codes: Codes, where: str) -> None:
    label = table.label_column
    if label is None:
        return
    missing = int((codes[label.name] < 0).sum())
    if missing:
        raise UsageError(
            f'{where}: label {label.name!r} is missing in {missing} rows; missing = "drop" leaves such rows out'
        )
    if len(label.categories) < 2:
        raise UsageError(
            f"{where}: label {label.name!r} has the one value {label.categories[0]!r}; wanted at least two classes"
        )


def _doubts(column: TableColumn, codes: np.ndarray) -> list[str]:
    if column.kind == "category":
        if column.states == 1:
            return [f"column {column.name!r} is constant: samples have its value, no model sees it"]
        return []
    if noise_reach(column) == 0.0:
        present = codes[~np.isnan(codes)]
        values, counts = np.unique(present, return_counts=True)
        share = counts.max() / len(present)
        if column.kind == "number" and share >= _PILED_UP and counts.max() >= _FEW:
            return [
                f"column {column.name!r} is {values[counts.argmax()]:g} in {share:.0%} of its rows and has too many "
                "digits for noise: densities may grow without bound there, and nll with them"
            ]
    return []


def _column(series: pd.Series, categorical: bool) -> tuple[TableColumn, np.ndarray]:
    """A column without its name, and its codes. Raises _LeftOutError, and UsageError for values of no kind."""
    import pandas as pd

    kind = series.dtype
    plain = isinstance(kind, np.dtype) and kind.kind == "O"
    types = {type(value) for value in series.dropna()} if plain else set()
    if types == {dt.date}:
        return _time(series.astype("datetime64[s]"), "object")
    if not types <= {str, bool}:
        names = sorted(found.__name__ for found in types)
        raise UsageError(f"holds values of type {' and '.join(names[:3])}; wanted numbers, text, booleans or dates")
    if pd.api.types.is_datetime64_any_dtype(kind) and not series.isna().all():
        return _time(series)
    if (
        categorical
        or pd.api.types.is_bool_dtype(kind)
        or isinstance(kind, pd.CategoricalDtype)
        or types == {bool}
        or series.nunique(dropna=True) <= 1
    ):
        return _category(series)
    if pd.api.types.is_integer_dtype(kind) or pd.api.types.is_float_dtype(kind):
        return _number(series, str(kind))
    if types == {str} or pd.api.types.is_string_dtype(kind):
        return _text(series)
    raise UsageError(f"holds values of type {kind}; wanted numbers, text, booleans or dates")


def _category(series: pd.Series, most: int = MOST_CATEGORIES) -> tuple[TableColumn, np.ndarray]:
    import pandas as pd

    gaps = series.isna().to_numpy(bool)
    plain = series.astype(object)
    values = sorted({_plain(value) for value in plain[~gaps]}, key=lambda value: (str(type(value)), value))
    if len(values) > most:
        raise _LeftOutError(f"it has {len(values):,} different values, more than {most}")
    places = {value: index for index, value in enumerate(values)}
    codes = np.array([-1 if gap else places[_plain(v)] for v, gap in zip(plain, gaps, strict=True)], dtype=np.int64)
    dtype = "category" if isinstance(series.dtype, pd.CategoricalDtype) else str(series.dtype)
    return TableColumn("", "category", dtype, bool(gaps.any()), tuple(values)), codes


def _plain(value: object) -> Value:
    """A value as Python's own, which JSON holds."""
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, str | int | float | bool):
        raise UsageError(
            f"holds the value {plain!r} of type {type(plain).__name__}; wanted text, a number or a boolean"
        )
    return plain


def _number(series: pd.Series, dtype: str) -> tuple[TableColumn, np.ndarray]:
    """dtype: of the values that are given back."""
    import pandas as pd

    gaps = series.isna().to_numpy(bool)
    present = series[~gaps]
    whole = pd.api.types.is_integer_dtype(series.dtype)
    if whole and max(abs(int(present.min())), abs(int(present.max()))) > _LARGEST_WHOLE:
        raise _LeftOutError("its whole numbers are too large to be exact, so they can only be names")
    if whole and len(present) == len(series) > 2 and (np.diff(present.to_numpy(np.int64)) == 1).all():
        raise _LeftOutError("it counts the rows")
    numbers = present.to_numpy(np.float64) + 0.0  # no negative zero
    bad = ~np.isfinite(numbers) | (np.abs(numbers) > _LARGEST)
    if bad.any():
        row = int(np.flatnonzero(~gaps)[bad.argmax()]) + 1
        raise UsageError(f"holds {numbers[bad.argmax()]:g} in row {row}; wanted finite numbers up to {_LARGEST:g}")
    decimals, numbers = _decimals(numbers, np.dtype(np.float32) if "float32" in dtype.lower() else np.dtype(np.float64))
    codes = np.full(len(series), np.nan)
    codes[~gaps] = numbers
    low, high = float(numbers.min()), float(numbers.max())
    return TableColumn("", "number", dtype, bool(gaps.any()), low=low, high=high, decimals=decimals), codes


def _decimals(numbers: np.ndarray, dtype: np.dtype) -> tuple[int | None, np.ndarray]:
    """The fewest decimals with which all numbers are written, None for more than nine; and the numbers so written."""
    different = np.unique(numbers)
    for decimals in range(_MOST_DECIMALS + 1):
        scale = 10.0**decimals
        if decimals and np.abs(different).max() * scale > _LARGEST_WHOLE / 8:  # rounding must stay exact
            return None, numbers
        if ((np.rint(different * scale) / scale).astype(dtype) == different.astype(dtype)).all():
            return decimals, np.rint(numbers * scale) / scale + 0.0
    return None, numbers


def _time(series: pd.Series, dtype: str = "", between: str = "") -> tuple[TableColumn, np.ndarray]:
    """dtype: of the values that are given back, where it is not the series' own."""
    if getattr(series.dtype, "tz", None) is not None:
        raise UsageError("holds times with a time zone; wanted times without one, such as in UTC")
    gaps = series.isna().to_numpy(bool)
    times = series[~gaps].to_numpy()
    unit = next(u for u in _UNITS if (times.astype(f"datetime64[{u}]") == times).all())
    steps = times.astype(f"datetime64[{unit}]").astype(np.int64)
    origin = int(steps.min())
    if int(steps.max()) - origin > _LARGEST_WHOLE:
        raise UsageError("holds times too far apart for their precision; wanted fewer digits of seconds")
    codes = np.full(len(series), np.nan)
    codes[~gaps] = steps - origin
    column = TableColumn(
        "",
        "time",
        dtype or str(series.dtype),
        bool(gaps.any()),
        high=float(steps.max() - origin),
        decimals=0,
        unit=unit,
        origin=origin,
        between=between,
    )
    return column, codes


def _text(series: pd.Series) -> tuple[TableColumn, np.ndarray]:
    """Text: a category where it has few values, a time where all are written as one; the rest is left out."""
    present = series.dropna()
    different = sorted(set(present))
    found = [_TIME.fullmatch(text) for text in different]
    separators = {match[1] or "" for match in found if match}
    if all(found) and len(separators) == 1:
        between = separators.pop()
        try:
            times = series.str.replace(between, "T") if between else series
            return _time(times.astype("datetime64[s]"), str(series.dtype), between)
        except ValueError as error:
            raise UsageError(f"holds a date that does not exist: {error}") from None
    if len(different) == len(present) > 2:
        raise _LeftOutError("every row has another text")
    return _category(series)


def numbers_in(series: pd.Series) -> pd.Series:
    """A column of a text file as numbers, where all that is not missing is written as such; else as it is.

    Texts with a leading zero (post codes) stay text. Raises UsageError where most, but not all, are numbers.
    """
    import pandas as pd

    codes, different = pd.factorize(series)
    texts = [str(text).strip() for text in different]
    numeric = [bool(_NUMBER.fullmatch(text) or _INFINITE.fullmatch(text)) for text in texts]
    if not all(numeric):
        _check_mostly_numbers(series, codes, np.array(numeric, bool), texts)
        return series
    if not texts or any(_CODE.fullmatch(text) for text in texts):
        return series
    gaps = codes < 0
    if all(_WHOLE.fullmatch(text) for text in texts):
        values = np.array([int(text) for text in texts], dtype=object)
        if max(abs(value) for value in values) > np.iinfo(np.int64).max:
            raise UsageError(f"holds the whole number {max(values, key=abs)}, too large to be exact")
        whole = np.where(gaps, 0, values.astype(np.int64)[codes])
        if not gaps.any():
            return pd.Series(whole, index=series.index)
        return pd.Series(pd.arrays.IntegerArray(whole, gaps), index=series.index)
    exact = np.array([float(text) for text in texts])  # Python reads every decimal to the nearest float64
    return pd.Series(np.where(gaps, np.nan, exact[codes]), index=series.index)


def _check_mostly_numbers(series: pd.Series, codes: np.ndarray, numeric: np.ndarray, texts: list[str]) -> None:
    present = codes >= 0
    is_number = numeric[codes] & present
    if is_number.sum() <= _MOSTLY * present.sum() or (len(texts) <= MOST_CATEGORIES and numeric.sum() < 3):
        return
    others = np.flatnonzero(present & ~is_number)
    text = texts[codes[others[0]]]
    advice = ', or decimal = ","' if re.fullmatch(r"[+-]?\d+,\d+", text) else f", or missing_values = [{text!r}]"
    raise UsageError(
        f"holds numbers but for {len(others)} of {int(present.sum())} rows, such as {text!r} in row {others[0] + 1}; "
        f"wanted numbers alone{advice}"
    )


def _series(column: TableColumn, codes: np.ndarray) -> pd.Series:
    import pandas as pd

    if column.kind == "category":
        values = np.array([*column.categories, None], dtype=object)[codes]  # code -1 is the last: missing
        if column.dtype == "category":
            return pd.Series(pd.Categorical(values, categories=list(column.categories)))
        return _typed(values, column)
    gaps = np.isnan(codes)
    if column.kind == "number":
        values = codes.astype(object)
    else:
        values = _times(column, np.where(gaps, 0, codes).astype(np.int64) + column.origin)
    values[gaps] = None
    return _typed(values, column)


def _times(column: TableColumn, steps: np.ndarray) -> np.ndarray:
    """Steps since 1970 as objects: dates, texts or points of time, as the column has them."""
    times = steps.astype(f"datetime64[{column.unit}]")
    if column.dtype == "object":
        return times.astype("datetime64[D]").astype(object)
    if column.dtype.startswith("datetime64"):
        return np.array(list(times), dtype=object)
    texts = np.datetime_as_string(times, unit="s" if column.between else "D")
    return np.array([text.replace("T", column.between or "T") for text in texts], dtype=object)


def _typed(values: np.ndarray, column: TableColumn) -> pd.Series:
    """Objects, None where one is missing, as a series of the column's type."""
    import pandas as pd

    dtype: Any = column.dtype
    return pd.Series(values, dtype=object).astype(dtype)
