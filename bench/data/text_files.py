"""Reading files of text: in which encoding, and what is told where that does not work."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError


def check_encoding(encoding: str) -> None:
    """Raises UsageError for an encoding that Python does not know."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise UsageError(f"unknown encoding {encoding!r}; wanted one such as utf-8 or latin-1") from None


def without_mark(encoding: str) -> str:
    """The encoding that leaves out a byte order mark, where there may be one."""
    return encoding.lower().replace("utf-8", "utf-8-sig")


@contextmanager
def reading(path: Path, encoding: str) -> Iterator[None]:
    """Makes one line (UsageError) of what a file that is read in the block raises."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeError as error:
        raise UsageError(
            f'{path} is not written in {encoding} ({error}); wanted its encoding, such as "latin-1"'
        ) from None
