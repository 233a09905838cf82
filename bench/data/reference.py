"""Identifies a data set by a reader's name and its options, for every process. Free of torch and numpy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, cast

from ..errors import UsageError

Scalar = bool | int | float | str
Option = Scalar | tuple[Scalar, ...]  # JSON and TOML both hold these

IMAGE_TASKS = ("super_resolution", "inpainting", "rotated")  # readers that make a task of the data set in `name`
_READER = "reader"  # the key of a table that names the reader; no option may have this name


@dataclass(frozen=True)
class DataRef:
    """A data set by reference: hashable, and any process that knows the reader can open it (`open_data`).

    reader: name of a reader.
    options: its keyword options, sorted by name; those that are left out stand at the reader's defaults.
    Raises UsageError for options that neither JSON nor TOML can hold.
    """

    reader: str
    options: tuple[tuple[str, Option], ...] = ()

    def __post_init__(self) -> None:
        checked = tuple(sorted((name, _option(name, value)) for name, value in dict(self.options).items()))
        object.__setattr__(self, "options", checked)
        if _READER in self.keywords:
            raise UsageError(f"data {self.reader!r}: no option may be called {_READER!r}")

    @classmethod
    def of(cls, reader: str, /, **options: Any) -> DataRef:
        """A reference from keyword options; lists become tuples."""
        return cls(reader, tuple(options.items()))

    @classmethod
    def from_value(cls, value: object) -> DataRef:
        """A reference from what `to_value` gives: a reader's name, or a table {"reader": name, option: value, ...}."""
        if isinstance(value, DataRef):
            return value
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping) or not isinstance(value.get(_READER), str):
            raise UsageError(f"data {value!r} is neither a name nor a table with a {_READER}")
        return cls(value[_READER], tuple((name, option) for name, option in value.items() if name != _READER))

    def to_value(self) -> str | dict[str, Any]:
        """For JSON and TOML: the reader's name alone, or a table where there are options."""
        return {_READER: self.reader, **self.keywords} if self.options else self.reader

    @property
    def keywords(self) -> dict[str, Option]:
        """The options as keyword arguments."""
        return dict(self.options)

    @property
    def label(self) -> str:
        """A short name of letters, digits, `_`, `-` and `.`: the last part of its path or name, else the reader's; of a
        task both."""
        place = self.keywords.get("path", self.keywords.get("name"))
        name = plain_name(PurePath(place.rpartition(":")[2]).stem) if isinstance(place, str) else ""
        return f"{self.reader}-{name}" if name and self.reader in IMAGE_TASKS else name or self.reader

    def __str__(self) -> str:
        if not self.options:
            return self.reader
        return f"{self.reader}({', '.join(f'{name}={json.dumps(value)}' for name, value in self.options)})"


def plain_name(text: str) -> str:
    """Text as a name for files and tables: anything but letters, digits, `_`, `-` and `.` becomes `-`."""
    return re.sub(r"[^A-Za-z0-9_.-]+|\.\.+", "-", text).strip("-.")


def _option(name: str, value: object) -> Option:
    if isinstance(value, (list, tuple)) and all(map(_is_scalar, value)):
        return tuple(value)
    if _is_scalar(value):
        return cast("Option", value)
    raise UsageError(f"data option {name} is {value!r}; wanted text, a finite number, true or false, or a list of them")


def _is_scalar(value: object) -> bool:
    return isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
