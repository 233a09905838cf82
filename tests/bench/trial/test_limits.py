"""What hangs in a family's code is ended: by an alarm in the process that runs it, else with its worker."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gentune.bench import registry
from gentune.bench.budget.kinds import Seconds
from gentune.bench.budget.operations import Operations
from gentune.bench.budget.pace import Pace, measure_pace
from gentune.bench.budget.setting_cost import SettingCosts
from gentune.bench.budget.time_limit import TookTooLongError, time_limit
from gentune.bench.data import DataRef, open_data
from gentune.bench.driver.dispatch import Dispatcher
from gentune.bench.driver.expectations import LEAST, TIMES, Expectations
from gentune.bench.driver.journal import Journal
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RecordFolder, RunFolder
from gentune.bench.runs.spool import Delivery
from gentune.bench.scheduling import Cancelled, Progressed
from gentune.bench.scheduling.base import Event
from gentune.bench.trial.execution import run_trial
from gentune.bench.trial.jobs import Limits, TrialJob

# --- the alarm --------------------------------------------------------------------------------------------


def test_the_alarm_ends_what_waits_and_is_taken_back() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TookTooLongError, match=r"^waiting took longer than 0.05 s$"), time_limit(0.05, "waiting"):
        time.sleep(10)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_signs_of_life_begin_the_time_again() -> None:
    with time_limit(0.2, "steps") as begin_again:
        for _ in range(6):
            time.sleep(0.05)
            begin_again()
        with pytest.raises(TookTooLongError):
            time.sleep(10)


def test_a_limit_inside_another_leaves_that_one_its_time() -> None:
    with time_limit(0.1, "outer"):
        with time_limit(5.0, "inner"):
            time.sleep(0.15)
        with pytest.raises(TookTooLongError, match="outer"):
            time.sleep(10)


# --- a trial ----------------------------------------------------------------------------------------------


@pytest.fixture
def job(tiny_plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialJob:
    monkeypatch.setattr("gentune.bench.protocol.SAMPLES", 20)
    registry.load_plugin(tiny_plugin)
    family = registry.family("tiny").resolved([str(tiny_plugin)])
    where = {"cache": str(tmp_path / "cache"), "lean": True}
    return TrialJob("trial", family, 0, 1, "validation", DataRef("two_moons"), {}, ("nll",), **where)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "limits", "reason"),
    [
        ("loss", Limits(training=0.05), "too slow: ten steps of the training, or its fit, took longer than 0.05 s"),
        ("sample", Limits(sampling=0.05), "too slow: sampling took longer than 0.05 s"),
        ("log_likelihood", Limits(scoring=0.05), "too slow: scoring took longer than 0.05 s"),
    ],
)
def test_a_trial_that_hangs_fails_with_that_reason(
    job: TrialJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, limits: Limits, reason: str
) -> None:
    def hang(*_: Any, **__: Any) -> None:
        while True:
            try:
                time.sleep(10)
            except Exception:  # noqa: BLE001 - a family that goes on whatever happens
                continue

    monkeypatch.setattr(job.family.load(), method, hang)
    told: list[str] = []
    record = run_trial(replace(job, limits=limits, budget=Seconds(9.0)), RecordFolder(tmp_path), on_part=told.append)
    assert (record.state, record.reason) == ("failed", reason)
    assert told == ["train", "sample", "measure"][: ["loss", "sample", "log_likelihood"].index(method) + 1]
    if method == "sample":
        assert record.cost == pytest.approx(record.seconds["train"] + record.seconds["sample"])
        assert record.seconds["sample"] >= 0.05


# --- its worker -------------------------------------------------------------------------------------------


class Hanging:
    """A stand-in whose job enters a part and is never heard of again, until it is cancelled."""

    free = size = 1

    def __init__(self) -> None:
        self.events: list[Event] = []

    def submit(self, ticket: int, job: Any) -> None:
        self.events.append(Progressed(ticket, 0.0, "sample"))

    def wait(self, timeout: float | None = None) -> list[Event]:
        events, self.events = self.events, []
        return events

    def cancel(self, ticket: int) -> None:
        self.events.append(Cancelled(ticket))

    def left_over(self) -> list[Delivery]:
        return []

    def acknowledge(self, delivery: Delivery) -> None:
        """It has none."""

    def close(self) -> None:
        """There is nothing to end."""


def test_a_worker_that_no_alarm_reaches_is_ended_and_its_trial_not_tried_again(job: TrialJob, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    clock = [0.0]
    executor, folder = Hanging(), RunFolder(tmp_path)
    (tmp_path / "records").mkdir()
    dispatcher = Dispatcher(executor, folder, _journal(folder), {}, print, clock=lambda: clock[0])
    dispatcher.submit(replace(job, limits=Limits(sampling=60.0), budget=Seconds(9.0)))
    for clock[0] in (0.0, 60.0, 69.0):
        assert dispatcher.wait(0.0) == []
    clock[0] = 71.0
    assert dispatcher.wait(0.0) == [], "cancelled now"
    ((_, record),) = dispatcher.wait(0.0)
    assert record is not None and record.state == "failed"
    assert record.reason == "too slow: nothing was heard for 60 s (sample), and its worker was ended"
    assert record.cost == 71.0
    assert folder.records("trial") == [record]
    assert not dispatcher.busy


def _journal(folder: RunFolder) -> Journal:
    journal = Journal.__new__(Journal)
    journal._folder = folder
    return journal


# --- what is expected -------------------------------------------------------------------------------------


def expectations(pace: Pace) -> Expectations:
    def count(setting: Mapping[str, Any]) -> Operations:
        return Operations(train=1e6 * setting["width"], per_sample=10.0 * setting["width"])

    costs = SettingCosts(count, {"width": 16}, 100, Seconds(60.0))
    return Expectations({"toy": pace}, {"toy": costs}, 100)


def test_other_settings_take_as_much_longer_as_they_have_operations() -> None:
    known = expectations(Pace(training=8.0, longest=0.1, sample=0.01))
    assert known.training("toy") == 8.0
    assert known.training("toy", {"width": 32}) == 16.0
    assert known.sampling("toy", {"width": 8}, 100) == pytest.approx(0.5)
    wide = known.limits("toy", {"width": 160}, "trial", 100)
    assert wide.training == pytest.approx(TIMES * 10 * 1.0)
    assert known.limits("toy", {"width": 16}, "trial", 100).sampling == LEAST
    assert wide.sampling == pytest.approx(TIMES * 10.0)
    assert known.limits("toy", {"width": 1600}, "test", 10_000).sampling == pytest.approx(TIMES * 10_000)
    assert wide.scoring > TIMES * 80.0, "a likelihood may take as long as a training"


def test_finished_jobs_correct_what_was_measured() -> None:
    known = expectations(Pace(training=8.0, longest=0.1, sample=0.01))
    slower = {"train": 6.0, "kept": 2.0, "sample": 3.0, "measure": 1.0}
    known.take(_record(fidelity=0.5, seconds=slower), 10.5)
    assert known.training("toy") == 16.0, "half of a training took 8 seconds"
    assert known.sampling("toy", None, 100) == pytest.approx(3.0)
    first, later = known.scoring("toy", "trial", 100), {"train": 6.0, "kept": 2.0, "sample": 3.0, "measure": 0.2}
    assert first < 1.0, "a first score that waits for libraries teaches little"
    for _ in range(3):
        known.take(_record(fidelity=0.5, seconds=later), 9.7)
    assert known.scoring("toy", "trial", 100) == pytest.approx(0.7), "half a second is in none of a job's parts"
    assert known.scoring("other", "trial", 100) == pytest.approx(0.7), "another family scores alike"
    assert known.scoring("other", "test", 100) > known.scoring("other", "trial", 100)
    known.take(_record(seconds={"train": 0.1}, objectives=None))
    assert known.training("toy") == 16.0


def test_what_could_not_be_measured_is_learned_from_what_finished() -> None:
    known = expectations(Pace(unmeasured="RuntimeError: no"))
    assert known.training("toy") is None
    assert known.limits("toy", {"width": 16}, "trial", 100) == Limits(sampling=LEAST, scoring=LEAST)
    known.take(_record(seconds={"train": 4.0, "sample": 1.0}))
    assert known.training("toy", {"width": 32}) == pytest.approx(8.0)
    assert known.sampling("toy", None, 1_000) == pytest.approx(10.0)


def _record(**fields: Any) -> Record:
    known = {"role": "trial", "family": "toy", "number": 0, "seed": 0, "split": "validation", "state": "complete"}
    return Record(**{**known, "params": {"width": 16}, "samples": 100, "objectives": (1.0,), **fields})


def test_the_pace_of_a_default_setting(tiny_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.load_plugin(tiny_plugin)
    family, data = registry.family("tiny").resolved([str(tiny_plugin)]), open_data(DataRef("two_moons"))
    default = family.card.space.default()
    pace = measure_pace(family, data, default)
    assert pace.unmeasured is None
    assert pace.training is not None and pace.longest is not None
    assert 0 < pace.training <= family.full_steps(data.spec) * pace.longest * 1.01
    broken = measure_pace(family, data, {**default, "mode": "raise"})
    assert (broken.training, broken.unmeasured) == (None, "RuntimeError: this mode raises")
    fit = registry.family("gaussian").resolved()
    fitted = measure_pace(fit, data, fit.card.space.default())
    assert fitted.training is not None and fitted.training == fitted.longest
