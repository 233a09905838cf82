"""Kept states of trainings on the disk: written whole or not at all, checked when read. Free of torch.

    CACHE/trainings/states/KEY/lock                     held by the process that trains this stage, or removes from it
    CACHE/trainings/states/KEY/STEP/state.json          what belongs to the tensors; its time of change is the last use
    CACHE/trainings/states/KEY/STEP/tensors.safetensors
    CACHE/trainings/damaged/                            what was found not to be what was written
    CACHE/trainings/pins/                               states that runs protect (cache_upkeep.py)

A state is written into a temporary folder and moved into place, under the stage's lock; it is read without the
lock, since a place is either whole or not there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import gib_limit

LIMIT_VARIABLE = "GENTUNE_CACHE_GIB"
_DEFAULT_GIB = 20.0
_DESCRIPTION, _TENSORS, _LOCK = "state.json", "tensors.safetensors", "lock"
_PART = ".part-"  # begins the names of folders that are being written or removed
_FIRST_WAIT, _LONGEST_WAIT = 0.01, 0.25  # seconds between looks at a lock


class DamagedError(Exception):
    """A kept state differs from what was written."""


def cache_limit() -> int:
    """The most bytes that kept trainings may take: 20 GiB, or what the environment says; 0: nothing is kept.

    Raises UsageError for anything but a number of GiB.
    """
    return gib_limit(LIMIT_VARIABLE, _DEFAULT_GIB, also=", 0 to keep no trainings")


def state_name(key: str, step: int) -> str:
    """How records and pins name a state."""
    return f"{key}-{step}"


class TrainingCache:
    """The kept states under one cache folder."""

    def __init__(self, cache: Path) -> None:
        self.root = cache / "trainings"
        self.states_path = self.root / "states"
        self.damaged_path = self.root / "damaged"
        self.pins_path = self.root / "pins"

    def place(self, key: str, step: int) -> Path:
        """The folder of a state, whether or not it is there."""
        return self.states_path / key / f"{step:09d}"

    def steps(self, key: str) -> list[int]:
        """Steps of a stage's kept states, rising."""
        try:
            return sorted(int(path.name) for path in (self.states_path / key).iterdir() if path.name.isdigit())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, key: str, step: int) -> tuple[dict[str, Any], bytes] | None:
        """Description and tensors of a state, which counts as a use; None where it is not there, or damaged.

        A damaged one is set aside.
        """
        place = self.place(key, step)
        try:
            description = describe(place)
            if (description["key"], description["step"]) != (key, step):
                raise DamagedError("it is the state of another training")
            with suppress(OSError):  # a cache that may only be read
                os.utime(place / _DESCRIPTION)
            tensors = (place / _TENSORS).read_bytes()
            if hashlib.sha256(tensors).hexdigest() != description["tensors"]:
                raise DamagedError("its tensors are not those that were written")
            return description, tensors
        except FileNotFoundError as error:
            if place.is_dir():
                self.set_aside(key, step, f"{Path(error.filename).name} is missing")
        except DamagedError as error:
            self.set_aside(key, step, str(error))
        return None

    def write(self, key: str, step: int, description: Mapping[str, Any], tensors: bytes) -> None:
        """Writes a state, under the stage's lock. Where there is one already, it stays."""
        place = self.place(key, step)
        part = place.with_name(f"{_PART}{step}-{secrets.token_hex(4)}")
        part.mkdir(parents=True)
        try:
            _write(part / _TENSORS, tensors)
            content = {**description, "key": key, "step": step, "bytes": len(tensors)}
            content["tensors"] = hashlib.sha256(tensors).hexdigest()
            _write(part / _DESCRIPTION, json.dumps({**content, "content": _content_hash(content)}).encode())
            _flush_folder(part)
            try:
                part.rename(place)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # it is there already
                    raise
            _flush_folder(place.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def remove(self, key: str, step: int) -> None:
        """Removes a state, under the stage's lock: first from sight, then from the disk."""
        place = self.place(key, step)
        part = place.with_name(f"{_PART}{step}-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            place.rename(part)
            shutil.rmtree(part)

    def set_aside(self, key: str, step: int, reason: str) -> None:
        """Moves a damaged state out of the way and says so."""
        aside = self.damaged_path / f"{state_name(key, step)}-{secrets.token_hex(4)}"
        try:
            self.damaged_path.mkdir(parents=True, exist_ok=True)
            self.place(key, step).rename(aside)
        except FileNotFoundError:  # another process was first
            return
        except OSError as error:  # it stays, and is never used
            say(f"a kept training is damaged ({reason}) and cannot be set aside: {error}")
            return
        say(f"a kept training is damaged ({reason}): set aside as {aside}")

    @contextmanager
    def locked(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Holds a stage's lock, which the kernel releases when the process ends; `waiting` is called until then."""
        pause = _FIRST_WAIT
        while (lock := self.try_lock(key)) is None:
            waiting()
            time.sleep(pause)
            pause = min(_LONGEST_WAIT, 2 * pause)
        try:
            yield
        finally:
            release(lock)

    def try_lock(self, key: str) -> int | None:
        """A stage's lock as a file descriptor for `release`; None while another holds it."""
        path = self.states_path / key / _LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder was tidied away just now
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_ino == path.stat().st_ino:
                return lock
        except (BlockingIOError, FileNotFoundError):  # held, or the file was tidied away before it was locked
            pass
        os.close(lock)
        return None

    def tidy(self, key: str) -> None:
        """Removes what a dead process left half done, and the folder if nothing else is in it; under the lock."""
        folder = self.states_path / key
        rest = []
        for path in folder.iterdir():
            if path.name.startswith(_PART):
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                rest.append(path)
        if not rest:
            (folder / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # another process has begun to use it
                folder.rmdir()


def describe(place: Path) -> dict[str, Any]:
    """A state's description. Raises DamagedError where it differs from what was written."""
    text = (place / _DESCRIPTION).read_bytes()
    try:
        content = json.loads(text)
        written = content.pop("content")
    except (ValueError, KeyError, AttributeError) as error:
        raise DamagedError(f"{_DESCRIPTION} cannot be read") from error
    if written != _content_hash(content):
        raise DamagedError(f"{_DESCRIPTION} differs from what was written")
    return content


def last_use(place: Path) -> float:
    """When a state was last read or written, in seconds since the epoch."""
    return (place / _DESCRIPTION).stat().st_mtime


def release(lock: int) -> None:
    """Releases a lock of `try_lock`."""
    fcntl.flock(lock, fcntl.LOCK_UN)  # before closing: a child process may have inherited the descriptor
    os.close(lock)


def say(line: str) -> None:
    """A line on standard error, which workers share with their driver."""
    print(f"gentune: note: {line}", file=sys.stderr, flush=True)


def _content_hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
