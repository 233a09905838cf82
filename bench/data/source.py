"""Readers of what users have: each finds all examples, and shared options cut them into splits."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...models.data_spec import DataSpec
from ..errors import UsageError
from . import common_options
from .base import DataReader, DataSet
from .found import Found
from .reference import DataRef
from .walk import files_under


class SourceReader(DataReader):
    """Reads what users have. Subclasses write one method:

        def find(self, *, its own options) -> Found

    without torch, the same each time. Its options have defaults, but for `path` or `name`; a value of another type
    than the default is refused. `common_options` says what every such reader takes, too.

    suffixes: of the files that it reads, in lower case with their dots. folders: whether it reads folders.
    keeps: whether what it finds is kept under the cache (kept_levels.py); then it may give `Chunks`.
    """

    suffixes: tuple[str, ...] = ()
    folders: bool = False
    keeps: bool = False
    known = ()  # what is found has neither

    def find(self, *args: Any, **options: Any) -> Found:
        """All examples. Raises UsageError, one line, for whatever it cannot read."""
        raise NotImplementedError(f"{type(self).__name__} does not find its data")

    def place(self, own: Mapping[str, Any]) -> Path | None:
        """The file or folder that is read under some options; None: none on this disk."""
        path = own.get("path")
        return Path(path) if isinstance(path, str) else None

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        own = inspect.signature(self.find).parameters
        return {**own, **{p.name: p for p in common_options.parameters()}}

    def describe(self, **options: Any) -> DataSpec:
        common_options.check_types(self.name, options, self.parameters())
        own, common = common_options.divide(options)
        found = self._found(own)
        spec = replace(found.spec, examples=_trained(found, common))
        _latest[self.name] = spec, found
        return spec

    def read(self, spec: DataSpec, **options: Any) -> DataSet:
        from .preparation import prepare

        own, common = common_options.divide(options)
        described, found = _latest.get(self.name, (None, None))
        # What `describe` has just found is not looked for again: 200,000 files take seconds to look at.
        if found is None or described is not spec:
            found = self._found(own)
        return prepare(replace(found, spec=replace(found.spec, examples=spec.examples)), common)

    def _found(self, own: Mapping[str, Any]) -> Found:
        place = self.place(own)
        return _find(self, DataRef.of(self.name, **own), "" if place is None else stamp(place))


_latest: dict[str, tuple[DataSpec, Found]] = {}  # by reader, what it described last, and where it found that


def _trained(found: Found, common: common_options.CommonOptions) -> int:
    """About how many examples come into the train split; duplicates are only looked for when they are read."""
    if found.split is None or not len(found):
        return common.trained(len(found))
    trained = int((found.split == "train").sum())
    return max(round(trained * min(1.0, (common.subset or len(found)) / len(found))), 1)


@lru_cache(maxsize=2)
def _find(reader: SourceReader, ref: DataRef, there: str) -> Found:
    """`there` tells what was found from what lies there now."""
    if not reader.keeps:
        return reader.find(**ref.keywords)
    from .kept_levels import kept

    return kept(f"{there} {ref}", lambda: reader.find(**ref.keywords))


def stamp(path: Path) -> str:
    """A hash of names, sizes and times of a file, or of all files under a folder; "" where nothing is there.

    The time is the one that the system sets at every change of a file and that programs cannot set.
    """
    try:
        files = files_under(path) if path.is_dir() else [("", path.stat())]
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}") from None
    told = (f"{name}\0" if s is None else f"{name}\0{s.st_size} {s.st_ctime_ns} {s.st_ino}" for name, s in files)
    return hashlib.sha256("\0".join(told).encode(errors="surrogateescape")).hexdigest()
