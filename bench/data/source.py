"""Readers of what users have: each finds all examples, and shared options cut them into splits."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...models.data_spec import DataSpec
from ..errors import UsageError
from . import common_options
from .base import DataReader, DataSet
from .found import Found
from .reference import DataRef


class SourceReader(DataReader):
    """Reads what users have. Subclasses write one method:

        def find(self, *, its own options) -> Found

    without torch, the same each time. Its options have defaults, but for `path` or `name`; a value of another type
    than the default is refused. `common_options` says what every such reader takes besides.

    suffixes: of the files that it reads, in lower case with their dots. folders: whether it reads folders.
    """

    suffixes: tuple[str, ...] = ()
    folders: bool = False

    def find(self, *args: Any, **options: Any) -> Found:
        """All examples. Raises UsageError, one line, for whatever it cannot read."""
        raise NotImplementedError(f"{type(self).__name__} does not find its data")

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        own = inspect.signature(self.find).parameters
        return {**own, **{p.name: p for p in common_options.parameters()}}

    def describe(self, **options: Any) -> DataSpec:
        common_options.check_types(self.name, options, self.parameters())
        own, _ = common_options.divide(options)
        return self._found(own).spec

    def read(self, spec: DataSpec, **options: Any) -> DataSet:
        from .preparation import prepare

        own, common = common_options.divide(options)
        return prepare(self._found(own), common)

    def _found(self, own: Mapping[str, Any]) -> Found:
        path = own.get("path")
        return _find(self, DataRef.of(self.name, **own), stamp(Path(path)) if isinstance(path, str) else "")


@lru_cache(maxsize=2)
def _find(reader: SourceReader, ref: DataRef, stamp: str) -> Found:
    """`stamp` is there to tell what was found from what lies there now."""
    return reader.find(**ref.keywords)


def stamp(path: Path) -> str:
    """A hash of names, sizes and times of a file, or of all files under a folder; "" where nothing is there.

    The time is the one that the system sets at every change of a file and that programs cannot set.
    """
    digest = hashlib.sha256()
    try:
        for entry, status in sorted(_files(path)):
            digest.update(f"{entry}\0{status.st_size} {status.st_ctime_ns} {status.st_ino}\0".encode(errors="replace"))
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    if not path.is_dir():
        yield "", path.stat()
        return
    waiting = [str(path)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    try:
                        yield entry.path, entry.stat()
                    except OSError:  # a link to nothing, or to itself
                        yield entry.path, entry.stat(follow_symlinks=False)
