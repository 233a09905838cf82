"""The files under a folder, links followed once each. Free of torch and numpy."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import UsageError


def files_under(folder: Path) -> list[tuple[str, os.stat_result | None]]:
    """Each file's path, relative to the folder with slashes, and its status, sorted; None for a link to nothing.

    Folders behind links are entered, each once. Raises UsageError for a folder that cannot be read.
    """
    found: list[tuple[str, os.stat_result | None]] = []
    waiting, linked, entered = [""], list[str](), set[tuple[int, int]]()
    while waiting or linked:
        within = waiting.pop() if waiting else linked.pop(0)  # links last: what they lead to may be under the folder
        place = folder / within
        try:
            identity = _identity(place.stat())
            if identity in entered:
                continue
            entered.add(identity)
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise UsageError(f"{place} cannot be read: {error.strerror}") from None
        prefix = f"{within}/" if within else ""
        for entry in entries:
            name = prefix + entry.name
            if not entry.is_symlink():  # as almost all are, of which the system knows what they are without a look
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                else:
                    found.append((name, entry.stat(follow_symlinks=False)))
                continue
            try:
                status = entry.stat()
            except OSError:  # a link to nothing, or to itself
                found.append((name, None))
                continue
            if stat.S_ISDIR(status.st_mode):
                linked.append(name)
            else:
                found.append((name, status))
    return sorted(found, key=lambda item: item[0])


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
