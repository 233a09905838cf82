"""The files under a folder, links followed once each. Free of torch and numpy."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError


def files_under(folder: Path) -> list[tuple[str, os.stat_result | None]]:
    """Each file's path, relative to the folder with slashes, and its status, sorted; None for a link to nothing.

    Folders behind links are entered, each once. Raises UsageError for a folder that cannot be read.
    """
    found: list[tuple[str, os.stat_result | None]] = []
    waiting, entered = [""], {_identity(folder.stat())}
    while waiting:
        within = waiting.pop()
        try:
            entries = list(os.scandir(folder / within))
        except OSError as error:
            raise UsageError(f"{folder / within} cannot be read: {error.strerror}") from None
        for entry in entries:
            name = f"{within}/{entry.name}" if within else entry.name
            try:
                status = entry.stat()
                is_folder = entry.is_dir()
            except OSError:  # a link to nothing, or to itself
                found.append((name, None))
                continue
            if not is_folder:
                found.append((name, status))
            elif _identity(status) not in entered:
                entered.add(_identity(status))
                waiting.append(name)
    return sorted(found, key=lambda item: item[0])


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
