"""Whole runs on a simulated clock: the time that is told to be left, and the limit of a run's wall time."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gentune.bench import registry
from gentune.bench.budget.pace import Pace
from gentune.bench.commands.cli import main
from gentune.bench.data import open_data
from gentune.bench.driver.comparison import ComparisonDriver
from gentune.bench.driver.outlook import Outlook, costs_of_families
from gentune.bench.driver.run_setup import describe
from gentune.bench.runs.looks import read_looks
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.spool import Delivery, Outbox, remove
from gentune.bench.runs.status import read_status
from gentune.bench.runs.study_options import read_options
from gentune.bench.scheduling import Done
from gentune.bench.scheduling.base import Event
from gentune.bench.trial.jobs import EvaluatorJob, FloorJob, Job, TrialJob

TRIAL_SAMPLES = 200
PACE = Pace(training=10.0, longest=0.1, sample=0.001)


class Simulated:
    """Workers whose jobs take no time but on a clock of their own, and three times as long to train as was measured."""

    unit = 1.0  # operations of a full training of the default setting

    def __init__(self, spool: Path, size: int) -> None:
        self.now, self.size, self._spool, self._ends = 0.0, size, spool, dict[int, tuple[float, Job]]()
        self._luck = random.Random(0)

    @property
    def free(self) -> int:
        return self.size - len(self._ends)

    def submit(self, ticket: int, job: Job) -> None:
        self._ends[ticket] = (self.now + sum(self._seconds(job).values()), job)

    def wait(self, timeout: float | None = None) -> list[Event]:
        if not self._ends:
            return []
        ticket = min(self._ends, key=lambda number: self._ends[number][0])
        if timeout is not None and self._ends[ticket][0] > self.now + timeout:
            self.now += timeout
            return []
        self.now, job = self._ends.pop(ticket)
        if isinstance(job, EvaluatorJob):
            return [Done(ticket, None)]
        outbox = Outbox(self._spool, job.name)
        outbox.write_record(self._record(job))
        return [Done(ticket, outbox.close())]

    def _seconds(self, job: Job) -> dict[str, float]:
        if not isinstance(job, TrialJob):
            return {"measure": 2.0}
        luck = random.Random(job.name).uniform(0.8, 1.2)
        training = 30.0 * luck * job.operations.get("train", self.unit) / self.unit if job.role != "reference" else 0.1
        samples = job.samples or TRIAL_SAMPLES
        return {"train": training, "sample": 0.003 * samples, "measure": 0.0045 * samples}

    def _record(self, job: TrialJob | FloorJob) -> Record:
        value = self._luck.uniform(0.1, 0.2)
        done: dict[str, Any] = {"state": "complete", "metrics": {"mmd": {"value": value, "low": None, "high": None}}}
        done["samples"] = job.samples or TRIAL_SAMPLES
        if isinstance(job, FloorJob):
            return Record("reference", "floor", 0, 0, job.split, params={}, **done)
        return job.record(objectives=(value,), errors=(0.01,), seconds=self._seconds(job), **done)

    def cancel(self, ticket: int) -> None:
        raise AssertionError("nothing hangs")

    def left_over(self) -> list[Delivery]:
        return []

    def acknowledge(self, delivery: Delivery) -> None:
        remove(delivery.folder)

    def close(self) -> None:
        """There is nothing to end."""


class Run(ComparisonDriver):
    """A comparison by simulated workers. told: at moments, the seconds that were said to be left."""

    def __init__(self, folder: RunFolder, *, workers: int = 1, **changes: Any) -> None:
        self.workers = Simulated(folder.path / "spool", workers)
        self.told: list[tuple[float, float]] = []
        self.said: list[str] = []
        config = folder.study.model_copy(update=read_options(changes, "", Path()))
        costs = costs_of_families(config, open_data(config.data))
        self.workers.unit = costs["tiny"].default.train
        outlook = Outlook(costs, dict.fromkeys(config.families, PACE))
        super().__init__(
            folder, config, outlook=outlook, say=self.said.append, on_update=self._note, clock=lambda: self.workers.now
        )

    def _executor(self) -> Any:
        return self.workers

    def _note(self) -> None:
        told = self.folder.read_json("progress.json")
        if told is not None and told["seconds_left"] not in [left for _, left in self.told[-1:]]:
            self.told.append((self.workers.now, told["seconds_left"]))


@pytest.fixture
def begin(tmp_path: Path, tiny_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunFolder]:
    registry.load_plugin(tiny_plugin)
    monkeypatch.setattr("gentune.bench.protocol.SAMPLES", TRIAL_SAMPLES)
    monkeypatch.setattr("gentune.bench.protocol.MOST_FINAL_SAMPLES", 2_000)

    def make(**options: Any) -> RunFolder:
        given = {"data": "two_moons", "families": ["tiny"], "plugins": [str(tiny_plugin)], "constraints": []}
        return RunFolder.create_or_match(tmp_path / "run", describe(None, given | options))

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "options"), [(1, {}), (2, {"repeats": 2, "choice_seeds": 1})])
def test_the_time_left_is_within_a_factor_of_1_5_from_a_fifth_of_the_run_on(
    begin: Callable[..., RunFolder], workers: int, options: dict[str, Any]
) -> None:
    run = Run(begin(trainings=6, seeds=3, **options), workers=workers)
    run.run()
    assert run.folder.read_json("comparison.json")["state"] == "finished"
    end = run.workers.now
    # The last jobs are told apart from nothing: a tenth of a job more or less is no factor.
    from_a_fifth = [(end - now, left) for now, left in run.told if now >= 0.2 * end and end - now > 15.0]
    assert len(from_a_fifth) > 10
    wrong = [(truth, left) for truth, left in from_a_fifth if not truth / 1.5 <= left <= truth * 1.5]
    assert not wrong
    assert any("plan: tiny trains tuning" in line for line in run.said)


def test_a_limit_ends_tuning_in_time_for_the_finals_and_may_be_raised(begin: Callable[..., RunFolder]) -> None:
    folder = begin(trainings=6, seeds=2, choice_seeds=1, max_hours=420 / 3_600)
    run = Run(folder)
    run.run()
    assert folder.read_json("comparison.json")["state"] == read_status(folder).state == "time limit"
    assert run.workers.now <= 420 + 1
    trials, finals = folder.records("trial"), folder.records("final", "default")
    assert 1 <= len(trials) < 5
    assert {r.number for r in finals} == {0, 1}, "all retrainings fitted"
    assert sum("no time is left for more trials" in line for line in run.said) == 1

    again = Run(folder)
    again.run()
    assert folder.records("trial", "final", "default") == sorted([*trials, *finals], key=lambda r: (r.role, r.name))

    more = Run(folder, max_hours=10)
    more.run()
    assert folder.read_json("comparison.json")["state"] == "finished"
    assert len(folder.records("trial")) > len(trials)
    assert folder.records("trial")[: len(trials)] == trials
    assert len(read_looks(folder)) == 2, "the first finals may have been seen"
    chosen = {entry["trial"] for entry in folder.read_json("incumbents.json")["tiny"]}
    assert {r.trial for r in folder.records("final")} == chosen


def test_finals_take_what_there_is(begin: Callable[..., RunFolder]) -> None:
    """A limit that does not even pay for them: a study has its first trial, and a final rather than none."""
    folder = begin(trainings=20, seeds=5, choice_seeds=0, max_hours=170 / 3_600)
    run = Run(folder)
    run.run()
    assert folder.read_json("comparison.json")["state"] == "time limit"
    assert len(folder.records("trial")) == 1
    assert 1 <= len(folder.records("final")) < 5
    assert run.workers.now <= 170 + 1, "the driver looks once a second"
    assert read_status(folder).seconds_left is not None


def test_where_choices_do_not_fit_before_a_final_trials_alone_decide(begin: Callable[..., RunFolder]) -> None:
    folder = begin(trainings=20, seeds=2, choice_seeds=6, max_hours=240 / 3_600)
    run = Run(folder)
    run.run()
    assert len(folder.records("final")) >= 1 and not folder.records("choice")
    assert any("no time is left to retrain candidates" in line for line in run.said)
    assert run.workers.now <= 240 + 1


def test_resume_takes_the_limit(begin: Callable[..., RunFolder], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["resume", str(begin(trainings=1).path), "--max-hours", "-1"])
    assert end.value.code == 2
    assert "max_hours" in capsys.readouterr().err


@pytest.mark.slow
def test_a_limit_on_real_workers_ends_in_a_report_and_a_larger_one_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers, and more tuning than fits."""
    out = tmp_path / "run"
    asked = ["--data", "iris", "--families", "gaussian,pca", "--trainings", "500", "--seeds", "1"]
    asked += ["--choice-seeds", "1", "--final-samples", "500"]

    def run(*arguments: str) -> tuple[dict[str, Any], int]:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--quiet", "--json"])
        assert not end.value.code
        return json.loads(capsys.readouterr().out), len(RunFolder.open(out).records("trial"))

    began = time.monotonic()
    board, trials = run("compare", *asked, "--workers", "2", "--max-hours", "0.02", "--out", str(out))
    assert time.monotonic() - began < 72 + 60, "the start before the limit counts, and the report after it"
    assert board["state"] == "time limit"
    assert {entry["family"]: entry["trials"] for entry in board["cut"]} == {
        family: len([r for r in RunFolder.open(out).records("trial") if r.family == family])
        for family in ("gaussian", "pca")
    }
    assert all(0 < entry["spent"] < 500 for entry in board["cut"])
    assert "The time limit cut the tuning of gaussian and pca" in board["verdict"]
    assert any(row["finals"] for row in board["rows"]) and (out / "report" / "index.html").is_file()

    board, more = run("resume", str(out), "--max-hours", "0.035")
    assert board["state"] == "time limit"
    assert more > trials
