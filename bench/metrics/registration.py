"""Adding to a table of names at run time: each name once. Free of torch."""

from __future__ import annotations

import sys
from typing import TypeVar

T = TypeVar("T")

BUILT_IN = "Gentune"


def place_of(function: object) -> str:
    """The file that a function was written in; its module's name where that has none."""
    module = getattr(function, "__module__", None) or type(function).__module__
    return getattr(sys.modules.get(module), "__file__", None) or str(module)


def added(name: str, entry: T, known: dict[str, T], added_by: dict[str, str], *, what: str, where: str) -> None:
    """Puts an entry into a table; one that the same file added before is replaced.

    name: of the entry, a Python name. known: the table. added_by: of entries that were added, the file.
    what: what the table holds, in words; where: the file that adds the entry.

    Raises ValueError for a name that is none, and for one that is taken, with both places.
    """
    if not name.isidentifier():
        raise ValueError(f"{where} adds {what} {name!r}; wanted letters, digits and underscores")
    if name in known and added_by.get(name) != where:
        raise ValueError(f"{what} {name!r} is registered twice: in {added_by.get(name, BUILT_IN)} and in {where}")
    known[name] = entry
    added_by[name] = where
