"""Dispatches jobs to a pool of workers, retries those whose worker died, and collects the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..budget.kinds import Spent
from ..errors import WorkError
from ..runs.records import TOO_SLOW, Record
from ..runs.run_folder import RunFolder
from ..runs.spool import Delivery, adopt
from ..scheduling import Cancelled, Died, Done, Executor
from ..trial.jobs import Job, TrialJob
from .journal import Journal
from .study import FamilyStudy

ATTEMPTS = 3  # of a job whose worker dies; then the setting is taken to be the cause
# A worker ends a part that hangs at its limit itself, unless the family's code lets nothing through; then it is ended
# from here, after so many seconds more.
_GRACE = 10.0


@dataclass(frozen=True)
class Ticket:
    """A job that is running, and the study that waits for its record, if any does.

    seconds: that it took, once it has ended.
    """

    job: Job
    study: FamilyStudy | None = None
    seconds: float = 0.0


@dataclass
class _Running:
    """A running job, when it began and, where its executor tells, which part it is in and since when."""

    ticket: Ticket
    began: float
    part: str | None = None
    since: float = 0.0
    hung: str | None = None  # why it is being ended


class Dispatcher:
    """Hands jobs to an executor, and writes their results.

    folder: where records and artifacts are written.
    data: what such a record says of the data (`DataSet.as_recorded`).
    say: called with a line of text when a worker dies. clock: seconds, from whenever.
    """

    def __init__(
        self,
        executor: Executor,
        folder: RunFolder,
        journal: Journal,
        data: Mapping[str, Any],
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor, self._folder, self._journal, self._data, self._say = executor, folder, journal, data, say
        self._clock = clock
        self._running: dict[int, _Running] = {}
        self._last = 0

    @property
    def free(self) -> bool:
        """Whether a worker is free."""
        return self._executor.free > 0

    @property
    def busy(self) -> bool:
        """Whether any job is running."""
        return bool(self._running)

    @property
    def running(self) -> list[Job]:
        """The jobs that have not ended."""
        return [running.ticket.job for running in self._running.values()]

    def under_way(self) -> list[tuple[Job, float]]:
        """The jobs that have not ended, with the seconds since they were handed over."""
        return [(running.ticket.job, self._clock() - running.began) for running in self._running.values()]

    def submit(self, job: Job, study: FamilyStudy | None = None) -> None:
        """Starts a job on a free worker."""
        self._submit(Ticket(job, study))

    def wait(self, timeout: float) -> list[tuple[Ticket, Record | None]]:
        """The jobs that have ended since the last call, each with its record; evaluators leave none.

        Waits for something to happen, `timeout` seconds at most. A lost job is started again; a trial that loses its
        worker every time counts as a failure of its setting. Raises WorkError where another job does.
        """
        ended: list[tuple[Ticket, Record | None]] = []
        for event in self._executor.wait(timeout):
            if isinstance(event, Done):
                done = self._running.pop(event.ticket)
                ticket = replace(done.ticket, seconds=self._clock() - done.began)
                self._journal.log("end", ticket.job)
                ended.append((ticket, None if event.delivery is None else self._adopt(event.delivery)))
            elif isinstance(event, Died | Cancelled):
                running = self._running.pop(event.ticket)
                reason = running.hung or ("cancelled" if isinstance(event, Cancelled) else event.reason)
                self._journal.log("lost", running.ticket.job, reason=reason)
                record = self._give_up(running, reason) if running.hung else self._retry(running, reason)
                if record is not None:
                    ended.append((replace(running.ticket, seconds=self._clock() - running.began), record))
            elif event.ticket in self._running:
                running = self._running[event.ticket]
                running.part, running.since = event.part, self._clock()
        self._end_hung()
        return ended

    def _end_hung(self) -> None:
        """Ends the workers whose job stays in one part for longer than its limit."""
        for number, running in self._running.items():
            job = running.ticket.job
            if not isinstance(job, TrialJob) or running.part is None or running.hung:
                continue
            limit = job.limits.of(running.part)
            if self._clock() - running.since > limit + _GRACE:
                running.hung = (
                    f"{TOO_SLOW} nothing was heard for {limit:g} s ({running.part}), and its worker was ended"
                )
                self._executor.cancel(number)

    def adopt_left_over(self) -> None:
        """Writes what workers of an earlier driver have finished; drops what is already written."""
        there = {record.name for record in self._folder.records()}
        for delivery in self._executor.left_over():
            if delivery.record.name in there:
                self._say(f"{delivery.name}: already written; a second copy that a worker left was removed")
                self._executor.acknowledge(delivery)
            else:
                self._adopt(delivery)
                self._say(f"{delivery.name}: finished by a worker of the previous driver")

    def _adopt(self, delivery: Delivery) -> Record:
        """Writes a delivery, and only then acknowledges it."""
        adopt(delivery, self._folder)
        self._executor.acknowledge(delivery)
        return delivery.record

    def _submit(self, ticket: Ticket) -> None:
        self._last += 1
        self._running[self._last] = _Running(ticket, self._clock())
        self._journal.log("start", ticket.job)
        self._executor.submit(self._last, ticket.job)

    def _retry(self, running: _Running, reason: str) -> Record | None:
        """Starts a lost job again; after too many attempts, the record of a failed trial."""
        job = running.ticket.job
        self._say(f"{reason}; attempt {job.attempts} of {ATTEMPTS}")
        if job.attempts < ATTEMPTS:
            self._submit(replace(running.ticket, job=replace(job, attempts=job.attempts + 1)))
            return None
        if not isinstance(job, TrialJob):  # no setting can be blamed for this
            raise WorkError(f"{type(job).__name__} failed {ATTEMPTS} times: {reason}")
        return self._give_up(running, f"{reason}, {ATTEMPTS} times (out of memory?)")

    def _give_up(self, running: _Running, reason: str) -> Record:
        """Writes the record of a trial that has left none; its budget is charged for the time that it ran."""
        job = running.ticket.job
        assert isinstance(job, TrialJob)
        spent = Spent(planned=job.operations, training=self._clock() - running.began)
        record = job.record(reason=reason, cost=job.budget.charge(job.cost, spent), data=dict(self._data))
        self._folder.write_record(record)
        return record
