"""Printing: JSON and tables on standard output, one-line messages on standard error."""

from __future__ import annotations

import codecs
import io
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


_PLAIN = {
    "–": "-",
    "−": "-",
    "·": "|",
    "…": "...",
    "×": "x",
    "█": "#",
    "░": ".",
    "“": '"',
    "”": '"',
    "’": "'",
    "─": "-",
}


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(content, indent=1, allow_nan=False))


def print_message(message: str) -> None:
    """One line on standard error, whatever line breaks the message has."""
    print(f"gentune: {' '.join(message.split())}", file=sys.stderr)


def console() -> Console:
    """Standard output for tables; brackets in names and messages are text."""
    from rich.console import Console

    # A file or a pipe has no width; the usual 80 columns would cut the leaderboard.
    width = None if sys.stdout.isatty() else 110
    return Console(width=width, markup=False, emoji=False)


def progress_console() -> Console:
    """Standard error for progress; brackets in texts are text."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def accept_any_encoding() -> None:
    """Lets standard output and error take every text: what their encoding lacks is written with what it has."""
    codecs.register_error("gentune", _in_plain_characters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="gentune")


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


def split_names(text: str | None) -> list[str] | None:
    """Names separated by commas; None where nothing was given."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
