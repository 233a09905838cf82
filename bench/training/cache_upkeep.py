"""Upkeep of the kept trainings: lists them, pins those that runs need, and removes the oldest. Free of torch."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..files import write_atomically
from .cache import DamagedError, TrainingCache, describe, last_use, release, state_name


@dataclass(frozen=True)
class StateEntry:
    """A kept state on the disk; `used` is when it was last read or written, in seconds since the epoch."""

    key: str
    step: int
    size: int  # bytes
    used: float

    @property
    def name(self) -> str:
        """As records and pins name it."""
        return state_name(self.key, self.step)


@dataclass(frozen=True)
class Trimmed:
    """What `trim` did: states and bytes removed, and bytes that are left."""

    states: int
    removed: int
    left: int


def entries(cache: TrainingCache) -> list[StateEntry]:
    """All kept states, the least recently used first."""
    found = []
    for folder in _folders(cache.states_path):
        for step in cache.steps(folder.name):
            place = cache.place(folder.name, step)
            with suppress(FileNotFoundError):  # removed just now
                found.append(StateEntry(folder.name, step, _size(place), last_use(place)))
    return sorted(found, key=lambda entry: (entry.used, entry.name))


def damaged(cache: TrainingCache) -> list[tuple[Path, int]]:
    """Damaged states that were set aside, with their bytes; the oldest first."""
    found = []
    for folder in _folders(cache.damaged_path):
        with suppress(FileNotFoundError):
            found.append((folder.stat().st_mtime, folder, _size(folder)))
    return [(folder, size) for _, folder, size in sorted(found)]


def about(cache: TrainingCache, entry: StateEntry) -> dict[str, str]:
    """The family and data set that a state belongs to; "unknown" where its description cannot be read."""
    try:
        description = describe(cache.place(entry.key, entry.step))
    except (DamagedError, FileNotFoundError):
        description = {}
    return {name: str(description.get(name, "unknown")) for name in ("family", "data")}


def pin(cache: TrainingCache, run_folder: Path, names: Iterable[str]) -> None:
    """Protects the named states while a run folder exists; replaces its earlier pins."""
    run = str(run_folder.resolve())
    content = {"run": run, "states": sorted(set(names))}
    write_atomically(_pin_path(cache, run), json.dumps(content, indent=1) + "\n")


def pins(cache: TrainingCache) -> dict[str, frozenset[str]]:
    """Names of the states that each run folder has pinned; folders that are gone pin nothing."""
    found = {}
    for path in sorted(cache.pins_path.glob("*.json")) if cache.pins_path.is_dir() else ():
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):  # one that cannot be read pins nothing
            content = json.loads(path.read_text(encoding="utf-8"))
            if Path(content["run"]).is_dir():
                found[str(content["run"])] = frozenset(map(str, content["states"]))
    return found


def trim(cache: TrainingCache, limit: int) -> Trimmed:
    """Removes what is least recently used until at most `limit` bytes are left.

    Damaged states go first. States that are pinned, or whose stage another process is training, are spared, even
    where more than the limit is left then. What dead processes left half written goes, whatever the limit.
    """
    _tidy(cache)
    spared = frozenset[str]().union(*pins(cache).values())
    states, aside = entries(cache), damaged(cache)
    left = sum(entry.size for entry in states) + sum(size for _, size in aside)
    count = removed = 0
    for folder, size in aside:
        if left <= limit:
            break
        shutil.rmtree(folder, ignore_errors=True)
        left, removed, count = left - size, removed + size, count + 1
    for entry in states:
        if left <= limit:
            break
        if entry.name in spared or (lock := cache.try_lock(entry.key)) is None:
            continue
        try:
            cache.remove(entry.key, entry.step)
            cache.tidy(entry.key)
        finally:
            release(lock)
        left, removed, count = left - entry.size, removed + entry.size, count + 1
    return Trimmed(count, removed, left)


def _tidy(cache: TrainingCache) -> None:
    """Removes half-written states, and pins of run folders that are gone."""
    for folder in _folders(cache.states_path):
        names: set[str] = set()
        with suppress(FileNotFoundError):  # removed just now
            names = {path.name for path in folder.iterdir()}
        if not any(name.isdigit() for name in names) or any(name.startswith(".") for name in names):
            lock = cache.try_lock(folder.name)
            if lock is not None:
                try:
                    cache.tidy(folder.name)
                finally:
                    release(lock)
    living = {_pin_path(cache, run) for run in pins(cache)}
    for path in cache.pins_path.glob("*.json") if cache.pins_path.is_dir() else ():
        if path not in living:
            path.unlink(missing_ok=True)


def _pin_path(cache: TrainingCache, run: str) -> Path:
    return cache.pins_path / f"{hashlib.sha256(run.encode()).hexdigest()[:24]}.json"


def _folders(path: Path) -> list[Path]:
    return [folder for folder in path.iterdir() if folder.is_dir()] if path.is_dir() else []


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
