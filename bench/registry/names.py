"""Names: how they are looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ...search_spaces.space import suggest
from ..errors import UsageError

T = TypeVar("T")


def look_up(name: str, known: Mapping[str, T], what: str) -> T:
    """What stands behind a name. what: its kind in words. Raises UsageError with the nearest known name."""
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}{suggest(name, known)}")
    return known[name]
