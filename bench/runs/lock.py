"""A run's lock: one driver a run, and a dead driver recognised at once on the same host."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import UsageError
from ..files import write_atomically


class RunLock:
    """Held by the driver of a run: a file that names host, process, its start time and the boot.

    Process ids are used again; with the start time and the boot they are not.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"

    def __enter__(self) -> RunLock:
        # The folder itself is locked while the file is looked at, so that two drivers never both take over.
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            owner = self.owner()
            if owner is not None and _is_alive(owner):
                raise UsageError(
                    f"{self.path.parent} is in use by process {owner.get('process')} on {owner.get('host')}"
                )
            write_atomically(self.path, json.dumps(_identity(os.getpid())))
        finally:
            os.close(folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)

    def owner(self) -> dict[str, Any] | None:
        """What the lock file says of its owner; None where there is no lock."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    @property
    def held(self) -> bool:
        """Whether a living driver holds this run."""
        owner = self.owner()
        return owner is not None and _is_alive(owner)


def _identity(process: int) -> dict[str, Any]:
    return {"host": socket.gethostname(), "process": process, "start": _start_time(process), "boot": _boot()}


def _is_alive(owner: dict[str, Any]) -> bool:
    """Whether the owner still runs; owners on other hosts are taken to."""
    if owner.get("host") != socket.gethostname():
        return True
    process = owner.get("process")
    if owner.get("boot") != _boot() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, under another user
    return owner.get("start") == _start_time(process)


def _start_time(process: int) -> str | None:
    """Start of a process in clock ticks since the boot (field 22 of proc's stat); None without /proc."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return stat.rsplit(")", 1)[1].split()[19]


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
