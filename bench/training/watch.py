"""The clock of a training: seconds, deadline, progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .state import PlannedStage, TrainingRun

_TELL_EVERY = 10  # steps between reports of progress


class DeadlineError(RuntimeError):
    """The measured budget ran out in the middle of a training."""


class Watch:
    """Counts the seconds of a training into `run`, enforces its deadline, and reports its progress.

    deadline: a `time.monotonic()` moment. What lies between now and then is an allowance of training seconds, of
        which parts that were kept take what they took when they were trained, and waiting takes nothing.
    """

    def __init__(
        self,
        run: TrainingRun,
        planned: Sequence[PlannedStage],
        deadline: float | None,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        self._run, self._planned = run, planned
        self._deadline = deadline
        self._allowance = None if deadline is None else deadline - time.monotonic()
        self._on_progress = on_progress
        self._index = 0
        self._done = 0.0
        self._since: float | None = None

    def enter(self, index: int) -> None:
        """A stage begins."""
        self._index = index
        self._done = sum(p.stage.share for p in self._planned[:index] if p.stage.phases)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what runs inside as training, whether or not it fails."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - self._since
            self._since = None
            self._run.seconds += seconds
            self._run.seconds_now += seconds

    def check(self, step: int) -> None:
        """At a step of a stage with phases. Raises DeadlineError when the training has taken too long."""
        part = self._planned[self._index]
        if not part.stage.phases:
            return
        spent = self._run.seconds + (0.0 if self._since is None else time.perf_counter() - self._since)
        if self._allowance is not None and spent > self._allowance:
            raise DeadlineError(f"the budget ended at step {step} of {part.horizon} of stage {part.stage.name}")
        if step % _TELL_EVERY == 0:
            self._tell(self._done + part.stage.share * step / part.until)

    def waiting(self) -> None:
        """While another process trains the same. Raises DeadlineError past the deadline."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            stage = self._planned[self._index].stage.name
            raise DeadlineError(f"the budget ended while another process trained stage {stage}")
        self._tell(self._done)

    def _tell(self, share: float) -> None:
        if self._on_progress is not None:
            self._on_progress(share)
