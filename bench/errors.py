"""Errors with one line for people, and checks of names and of the environment that raise them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TypeVar

from ..search_spaces.space import suggest

T = TypeVar("T")

GIB = 2**30

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # in commands, files and tables alike


class UsageError(Exception):
    """Wrong use or input: one line that says what was got, what was wanted, and the nearest valid name.

    The command line prints it and exits with code 2.
    """


class WorkError(Exception):
    """The work failed, though nothing was asked for wrongly; the command line prints it and exits with code 1."""


def check_name(name: object, what: str, where: str) -> None:
    """Refuses a name that cannot stand in commands, file names and tables.

    name: to be registered. what: its kind in words. where: the place that registers it.

    Raises UsageError.
    """
    if not isinstance(name, str) or not _PLAIN.fullmatch(name) or ".." in name or name == "all":
        raise UsageError(
            f"{where}: {name!r} cannot name {what}; wanted letters, digits, '_', '-' and '.', "
            "not 'all', no '..', and neither '-' nor '.' first"
        )


def look_up(name: str, known: Mapping[str, T], what: str) -> T:
    """What stands behind a name. what: its kind in words. Raises UsageError with the nearest known name."""
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}{suggest(name, known)}")
    return known[name]


def gib_limit(variable: str, default: float, also: str = "") -> int:
    """Bytes that an environment variable allows, in GiB, or the default. Raises UsageError for anything but a number.

    also: what else the message says that is wanted.
    """
    text = os.environ.get(variable, "")
    try:
        gib = float(text) if text else default
    except ValueError:
        gib = -1.0
    if not 0.0 <= gib < float("inf"):
        raise UsageError(f"{variable} is {text!r}; wanted a number of GiB{also}")
    return round(gib * GIB)
