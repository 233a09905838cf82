"""One job at a time, in this process: for tests, debuggers, and families that exist only here."""

from __future__ import annotations

from dataclasses import replace

from ..trial.execution import run_job
from ..trial.jobs import Job
from .base import Done, Event


class InProcessPool:
    """Runs a submitted job when it is waited for."""

    size = 1

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._waiting: tuple[int, Job] | None = None

    @property
    def free(self) -> int:
        return 0 if self._waiting else 1

    def submit(self, ticket: int, job: Job) -> None:
        assert self._waiting is None, "the pool is full"
        self._waiting = (ticket, replace(job, device=self._device))

    def wait(self, timeout: float | None = None) -> list[Event]:
        if self._waiting is None:
            return []
        ticket, job = self._waiting
        try:
            return [Done(ticket, run_job(job))]
        finally:
            self._waiting = None

    def close(self) -> None:
        self._waiting = None
