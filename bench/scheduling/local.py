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
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from ..runs.spool import DamagedDeliveryError, Delivery, deliveries, read_delivery, remove
from ..trial.jobs import EvaluatorJob, Job
from .base import Cancelled, Died, Done, Event, ExecutorSettings, Progressed, place

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_GRACE = 3.0  # seconds between asking a worker to end and ending it


def start(settings: ExecutorSettings) -> LocalExecutor:
    """The executor for a run: a worker for each device, or as many as the study says."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = place(settings.devices, settings.workers, cuda_devices=torch.cuda.device_count(), cores=cores)
    return LocalExecutor(devices, settings)


class LocalExecutor:
    """Worker processes on this machine.

    devices: one worker for each. settings: of the run.
    """

    def __init__(self, devices: Sequence[str], settings: ExecutorSettings) -> None:
        self._settings = settings
        self._workers = [_Worker(device, settings) for device in devices]
        self._events: list[Event] = []  # that no pipe tells of

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
        events, self._events = self._events, []
        busy = {w.connection: w for w in self._workers if w.ticket is not None}
        for connection in wait(list(busy), 0.0 if events else timeout):
            assert isinstance(connection, Connection)
            events.append(busy[connection].receive())
        return events

    def cancel(self, ticket: int) -> None:
        for worker in self._workers:
            if worker.ticket == ticket:
                self._events.append(worker.cancel())

    def left_over(self) -> list[Delivery]:
        return deliveries(self._settings.spool, self._settings.say)

    def acknowledge(self, delivery: Delivery) -> None:
        remove(delivery.folder)

    def close(self) -> None:
        for worker in self._workers:
            worker.end()


class _Worker:
    def __init__(self, device: str, settings: ExecutorSettings) -> None:
        self.device = device
        self.ticket: int | None = None
        self._job: Job | None = None
        self._settings = settings
        self._spawn()

    def start(self, ticket: int, job: Job) -> None:
        self.ticket, self._job = ticket, job
        with contextlib.suppress(BrokenPipeError):  # it died while idle: `receive` finds the pipe's end and says so
            self.connection.send(replace(job, device=self.device))

    def receive(self) -> Event:
        """Receives messages of a busy worker."""
        assert self.ticket is not None
        try:
            kind, content = self.connection.recv()
        except (EOFError, ConnectionResetError):
            reason = self._how_it_ended()
            self._spawn()
            return self._ended(lambda ticket: Died(ticket, reason))
        if kind == "progress":
            return Progressed(self.ticket, content)
        if kind == "part":
            return Progressed(self.ticket, 0.0, content)
        ticket, self.ticket = self.ticket, None
        return Died(ticket, content) if kind == "error" else Done(ticket, content)

    def cancel(self) -> Event:
        """Ends the process with its job, and starts another."""
        self.end()
        self._spawn()
        return self._ended(Cancelled)

    def end(self) -> None:
        self.connection.close()
        self._process.terminate()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ended(self, otherwise: Callable[[int], Event]) -> Event:
        """The fate of the job of a dead process, which may have finished it without a message."""
        assert self.ticket is not None
        ticket, self.ticket = self.ticket, None
        folder = None if isinstance(self._job, EvaluatorJob | None) else self._settings.spool / self._job.name
        if folder is None or not folder.is_dir():
            return otherwise(ticket)
        try:
            return Done(ticket, read_delivery(folder))
        except DamagedDeliveryError:
            remove(folder)
            return otherwise(ticket)

    def _spawn(self) -> None:
        self.connection, theirs = Pipe()
        environment = os.environ | dict.fromkeys(_ONE_THREAD, "1")
        with self._output() as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gentune.bench.scheduling.worker", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )
        theirs.close()
        self.connection.send((self._settings.plugins, str(self._settings.spool)))

    def _output(self) -> contextlib.AbstractContextManager[Any]:
        """Where a process writes what it prints: never this program's standard output."""
        if self._settings.log is not None:
            return self._settings.log.open("ab")
        return contextlib.nullcontext(sys.stderr.fileno() if _has_file(sys.stderr) else subprocess.DEVNULL)

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self.connection.close()
        log = f" ({self._settings.log} may say why)" if self._settings.log is not None else ""
        if code >= 0:
            return f"worker ended with exit code {code}{log}"
        return f"worker ended by signal {signal.Signals(-code).name}{log}"


def _has_file(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
    return True
