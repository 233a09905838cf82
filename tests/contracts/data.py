"""What every reader of data keeps: the contract between a description and the examples that are read."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gentune.bench.data import DataReader, DataRef, DataSet, add_reader, open_data, readers, remove_reader
from gentune.bench.data.examples import Column
from gentune.models import DataSpec
from gentune.models.data_spec import from_levels, to_levels

# Finds the reader's module by its name, or by its file where it is in no package; describes; tells what was imported.
_DESCRIBE = """
import base64, importlib, importlib.util, pickle, sys
name, file, content = sys.argv[1:]
try:
    importlib.import_module(name)
except ImportError:
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
reader, options = pickle.loads(base64.b64decode(content))
reader.describe(**options)
print([heavy for heavy in ("torch", "jax") if heavy in sys.modules])
"""


class DataContract:
    """Derive from it in a test module, name the reader, and pytest runs the contract:

        class TestMine(DataContract):
            reader = Mine()                     # a DataReader, or the name of a registered one
            options = {"path": "mine.npz"}      # those under which it is held to the contract

    repeats: whether the same example may stand in two splits, as short sequences do.
    """

    reader: ClassVar[DataReader | str]
    options: ClassVar[Mapping[str, Any]] = {}
    repeats: ClassVar[bool] = False
    _read: ClassVar[DataSet]  # once for all tests of a class

    def test_describing_imports_no_torch(self) -> None:
        reader = self._reader()
        module = type(reader).__module__
        file = str(Path(getattr(sys.modules[module], "__file__", "") or ""))
        content = base64.b64encode(pickle.dumps((reader, dict(self.options)))).decode()
        done = subprocess.run(
            [sys.executable, "-c", _DESCRIBE, module, file, content], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "[]", f"describing {reader.name!r} imports {done.stdout.strip()}"

    def test_the_description_is_that_of_the_data(self) -> None:
        described, read = self._described(), self._data().spec
        differing = [f.name for f in fields(read) if getattr(described, f.name) != getattr(read, f.name)]
        # What only reading may know.
        differing = [
            n
            for n in differing
            if n not in ("examples", "mean", "deviation", "table") or getattr(described, n) is not None
        ]
        assert not differing, f"description and data differ in {', '.join(differing)}"

    def test_what_the_reader_says_is_known_is_known(self) -> None:
        known, data = self._reader().known, self._data()
        if known is not None:
            assert {what for what in ("modes", "factors", "grammatical") if getattr(data, what) is not None} == set(
                known
            )

    def test_there_are_three_splits_without_common_examples(self) -> None:
        splits = self._data().splits
        assert sorted(splits) == ["test", "train", "validation"]
        assert all(len(split) for split in splits.values())
        if self.repeats:
            return
        seen: dict[bytes, str] = {}
        for name, split in splits.items():
            for chunk in split.x.chunks():
                for row in chunk.contiguous().flatten(1).numpy():
                    assert seen.setdefault(row.tobytes(), name) == name, f"an example of {name} stands in another split"

    def test_reading_again_gives_the_same(self) -> None:
        data, again = self._data(), self._reader().read(self._described(), **self.options)
        assert again.fingerprint == data.fingerprint, "reading again gives other examples"
        assert again.spec == data.spec

    def test_values_are_those_that_the_description_allows(self) -> None:
        data = self._data()
        spec = data.spec
        for split in data.splits.values():
            _check_values(split.x, spec.kind, spec.shape, spec.levels, spec.vocabulary)
        if spec.kind == "vector" and spec.mean is not None:
            x = data.splits["train"].x[:].double()
            assert x.mean(0).abs().max() < 1e-4, "vectors are standardised by the train split"
            assert (x.std(0, correction=0) - 1.0).abs().max() < 1e-4, "vectors are standardised by the train split"

    def test_conditions_are_those_that_the_description_allows(self) -> None:
        data = self._data()
        wanted = data.spec.condition
        for split in data.splits.values():
            assert (split.condition is None) == (wanted.kind == "none")
            if split.condition is not None:
                assert len(split.condition) == len(split)
                count = wanted.vocabulary or wanted.classes
                _check_values(split.condition, wanted.kind, wanted.shape, wanted.levels, count)

    def test_any_process_opens_it_by_reference(self) -> None:
        reader = self._reader()
        ref = DataRef.of(reader.name, **self.options)
        assert DataRef.from_value(json.loads(json.dumps(ref.to_value()))) == ref
        assert pickle.loads(pickle.dumps(ref)) == ref
        unknown = reader.name not in readers()
        if unknown:
            add_reader(reader)
        try:
            assert open_data(ref).fingerprint == self._data().fingerprint
        finally:
            if unknown:
                remove_reader(reader.name)

    @classmethod
    def _reader(cls) -> DataReader:
        if isinstance(cls.reader, DataReader):
            return cls.reader
        if cls.reader not in readers():
            pytest.fail(f"no data reader is called {cls.reader!r}; known: {', '.join(readers())}")
        return readers()[cls.reader]

    @classmethod
    def _data(cls) -> DataSet:
        if "_read" not in cls.__dict__:
            cls._read = cls._reader().read(cls._described(), **cls.options)
        return cls._read

    @classmethod
    def _described(cls) -> DataSpec:
        return cls._reader().describe(**cls.options)


def _check_values(column: Column, kind: str, shape: tuple[int, ...], levels: int | None, count: int | None) -> None:
    """Shape, type and range of examples or conditions of a kind."""
    for values in column.chunks():
        assert tuple(values.shape[1:]) == shape
        if kind in ("image", "vector"):
            assert values.dtype == torch.float32
            assert values.isfinite().all()
            if levels is not None:
                assert torch.equal(values, _nearest(values, levels)), "images lie on the lattice"
        else:
            assert count is not None
            assert values.dtype == torch.int64
            assert values.min() >= 0
            assert values.max() < count


def _nearest(x: Tensor, levels: int) -> Tensor:
    return from_levels(to_levels(x, levels), levels)
