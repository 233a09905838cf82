"""Rows become vectors and rows again, exactly: for any table, as encoded and through standardised float32."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from gentune.bench.data.tables.codec import decode, encode, noise_reach
from gentune.bench.data.tables.columns import describe, frame_of
from gentune.bench.errors import UsageError
from gentune.models.table_spec import TableColumn, TableSpec

_ROWS = 24


def _maybe_missing(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Columns of some values, in some of which one may be missing."""
    return st.one_of(
        st.lists(values, min_size=_ROWS, max_size=_ROWS),
        st.lists(st.none() | values, min_size=_ROWS, max_size=_ROWS),
    )


_WORDS = _maybe_missing(st.sampled_from(["", "a b", "ä", "None", "7", "True"])).map(lambda v: pd.Series(v, dtype="str"))
_BOOLEANS = _maybe_missing(st.booleans()).map(lambda v: pd.Series(v, dtype="boolean"))
_WHOLE = _maybe_missing(st.integers(-(2**53), 2**53)).map(lambda v: pd.Series(v, dtype="Int64"))
_FEW = st.lists(st.integers(0, 3), min_size=_ROWS, max_size=_ROWS).map(lambda v: pd.Series(v, dtype="int8"))
_FLOATS = _maybe_missing(st.floats(-1e90, 1e90)).map(lambda v: pd.Series(v, dtype="float64") + 0.0)
_SINGLES = _maybe_missing(st.floats(-(2.0**100), 2.0**100, width=32)).map(lambda v: pd.Series(v, dtype="float32") + 0.0)
_PRICES = _maybe_missing(st.decimals(-1000, 1000, places=2)).map(
    lambda v: pd.Series([None if d is None else float(d) for d in v], dtype="float64") + 0.0
)
_TIMES = _maybe_missing(st.datetimes(pd.Timestamp(1900, 1, 1), pd.Timestamp(2100, 1, 1))).map(
    lambda v: pd.Series(v, dtype="datetime64[us]")
)
_DAYS = _maybe_missing(st.dates().map(str)).map(lambda v: pd.Series(v, dtype="str"))
_DATES = _maybe_missing(st.dates()).map(lambda v: pd.Series(v, dtype="object"))
_COLUMNS = st.one_of(_WORDS, _BOOLEANS, _WHOLE, _FEW, _FLOATS, _SINGLES, _PRICES, _TIMES, _DAYS, _DATES)


def _described(columns: list[pd.Series]) -> Any:
    """Each column by itself, so that one which is left out does not take the others with it."""
    frame = pd.DataFrame({f"c{i}": column for i, column in enumerate(columns)})
    try:
        return frame, describe(frame, where="t")
    except UsageError as error:
        assert "no column that varies" in str(error)
        return None


@settings(deadline=None, max_examples=80)
@given(st.lists(_COLUMNS, min_size=1, max_size=4))
def test_encoding_and_decoding_gives_the_table_bit_for_bit(columns: list[pd.Series]) -> None:
    found = _described(columns)
    if found is None:
        return
    frame, described = found
    x = encode(described.table, described.codes, seed=3)
    assert x.dtype == np.float64
    assert x.shape == (_ROWS, described.table.dimensions)
    assert np.isfinite(x).all()
    again = frame_of(described.table, decode(described.table, x))
    assert_frame_equal(again, frame[list(again)], check_exact=True)
    assert set(frame) - set(again) == {note.split("'")[1] for note in described.notes if "is left out" in note}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(_WORDS, _BOOLEANS, _FEW, _PRICES), min_size=1, max_size=4))
def test_what_lies_on_a_lattice_survives_standardised_float32(columns: list[pd.Series]) -> None:
    found = _described(columns)
    if found is None:
        return
    frame, described = found
    x = encode(described.table, described.codes, seed=4)
    mean, deviation = x.mean(0), x.std(0)
    assert (deviation > 0).all(), "noise keeps every entry from being constant"
    standardised = ((x - mean) / deviation).astype(np.float32)
    again = frame_of(described.table, decode(described.table, standardised.astype(np.float64) * deviation + mean))
    assert_frame_equal(again, frame[list(again)], check_exact=True)


@settings(deadline=None, max_examples=40)
@given(st.lists(_COLUMNS, min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_any_vector_is_a_row_with_values_that_the_columns_have(columns: list[pd.Series], seed: int) -> None:
    found = _described(columns)
    if found is None:
        return
    frame, described = found
    x = np.random.default_rng(seed).standard_normal((50, described.table.dimensions)) * 10.0 ** (seed % 7)
    drawn = frame_of(described.table, decode(described.table, x))
    assert list(drawn.dtypes) == list(frame[list(drawn)].dtypes)
    for column in described.table.columns:
        values, known = drawn[column.name], frame[column.name]
        assert known.isna().any() or not values.isna().any()
        if column.kind == "category":
            assert set(values.dropna()) <= set(known.dropna())
        else:
            assert values.dropna().empty or values.min() >= known.min()
            assert values.dropna().empty or values.max() <= known.max()


def test_a_description_is_hashable_and_json_holds_it() -> None:
    frame = pd.DataFrame({"n": [1.5, 2.0, None], "c": ["x", "y", "x"], "d": ["2020-01-01", "2020-01-05", "2020-01-01"]})
    table = describe(frame, where="t").table
    assert hash(table) == hash(describe(frame, where="t").table)
    read = json.loads(json.dumps(asdict(table), allow_nan=False))
    columns = tuple(TableColumn(**column | {"categories": tuple(column["categories"])}) for column in read["columns"])
    assert TableSpec(columns, read["label"]) == table


def test_noise_is_seeded_and_fills_the_step() -> None:
    described = describe(pd.DataFrame({"n": [0, 1, 2, 3, 5] * 2_000, "c": list("abcab") * 2_000}), where="t")
    x = encode(described.table, described.codes, seed=1)
    assert np.array_equal(x, encode(described.table, described.codes, seed=1))
    assert not np.array_equal(x, encode(described.table, described.codes, seed=2))
    noise = x[:, 0] - described.codes["n"]
    assert 0.499 < noise_reach(described.table.columns[0]) < 0.5
    assert abs(noise.std() - np.sqrt(1 / 12)) < 0.005  # of a uniform law of width one
    assert len(np.unique(x[:, 1])) == len(x), "no entry is repeated, so no density is unbounded"


def test_a_missing_number_is_replaced_by_one_of_the_column() -> None:
    frame = pd.DataFrame({"n": [1.0, 100.0, np.nan, np.nan, 100.0] * 200})
    described = describe(frame, where="t")
    x = encode(described.table, described.codes, seed=1)
    stand_ins = np.rint(x[frame["n"].isna(), 0])
    assert set(stand_ins) == {1.0, 100.0}
    assert abs((stand_ins == 100.0).mean() - 2 / 3) < 0.08


def test_vectors_of_another_size_are_refused() -> None:
    table = describe(pd.DataFrame({"n": [1, 5, 2]}), where="t").table
    with pytest.raises(ValueError, match="1 entries"):
        decode(table, np.zeros((3, 2)))
