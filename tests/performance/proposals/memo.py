"""Losses kept on disk, so that a setting that was once trained is not trained again."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from gentune.search_spaces.space import Setting


def cache_folder() -> Path:
    """proposals in $GENTUNE_CACHE, else in ~/.cache/gentune."""
    return Path(os.environ.get("GENTUNE_CACHE") or "~/.cache/gentune").expanduser() / "proposals"


class Memo:
    """One task's losses in one SQLite file, which several processes may use at once.

    version: part of the file's name; a change of the task asks for another.
    """

    def __init__(self, task: str, version: str) -> None:
        self._path = cache_folder() / f"{task}-{version}.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._process = -1

    def loss(self, setting: Setting, fold: int, compute: Callable[[], float | None]) -> float | None:
        """The loss at a setting on a fold, computed where it is not known; None: the training failed."""
        key = json.dumps([sorted(setting.items()), fold])
        connection = self._open()
        row = connection.execute("SELECT loss FROM losses WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return row[0]
        loss = compute()
        with connection:
            connection.execute("INSERT OR IGNORE INTO losses VALUES (?, ?)", (key, loss))
        return loss

    def _open(self) -> sqlite3.Connection:
        # A connection must not be carried over a fork.
        if self._connection is None or self._process != os.getpid():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")
            with self._connection:
                self._connection.execute("CREATE TABLE IF NOT EXISTS losses (key TEXT PRIMARY KEY, loss REAL)")
            self._process = os.getpid()
        return self._connection
