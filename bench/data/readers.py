"""The readers that this process knows, and opening what a reference names. Costs no torch until a set is read."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from ...models.data_spec import DataSpec
from ...search_spaces.space import suggest
from ..errors import UsageError, check_name, look_up
from .base import DataReader, DataSet
from .builtin import BUILT_IN
from .image_tasks import TASKS, ImageTask
from .reference import DataRef
from .source import SourceReader
from .sources import SOURCES

_SHIPPED: dict[str, DataReader] = {**BUILT_IN, **SOURCES, **TASKS}
_added: dict[str, DataReader] = {}


def readers() -> Mapping[str, DataReader]:
    """Every known reader, by name: of the built-in sets, of what users have, then those added at run time."""
    return {**_SHIPPED, **_added}


def add_reader(reader: DataReader) -> None:
    """Makes a reader known by its name; the same class of the same file, loaded again, replaces the earlier one.

    Raises UsageError for a name that is not plain or is taken.
    """
    name = reader.name
    check_name(name, "a data reader", _place(reader))
    there = readers().get(name)
    if there is not None and (name in _SHIPPED or _identity(there) != _identity(reader)):
        raise UsageError(f"data reader {name!r} is registered twice: in {_place(there)} and in {_place(reader)}")
    _added[name] = reader
    _open.cache_clear()


def remove_reader(name: str) -> None:
    """Forgets a reader that was added at run time. Raises KeyError for any other name."""
    del _added[name]
    _open.cache_clear()


def describe_data(ref: DataRef) -> DataSpec:
    """The description of a referenced data set, without reading it.

    Raises UsageError for an unknown reader, and for options that it does not take or that lead to no data set.
    """
    return _describe(_reader(ref), ref)


def lacks(ref: DataRef, what: str) -> bool:
    """Whether a referenced data set lacks "modes", "factors" or "grammatical".

    It is read only where its reader does not tell.
    """
    known = _reader(ref).known
    return getattr(open_data(ref), what) is None if known is None else what not in known


def open_data(ref: DataRef, *, again: bool = False) -> DataSet:
    """The referenced data set, the same object in one process. Raises UsageError as `describe_data` does.

    again: whether files are looked at again; else they count as they were when this process opened them first.
    """
    if again and isinstance(_reader(ref), (SourceReader, ImageTask)):
        _open.cache_clear()
    return _open(ref)


def load(name: str) -> DataSet:
    """The data set of a reader without options. Raises UsageError as `describe_data` does."""
    return open_data(DataRef(name))


def data_specs() -> Mapping[str, DataSpec]:
    """Descriptions of the data sets that need no options, by name; without those whose package is missing."""
    return {name: spec for name, spec in described().items() if isinstance(spec, DataSpec)}


def described() -> Mapping[str, DataSpec | UsageError]:
    """The data sets that need no options, by name: their description, or why there is none."""
    found: dict[str, DataSpec | UsageError] = {}
    for name, reader in readers().items():
        if not _required(reader):
            try:
                found[name] = describe_data(DataRef(name))
            except UsageError as error:
                found[name] = error
    return found


@lru_cache(maxsize=4)
def _open(ref: DataRef) -> DataSet:
    reader = _reader(ref)
    data = reader.read(_describe(reader, ref), **ref.keywords)
    if data.spec.examples is not None:
        return data
    return replace(data, spec=replace(data.spec, examples=len(data.splits["train"])))


def _describe(reader: DataReader, ref: DataRef) -> DataSpec:
    taken = reader.parameters()
    for name in ref.keywords:
        if name not in taken:
            raise UsageError(f"data reader {ref.reader!r} takes no option {name!r}{suggest(name, taken)}")
    for name in _required(reader):
        if name not in ref.keywords:
            raise UsageError(f"data reader {ref.reader!r} needs the option {name!r}")
    return reader.describe(**ref.keywords)


def _reader(ref: DataRef) -> DataReader:
    return look_up(ref.reader, readers(), "data set")


def _required(reader: DataReader) -> list[str]:
    return [name for name, parameter in reader.parameters().items() if parameter.default is inspect.Parameter.empty]


def _place(reader: DataReader) -> str:
    """The file that a reader's class stands in, or its module where that is in no file."""
    module = type(reader).__module__
    return getattr(sys.modules.get(module), "__file__", None) or module


def _identity(reader: DataReader) -> tuple[str, str]:
    return _place(reader), type(reader).__qualname__
