"""Reading TOML files and refusing what they must not say; every error names file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .space import suggest


class CardError(ValueError):
    """A TOML file of a family that does not say what it must; the message names file and key."""


def read_text(path: Path) -> str:
    """The text of a file. Raises CardError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror}") from error


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """TOML text as tables; `where` is named in errors. Raises CardError where it is not valid TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"{where}: not valid TOML: {error}") from error


def table_of(content: Mapping[str, Any], key: str, where: str, *, required: bool = False) -> Mapping[str, Any]:
    """The table at `key`, by default empty. Raises CardError for another value, or where a required one is missing."""
    if key not in content and required:
        raise CardError(f"{where}: {key}: the table [{key}] is missing")
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise CardError(f"{where}: {key}: wanted a table, got {table!r}")
    return table


def names_of(content: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """The list of names at `key`, by default empty. Raises CardError for another value."""
    names = content.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CardError(f"{where}: {key}: wanted a list of names, got {names!r}")
    return tuple(names)


def switch_of(table: Mapping[str, Any], key: str, where: str, prefix: str) -> bool:
    """True or false at `key`, by default false. Raises CardError for another value; `prefix` stands before the key."""
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise CardError(f"{where}: {prefix}{key}: wanted true or false, got {value!r}")
    return value


def refuse_unknown(table: Mapping[str, Any], known: Iterable[str], where: str, prefix: str) -> None:
    """Raises CardError for the first key of `table` that is not known; `prefix` stands before it in the message."""
    names = sorted(known)
    for key in table:
        if key not in names:
            raise CardError(f"{where}: {prefix}{key}: unknown key{suggest(key, names)}")


def one_of(value: Any, known: tuple[str, ...], where: str, key: str) -> str:
    """`value`. Raises CardError unless it is known."""
    if value not in known:
        raise CardError(f"{where}: {key}: {value!r} is not known{suggest(str(value), known)}")
    return str(value)
