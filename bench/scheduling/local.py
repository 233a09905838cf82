"""Worker processes on this machine, one thread each, fed through pipes.

A worker is a fresh interpreter (`python -m gentune.bench.scheduling.worker`), so that nothing of the user's
program runs twice and a device's state is its own. A worker ends when its driver does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe, wait

from ..trial.jobs import Job
from .base import Died, Done, Event, Progressed

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_GRACE = 3.0  # seconds between asking a worker to end and ending it


class LocalPool:
    """Worker processes on this machine.

    devices: one worker for each. plugins: files that each worker loads before it is given a job.
    """

    def __init__(self, devices: Sequence[str], plugins: Sequence[str] = ()) -> None:
        self._workers = [_Worker(device, plugins) for device in devices]

    @property
    def size(self) -> int:
        return len(self._workers)

    @property
    def free(self) -> int:
        return sum(worker.ticket is None for worker in self._workers)

    def submit(self, ticket: int, job: Job) -> None:
        worker = next(w for w in self._workers if w.ticket is None)
        worker.start(ticket, job)

    def wait(self, timeout: float | None = None) -> list[Event]:
        busy = {w.connection: w for w in self._workers if w.ticket is not None}
        events: list[Event] = []
        for connection in wait(list(busy), timeout):
            assert isinstance(connection, Connection)
            events.append(busy[connection].receive())
        return events

    def close(self) -> None:
        for worker in self._workers:
            worker.end()


class _Worker:
    def __init__(self, device: str, plugins: Sequence[str]) -> None:
        self.device = device
        self._plugins = tuple(plugins)
        self.ticket: int | None = None
        self._spawn()

    def start(self, ticket: int, job: Job) -> None:
        self.ticket = ticket
        with contextlib.suppress(BrokenPipeError):  # it died while idle: `receive` finds the pipe's end and says so
            self.connection.send(replace(job, device=self.device))

    def receive(self) -> Event:
        assert self.ticket is not None
        try:
            kind, content = self.connection.recv()
        except (EOFError, ConnectionResetError):
            ticket, self.ticket = self.ticket, None
            reason = self._how_it_ended()
            self._spawn()
            return Died(ticket, reason)
        if kind == "progress":
            return Progressed(self.ticket, content)
        ticket, self.ticket = self.ticket, None
        return Died(ticket, content) if kind == "error" else Done(ticket, content)

    def end(self) -> None:
        self.connection.close()
        self._process.terminate()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _spawn(self) -> None:
        self.connection, theirs = Pipe()
        environment = os.environ | dict.fromkeys(_ONE_THREAD, "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gentune.bench.scheduling.worker", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_file(sys.stderr) else subprocess.DEVNULL,
            env=environment,
        )
        theirs.close()
        self.connection.send(self._plugins)

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self.connection.close()
        if code >= 0:
            return f"worker ended with exit code {code}"
        return f"worker ended by signal {signal.Signals(-code).name}"


def _has_file(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
    return True
