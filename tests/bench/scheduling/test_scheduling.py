"""Where jobs run: devices, worker processes, their deaths and their driver's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gentune.bench import protocol, registry
from gentune.bench.data import DataRef
from gentune.bench.errors import UsageError
from gentune.bench.runs.spool import read_delivery
from gentune.bench.scheduling import Cancelled, Died, Done, Executor, ExecutorSettings, Progressed, place
from gentune.bench.scheduling.base import Event
from gentune.bench.scheduling.local import LocalExecutor
from gentune.bench.trial.jobs import EvaluatorJob, TrialJob


@pytest.mark.parametrize(
    ("devices", "workers", "cuda", "expected"),
    [
        (["auto"], None, 0, ["cpu"] * 4),
        (["auto"], None, 2, ["cuda:0", "cuda:1"]),
        (["auto"], 3, 2, ["cuda:0", "cuda:1", "cuda:0"]),
        (["auto"], 1, 0, ["cpu"]),
        (["cpu"], None, 2, ["cpu"] * 4),
        (["cuda:1"], 2, 2, ["cuda:1", "cuda:1"]),
        (["cuda:0", "cpu"], None, 1, ["cuda:0", "cpu"]),
    ],
)
def test_workers_are_placed_on_devices(devices: list[str], workers: int | None, cuda: int, expected: list[str]) -> None:
    assert place(devices, workers, cuda_devices=cuda, cores=4) == expected


@pytest.mark.parametrize(
    ("device", "said"), [("cuda:2", "'cuda:2' is not there"), ("gpu", "unknown device"), ("cpu:1", "unknown device")]
)
def test_devices_that_are_not_there_are_refused(device: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        place([device], None, cuda_devices=2, cores=4)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExecutorSettings]:
    plugin = str(Path(__file__).parents[2] / "plugins" / "tiny.py")
    registry.load_plugin(plugin)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINY_SAMPLES", "100")
        for name in ("SAMPLES", "MOST_FINAL_SAMPLES"):
            patch.setattr(protocol, name, getattr(protocol, name))
        yield ExecutorSettings(tmp_path_factory.mktemp("spool"), (plugin,), say=lambda line: None)


@pytest.fixture(scope="module")
def workers(settings: ExecutorSettings) -> Iterator[LocalExecutor]:
    """One worker, shared by tests: it takes seconds to start."""
    executor = LocalExecutor(["cpu"], settings)
    yield executor
    executor.close()


def tiny_job(cache: Path, settings: ExecutorSettings, number: int = 0, steps: int = 7) -> TrialJob:
    family = registry.family("tiny").resolved(settings.plugins)
    assert family.local is None
    family = replace(family, card=replace(family.card, steps={"vector": steps}))
    return TrialJob("trial", family, number, 1, "validation", DataRef("two_moons"), {}, ("nll",), cache=str(cache))


def end_of(executor: Executor, ticket: int) -> Event:
    """The event with which a job ends."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for event in executor.wait(1.0):
            if event.ticket == ticket and not isinstance(event, Progressed):
                return event
    raise AssertionError("the job does not end")


@pytest.mark.slow
def test_a_worker_does_jobs_and_its_death_is_noticed(workers: LocalExecutor, own_cache: Path) -> None:
    job = EvaluatorJob(DataRef("two_moons"), "raw", str(own_cache))
    workers.submit(1, job)
    assert workers.free == 0
    assert end_of(workers, 1) == Done(1, None)
    workers.submit(2, EvaluatorJob(DataRef("no such data"), "raw", str(own_cache)))
    event = end_of(workers, 2)
    assert isinstance(event, Died)
    assert "unknown data set 'no such data'" in event.reason
    os.kill(workers._workers[0]._process.pid, signal.SIGKILL)
    workers.submit(3, job)
    assert end_of(workers, 3) == Died(3, "worker ended by signal SIGKILL")
    workers.submit(4, job)  # there is a new worker
    assert end_of(workers, 4) == Done(4, None)


def test_a_worker_trains_the_family_that_is_in_the_job(
    workers: LocalExecutor, settings: ExecutorSettings, own_cache: Path
) -> None:
    """The worker has the plug-in's class, and the card as the driver changed it; it hands over what the trial left."""
    workers.submit(5, tiny_job(own_cache, settings))
    event = end_of(workers, 5)
    assert isinstance(event, Done) and event.delivery is not None
    record = event.delivery.record
    assert (record.state, record.reason) == ("complete", None)
    assert record.training.endswith("-7")
    assert read_delivery(event.delivery.folder) == event.delivery
    assert (event.delivery.folder / "artifacts" / "trials" / record.name / "history.jsonl").is_file()
    assert workers.left_over() == [event.delivery]
    workers.acknowledge(event.delivery)
    assert workers.left_over() == []


def test_what_a_worker_finished_before_its_death_is_done(
    workers: LocalExecutor, settings: ExecutorSettings, own_cache: Path
) -> None:
    job = tiny_job(own_cache, settings, number=3)
    workers.submit(6, job)
    deadline = time.monotonic() + 120
    while not (settings.spool / job.name).is_dir():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(workers._workers[0]._process.pid, signal.SIGKILL)
    event = end_of(workers, 6)
    assert isinstance(event, Done) and event.delivery is not None
    assert event.delivery.record.number == 3
    workers.acknowledge(event.delivery)


@pytest.mark.slow
def test_a_cancelled_job_is_ended_and_its_worker_replaced(
    workers: LocalExecutor, settings: ExecutorSettings, own_cache: Path
) -> None:
    workers.submit(7, tiny_job(own_cache, settings, number=4, steps=10_000_000))
    before = workers._workers[0]._process.pid
    workers.cancel(7)
    assert end_of(workers, 7) == Cancelled(7)
    assert not _runs(before)
    assert workers.free == workers.size == 1
    assert workers.left_over() == []


def test_workers_end_with_their_driver() -> None:
    code = (
        "import os; from pathlib import Path; from gentune.bench.scheduling import ExecutorSettings\n"
        "from gentune.bench.scheduling.local import LocalExecutor\n"
        "executor = LocalExecutor(['cpu'], ExecutorSettings(Path('spool')))\n"
        "print(executor._workers[0]._process.pid, flush=True); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    worker = int(done.stdout)
    deadline = time.monotonic() + 30
    while _runs(worker):
        assert time.monotonic() < deadline, "the worker has outlived its driver"
        time.sleep(0.1)


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
