"""References to data, the readers behind them, and where references travel."""

from __future__ import annotations

import json
import pickle
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import tomli_w
import torch

from gentune.bench.data import (
    DataReader,
    DataRef,
    DataSet,
    add_reader,
    data_specs,
    describe_data,
    load,
    open_data,
    readers,
    remove_reader,
)
from gentune.bench.data.examples import Examples
from gentune.bench.errors import UsageError
from gentune.bench.runs.study_options import parse_study
from gentune.models import DataSpec

REFERENCES = [
    DataRef("digits"),
    DataRef.of("points", count=3, scale=0.5, offset=1, flip=False, title='a "name"', sides=(2, 3)),
]

# Kept trainings and evaluators are known by these.
FINGERPRINTS = {
    "digits": "025ebe622fcbb963",
    "sprites": "1766396ce3009d46",
    "captions": "86101353ffdddf9a",
    "eight_gaussians": "3728c9d02421a701",
    "two_moons": "27d6ea068b786079",
    "checkerboard": "a1370613dcca0a69",
    "photo_patches": "369375564c3ff39d",
    "grammar": "47c1796ca1d134b9",
    "noisy_ar": "bac3fb8f06d9da3c",
}


class Points(DataReader):
    """Points on a line, `count` in each split."""

    def __init__(self, name: str = "points") -> None:
        self.name = name

    def describe(self, *, count: int, shift: float = 0.0) -> DataSpec:
        return DataSpec(f"{count} points", "vector", (1,))

    def read(self, spec: DataSpec, *, count: int, shift: float = 0.0) -> DataSet:
        x = torch.arange(3.0 * count)[:, None] + shift
        return DataSet(
            spec,
            {
                "train": Examples.of_arrays(spec, x[:count]),
                "validation": Examples.of_arrays(spec, x[count:-count]),
                "test": Examples.of_arrays(spec, x[-count:]),
            },
        )


class OtherPoints(Points):
    """The same under another class name."""


@pytest.fixture
def points() -> Iterator[Points]:
    reader = Points()
    add_reader(reader)
    yield reader
    remove_reader("points")


@pytest.mark.parametrize("ref", REFERENCES, ids=str)
def test_a_reference_travels(ref: DataRef) -> None:
    value = ref.to_value()
    assert DataRef.from_value(json.loads(json.dumps(value))) == ref
    assert DataRef.from_value(tomllib.loads(tomli_w.dumps({"data": value}))["data"]) == ref
    again = pickle.loads(pickle.dumps(ref))
    assert again == ref
    assert hash(again) == hash(ref)


def test_the_order_of_options_does_not_count() -> None:
    assert DataRef.of("points", a=1, b=2) == DataRef.of("points", b=2, a=1)


def test_a_reference_reads_as_a_name_or_a_call() -> None:
    assert [str(ref) for ref in (DataRef("digits"), DataRef.of("npz", path="x.npz", sides=[2, 3]))] == [
        "digits",
        'npz(path="x.npz", sides=[2, 3])',
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"path": "x"}, "neither a name nor a table"),
        (3, "neither a name nor a table"),
        ({"reader": "npz", "scale": float("nan")}, "option scale is nan; wanted"),
        ({"reader": "npz", "part": {"train": 1}}, "option part is {'train': 1}; wanted"),
    ],
)
def test_what_is_no_reference_is_refused(value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        DataRef.from_value(value)


def test_no_option_may_have_the_name_of_the_readers_key() -> None:
    with pytest.raises(UsageError, match="no option may be called 'reader'"):
        DataRef("npz", (("reader", "other"),))


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprints_of_built_in_sets_stay(name: str) -> None:
    assert load(name).fingerprint == FINGERPRINTS[name]
    assert set(data_specs()) >= set(FINGERPRINTS)


def test_a_reference_is_opened_once(points: Points) -> None:
    ref = DataRef.of("points", count=4)
    data = open_data(ref)
    assert open_data(DataRef.of("points", count=4)) is data
    assert open_data(DataRef.of("points", count=4, shift=1.0)) is not data
    assert data.spec.examples == 4, "counted, where the reader does not say"
    assert replace(data.spec, examples=None) == describe_data(ref) == points.describe(count=4)
    assert data.as_recorded(ref) == {
        "name": "4 points",
        "fingerprint": data.fingerprint,
        "reference": {"reader": "points", "count": 4},
    }


def test_a_reader_that_needs_options_is_no_data_set_by_itself(points: Points) -> None:
    assert readers()["points"] is points
    assert "points" not in data_specs()


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        (DataRef("digitz"), "unknown data set 'digitz'; did you mean 'digits'"),
        (DataRef("points"), "reader 'points' needs the option 'count'"),
        (DataRef.of("points", counts=3), "takes no option 'counts'; did you mean 'count'"),
        (DataRef.of("digits", path="x"), "'digits' takes no option 'path'"),
    ],
)
def test_a_reference_to_nothing_is_refused(points: Points, ref: DataRef, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        describe_data(ref)
    with pytest.raises(UsageError, match=said):
        open_data(ref)


def test_a_reader_loaded_again_takes_its_formers_place(points: Points) -> None:
    ref = DataRef.of("points", count=2)
    before = open_data(ref)
    again = Points()
    add_reader(again)
    assert readers()["points"] is again
    assert open_data(ref) is not before


@pytest.mark.parametrize("reader", [OtherPoints(), Points("digits")], ids=["added", "built in"])
def test_a_name_is_given_once(points: Points, reader: Points) -> None:
    with pytest.raises(UsageError, match=rf"{reader.name!r} is registered twice: in .*\.py and in .*test_readers\.py"):
        add_reader(reader)


@pytest.mark.parametrize("name", ["all", "", "a/b", "a,b", "..", "-x", "a b"])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a data reader"):
        add_reader(Points(name))


def test_a_study_file_holds_a_name_or_a_table() -> None:
    def study(data: Any) -> dict[str, Any]:
        return {"data": data, "families": ["vae"], "trainings": 2, "objective": ["fid"]}

    for ref in REFERENCES:
        config = parse_study(study(ref.to_value()), "study.toml")
        assert config.data == ref
        written = tomllib.loads(config.to_toml())
        assert written["data"] == json.loads(json.dumps(ref.to_value()))
        assert parse_study(written, "study.toml") == config
    with pytest.raises(UsageError, match=r"study\.toml: data: data 3 is neither"):
        parse_study(study(3), "study.toml")
