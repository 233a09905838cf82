"""What workers have finished reaches the run folder, whatever becomes of the driver; plug-ins in whole runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gentune
from gentune.bench import protocol, registry
from gentune.bench.driver.comparison import ComparisonDriver
from gentune.bench.driver.run_setup import describe
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.spool import Delivery, adopt
from gentune.bench.scheduling.in_process import InProcessExecutor

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept, so that a trial that is done again is trained again; few samples."""
    monkeypatch.setenv("GENTUNE_CACHE_GIB", "0")
    monkeypatch.setenv("TINY_SAMPLES", "100")
    monkeypatch.setattr(protocol, "SAMPLES", 100)
    monkeypatch.setattr(protocol, "MOST_FINAL_SAMPLES", 200)


def begin(path: Path, plugin: str, **options: Any) -> RunFolder:
    registry.load_plugin(PLUGINS / plugin)
    known: dict[str, Any] = {
        "data": "two_moons",
        "families": ["staged"],
        "plugins": [str(PLUGINS / plugin)],
        "objective": ["mmd"],
        "trainings": 1,
        "seeds": 1,
        "choice_seeds": 0,
        "workers": 1,
    }
    return RunFolder.create_or_match(path, describe(None, known | options))


def test_what_was_finished_is_adopted_when_a_run_is_resumed(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver ends between a worker's last word and the adoption: the trial is not started again."""
    folder = begin(tmp_path / "run", "staged.py", executor="in_process")

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    def adopt_no_trial(delivery: Delivery, into: RunFolder) -> None:
        if delivery.name.startswith("trial"):  # the floor, which limits trials' figures, comes before
            end()
        adopt(delivery, into)

    with monkeypatch.context() as patch:
        patch.setattr("gentune.bench.driver.dispatch.adopt", adopt_no_trial)
        with pytest.raises(KeyboardInterrupt):
            ComparisonDriver(folder).run()
    assert folder.records("trial") == []
    (left,) = (own_cache / "spool" / folder.read_json("comparison.json")["run"]).iterdir()
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(InProcessExecutor, "submit", end)  # before anything is trained
        with pytest.raises(KeyboardInterrupt):
            ComparisonDriver(folder, say=said.append).run()
    (record,) = folder.records("trial")
    assert record.name == left.name
    assert record.attempts == 1
    assert folder.artifact("trials", record.name, "history.jsonl").is_file()
    assert [line for line in said if "previous driver" in line] == [
        f"{left.name}: finished by a worker of the previous driver"
    ]
    assert not left.exists()


@pytest.mark.slow
def test_what_is_written_already_is_dropped(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver ends between the adoption and its acknowledgement."""
    folder = begin(tmp_path / "run", "staged.py", executor="in_process")

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(InProcessExecutor, "acknowledge", end)
        with pytest.raises(KeyboardInterrupt):
            ComparisonDriver(folder).run()
    (record,) = folder.records()
    said: list[str] = []
    ComparisonDriver(folder, say=said.append).run()
    assert said[0] == f"{record.name}: already written; a second copy that a worker left was removed"
    assert record in folder.records()
    assert not (own_cache / "spool" / folder.read_json("comparison.json")["run"]).exists()


@pytest.mark.slow
def test_a_finished_trial_outlives_a_killed_driver(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real workers: the driver is stopped, its worker finishes a trial, and the driver is killed."""
    monkeypatch.setenv("STAGED_PAUSE", "0.05")
    command = [sys.executable, "-m", "gentune.bench", "compare", "--data", "two_moons", "--families", "staged"]
    command += ["--plugin", str(PLUGINS / "staged.py"), "--objective", "mmd", "--trainings", "1"]
    command += ["--seeds", "1", "--choice-seeds", "1", "--final-samples", "200"]
    command += ["--workers", "1", "--quiet", "--out", str(tmp_path / "run")]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def until(happened: Any) -> None:
        deadline = time.monotonic() + 180
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    events = tmp_path / "run" / "log" / "events.jsonl"
    until(lambda: events.exists() and '"TrialJob"' in events.read_text())
    time.sleep(1.0)  # the worker has the job, which takes it some seconds
    os.kill(driver.pid, signal.SIGSTOP)
    spool = own_cache / "spool" / RunFolder(tmp_path / "run").read_json("comparison.json")["run"]
    until(lambda: any(not path.name.startswith(".") for path in spool.glob("*")))
    (left,) = (path for path in spool.iterdir() if not path.name.startswith("."))
    driver.kill()
    driver.wait()
    assert RunFolder(tmp_path / "run").records("trial") == []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (trial,) = RunFolder(tmp_path / "run").records("trial")
    assert trial.name == left.name
    entries = [json.loads(line) for line in events.read_text().splitlines()]
    started = [e for e in entries if e["event"] == "start" and e.get("role") == "trial"]
    assert len(started) == 1


@pytest.mark.slow
def test_a_data_set_and_a_family_are_added_from_one_new_file(tmp_path: Path) -> None:
    """Through real workers: the evaluator's too must know the plug-in's data."""
    plugin = PLUGINS / "newcomer_data.py"
    run = gentune.compare(
        data="line",
        families=["centre"],
        plugins=[str(plugin)],
        trainings=1,
        seeds=1,
        choice_seeds=1,
        workers=2,
        out=tmp_path / "run",
    )
    rows = run.leaderboard["rows"]
    assert [row["family"] for row in rows] == ["centre"]
    assert rows[0]["failed"] == 0
    assert run.folder.records("trial")[0].state == "complete"
    assert not registry.family("centre").resolved([str(plugin)]).local
