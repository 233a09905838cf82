"""What people write for a data set, as a reference: a name, a path, or a table of options. Free of torch and numpy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...search_spaces.space import suggest
from ..errors import UsageError
from .image_tasks import ImageTask
from .readers import readers
from .reference import DataRef
from .source import SourceReader

_TABLES = {"split": {"shares": "split", "seed": "split_seed", "group": "group"}}


def locate(value: object, base: Path | None = None) -> DataRef:
    """The reference that text, a path or a table stands for.

    value: a reader's name; `READER:NAME` for readers that take a name (`torchvision:MNIST`), `TASK:DATA` for tasks on
        other data (`inpainting:digits`, `rotated:faces/`), `pairs:FOLDER`; a path; or a table that
        has one of these under `name` or `path` and the reader's options. Text is a path if nothing is called
        so and it holds a slash, ends as data files do, or names what is there.
    base: the folder from which relative paths are taken; None: the current one.

    Raises UsageError for a path at which nothing lies that can be read, and for a table without a name or a path.
    """
    base = Path() if base is None else base
    if isinstance(value, DataRef):
        return value
    if isinstance(value, Path):
        return _of_path(base / value.expanduser())
    if isinstance(value, str):
        return _of_text(value, base)
    if isinstance(value, Mapping) and "reader" not in value:
        return _of_table(value, base)
    return DataRef.from_value(value)


def _of_text(text: str, base: Path) -> DataRef:
    known = readers()
    if text in known:
        return DataRef(text)
    prefix, colon, rest = text.partition(":")
    if colon and isinstance(known.get(prefix), ImageTask):
        return DataRef.of(prefix, name=_as_text(_of_text(rest, base)) if rest else "")
    if colon and prefix in known and "name" in known[prefix].parameters():
        folder = base / Path(rest).expanduser()
        return DataRef.of(prefix, name=str(folder.resolve()) if "/" in rest and folder.is_dir() else rest)
    if colon and rest and prefix in known and isinstance(known[prefix], SourceReader):
        return DataRef.of(prefix, path=str((base / Path(rest).expanduser()).resolve()))
    path = base / Path(text).expanduser()
    if "/" in text or text in (".", "..") or path.suffix.lower() in _suffixes() or path.exists():
        return _of_path(path)
    return DataRef(text)  # of a plug-in, or a wrong name


def _as_text(ref: DataRef) -> str:
    """What `locate` makes the reference of, from any folder."""
    place = ref.keywords
    if "path" in place:
        return f"{ref.reader}:{place['path']}"
    return f"{ref.reader}:{place['name']}" if "name" in place else ref.reader


def _of_path(path: Path) -> DataRef:
    path = path.resolve()
    sources = [reader for reader in readers().values() if isinstance(reader, SourceReader)]
    if path.is_dir():
        fitting = [reader for reader in sources if reader.folders]
    else:
        if not path.exists():
            raise UsageError(f"{path} is not there{_nearest_name(path)}")
        fitting = [reader for reader in sources if path.suffix.lower() in reader.suffixes]
    if not fitting:
        kinds = "a folder of images, " if any(reader.folders for reader in sources) else ""
        raise UsageError(f"{path} is none of what can be read: {kinds}{', '.join(sorted(_suffixes()))}")
    return DataRef.of(fitting[0].name, path=str(path))


def _of_table(table: Mapping[str, Any], base: Path) -> DataRef:
    options: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and name in _TABLES:
            options |= {_option(name, key): entry for key, entry in value.items()}
        else:
            options[name] = value
    if isinstance(options.get("root"), str):  # the other option that is a path
        options["root"] = str((base / Path(options["root"]).expanduser()).resolve())
    given = [name for name in ("path", "name") if name in options]
    if len(given) != 1:
        raise UsageError(f"data {dict(table)!r} is no name, path or table; wanted a table with either a path or a name")
    place = options.pop(given[0])
    if not isinstance(place, str | Path):
        raise UsageError(f"data: {given[0]} is {place!r}; wanted text")
    ref = _of_path(base / Path(place).expanduser()) if given == ["path"] else _of_text(str(place), base)
    return DataRef.of(ref.reader, **{**options, **ref.keywords})


def _option(table: str, key: str) -> str:
    if key not in _TABLES[table]:
        raise UsageError(f"data: {table} has no key {key!r}{suggest(key, _TABLES[table])}")
    return _TABLES[table][key]


def _suffixes() -> set[str]:
    return {suffix for reader in readers().values() if isinstance(reader, SourceReader) for suffix in reader.suffixes}


def _nearest_name(path: Path) -> str:
    """The nearest name in the same folder, as `suggest` says it; "" where there is none."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
