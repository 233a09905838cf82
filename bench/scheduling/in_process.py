"""One job at a time, in this process: for tests, debuggers, and families that exist only here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from ..errors import UsageError
from ..runs.spool import Delivery, deliveries, remove
from ..trial.execution import run_job
from ..trial.jobs import Job
from .base import Cancelled, Done, Event, ExecutorSettings


def start(settings: ExecutorSettings) -> InProcessExecutor:
    """The executor for a run, on the CPU. Raises UsageError for other devices."""
    if settings.devices not in (("auto",), ("cpu",)):
        raise UsageError(f"jobs in the driver's own process run on the CPU; got devices {','.join(settings.devices)}")
    return InProcessExecutor(settings)


class InProcessExecutor:
    """Runs a submitted job when it is waited for."""

    size = 1

    def __init__(self, settings: ExecutorSettings, device: str = "cpu") -> None:
        self._settings, self._device = settings, device
        self._waiting: tuple[int, Job] | None = None
        self._events: list[Event] = []

    @property
    def free(self) -> int:
        return 0 if self._waiting else 1

    def submit(self, ticket: int, job: Job) -> None:
        assert self._waiting is None, "the executor is full"
        self._waiting = (ticket, replace(job, device=self._device))

    def wait(self, timeout: float | None = None) -> list[Event]:
        events, self._events = self._events, []
        if self._waiting is None:
            return events
        ticket, job = self._waiting
        try:
            with self._output():
                return [*events, Done(ticket, run_job(job, self._settings.spool))]
        finally:
            self._waiting = None

    @contextlib.contextmanager
    def _output(self) -> Iterator[None]:
        """What the block prints goes to the run's log, if it has one."""
        if self._settings.log is None:
            yield
            return
        with self._settings.log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            yield

    def cancel(self, ticket: int) -> None:
        if self._waiting is not None and self._waiting[0] == ticket:
            self._waiting = None
            self._events.append(Cancelled(ticket))

    def left_over(self) -> list[Delivery]:
        return deliveries(self._settings.spool, self._settings.say)

    def acknowledge(self, delivery: Delivery) -> None:
        remove(delivery.folder)

    def close(self) -> None:
        self._waiting = None
