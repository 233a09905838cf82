"""Where jobs run: devices, worker processes, their deaths and their driver's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gentune.bench import registry
from gentune.bench.data import DataRef
from gentune.bench.errors import UsageError
from gentune.bench.scheduling import Died, Done, LocalPool, place
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


def test_a_worker_does_jobs_and_its_death_is_noticed(own_cache: Path) -> None:
    pool = LocalPool(["cpu"])
    try:
        job = EvaluatorJob(DataRef("two_moons"), "raw", str(own_cache))
        pool.submit(1, job)
        assert pool.free == 0
        assert pool.wait(60) == [Done(1, None)]
        pool.submit(2, EvaluatorJob(DataRef("no such data"), "raw", str(own_cache)))
        (event,) = pool.wait(60)
        assert isinstance(event, Died)
        assert "unknown data set 'no such data'" in event.reason
        os.kill(pool._workers[0]._process.pid, signal.SIGKILL)
        pool.submit(3, job)
        assert pool.wait(60) == [Died(3, "worker ended by signal SIGKILL")]
        pool.submit(4, job)  # the pool has a new worker
        assert pool.wait(60) == [Done(4, None)]
    finally:
        pool.close()


def test_a_worker_trains_the_family_that_is_in_the_job(
    tmp_path: Path, own_cache: Path, tiny_plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has the plug-in's class, and the card as the driver changed it."""
    monkeypatch.setenv("TINY_SAMPLES", "100")
    registry.load_plugin(tiny_plugin)
    family = registry.family("tiny").resolved([tiny_plugin])
    assert family.local is None
    changed = replace(family, card=replace(family.card, steps={"vector": 7}))
    job = TrialJob(
        str(tmp_path), "trial", changed, 0, 1, "validation", DataRef("two_moons"), {}, ("nll",), cache=str(own_cache)
    )
    pool = LocalPool(["cpu"], [str(tiny_plugin)])
    try:
        pool.submit(1, job)
        events = [pool.wait(60)[0]]
        while not isinstance(events[-1], Done):
            events += pool.wait(60)
    finally:
        pool.close()
    record = events[-1].record
    assert record is not None
    assert (record.state, record.reason) == ("complete", None)
    assert record.training.endswith("-7")


def test_workers_end_with_their_driver() -> None:
    code = (
        "import os; from gentune.bench.scheduling import LocalPool\n"
        "print(LocalPool(['cpu'])._workers[0]._process.pid, flush=True); os._exit(9)"
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
