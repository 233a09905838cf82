"""What every executor keeps to. Derive a class whose name begins with `Test` and say how the executor is started."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from gentune.bench import registry
from gentune.bench.data import DataRef
from gentune.bench.evaluators import default_cache
from gentune.bench.runs.spool import read_delivery
from gentune.bench.scheduling import Cancelled, Died, Done, Executor, ExecutorSettings, Progressed
from gentune.bench.scheduling.base import Event
from gentune.bench.trial.jobs import EvaluatorJob, TrialJob

_PATIENCE = 300.0  # seconds for a small job, the start of its worker included


class ExecutorContract:
    """Small jobs through an executor, which all tests of the class share.

    runs_while_away: whether jobs run between calls of `wait`; a running job can then be ended in its middle.
    """

    runs_while_away: ClassVar[bool] = True

    def start(self, settings: ExecutorSettings) -> Executor:
        """The executor, with as many workers as `settings` says."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def spool(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("spool")

    @pytest.fixture(scope="class")
    def executor(self, spool: Path) -> Iterator[Executor]:
        executor = type(self)().start(ExecutorSettings(spool, say=lambda line: None))
        yield executor
        executor.close()

    def test_records_and_artifacts_are_handed_over_until_they_are_acknowledged(self, executor: Executor) -> None:
        assert executor.left_over() == []
        assert executor.free == executor.size >= 1
        job = _trial(1)
        executor.submit(1, job)
        assert executor.free == executor.size - 1
        event = _end_of(executor, 1)
        assert executor.free == executor.size
        assert isinstance(event, Done) and event.delivery is not None
        assert event.delivery.name == job.name == event.delivery.record.name
        assert event.delivery.record.state == "complete"
        assert read_delivery(event.delivery.folder) == event.delivery
        assert (event.delivery.folder / "artifacts" / "trials" / job.name / "history.jsonl").is_file()
        assert executor.left_over() == [event.delivery]
        executor.acknowledge(event.delivery)
        assert executor.left_over() == []

    def test_an_evaluator_leaves_nothing(self, executor: Executor) -> None:
        executor.submit(2, EvaluatorJob(DataRef("two_moons"), "raw", str(default_cache())))
        assert _end_of(executor, 2) == Done(2, None)

    def test_a_job_that_cannot_be_done_is_told(self, executor: Executor) -> None:
        job = EvaluatorJob(DataRef("no such data"), "raw", str(default_cache()))
        if not self.runs_while_away:
            pytest.skip("what goes wrong in the driver's process is raised there")
        executor.submit(3, job)
        event = _end_of(executor, 3)
        assert isinstance(event, Died) and "no such data" in event.reason
        assert executor.free == executor.size

    def test_a_cancelled_job_ends_and_its_worker_is_free_again(self, executor: Executor, spool: Path) -> None:
        executor.submit(4, _trial(4))
        executor.cancel(4)
        event = _end_of(executor, 4)
        if isinstance(event, Done):  # it was quicker
            assert event.delivery is not None
            executor.acknowledge(event.delivery)
        else:
            assert event == Cancelled(4)
        assert executor.free == executor.size
        assert executor.left_over() == []
        executor.cancel(4)  # what has ended is no more to be cancelled
        assert executor.wait(0.0) == []

    def test_what_was_not_acknowledged_outlives_the_executor(self, tmp_path: Path) -> None:
        settings = ExecutorSettings(tmp_path, say=lambda line: None)
        first = self.start(settings)
        first.submit(1, _trial(5))
        event = _end_of(first, 1)
        first.close()
        second = self.start(settings)
        try:
            assert isinstance(event, Done)
            assert second.left_over() == [event.delivery]
        finally:
            second.close()


def _trial(number: int) -> TrialJob:
    """A trial of the Gaussian, which is fitted in an instant."""
    family = registry.family("gaussian").resolved()
    ref, cache = DataRef("two_moons"), str(default_cache())
    return TrialJob("trial", family, number, number, "validation", ref, {}, ("nll",), cache=cache, lean=True)


def _end_of(executor: Executor, ticket: int) -> Event:
    """The event with which a job ends."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for event in executor.wait(1.0):
            assert event.ticket == ticket
            if not isinstance(event, Progressed):
                return event
            assert 0.0 <= event.share <= 1.0
    raise AssertionError(f"the job has not ended after {_PATIENCE} seconds")
