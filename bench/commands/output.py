"""Printing: JSON and tables on standard output, one-line messages on standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(content, indent=1, allow_nan=False))


def print_message(message: str) -> None:
    """One line on standard error, whatever line breaks the message has."""
    print(f"gentune: {' '.join(message.split())}", file=sys.stderr)


def console() -> Console:
    """Standard output for tables."""
    from rich.console import Console

    # A file or a pipe has no width; the usual 80 columns would cut the leaderboard.
    return Console() if sys.stdout.isatty() else Console(width=110)


def split_names(text: str | None) -> list[str] | None:
    """Names separated by commas; None where nothing was given."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
