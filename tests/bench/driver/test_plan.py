"""The plan of a comparison: what is left of studies by figures worked by hand, and the command that tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gentune.bench import protocol
from gentune.bench.budget.kinds import budget_of
from gentune.bench.budget.operations import Operations
from gentune.bench.budget.pace import Pace
from gentune.bench.budget.setting_cost import SettingCosts
from gentune.bench.commands.cli import main
from gentune.bench.driver.expectations import Expectations
from gentune.bench.driver.forecast import Forecast, StudyState, Work
from gentune.bench.driver.plan import Plan
from gentune.bench.driver.run_setup import describe
from gentune.bench.runs.records import Record, Role
from gentune.bench.runs.status import duration_text

TRIAL, FINAL = 100, 1_000  # samples


def count(setting: Mapping[str, Any]) -> Operations:
    return Operations(train=100.0 * setting["width"], per_sample=1.0 * setting["width"])


def forecast(**options: Any) -> Forecast:
    """Of a family whose default setting trains 10 seconds and draws 100 samples in a second."""
    config = describe(None, {"data": "two_moons", "families": "gaussian", **options})
    costs = SettingCosts(count, {"width": 16}, TRIAL, budget_of(*config.budget))
    expected = Expectations({"toy": Pace(10.0, 0.1, 0.01)}, {"toy": costs}, TRIAL)
    expected.scoring = lambda family, kind, n: 2.0 if kind == "trial" else 4.0  # type: ignore[method-assign]
    return Forecast(config, expected, FINAL, proposing=0.5)


def test_what_is_planned_before_anything_is_run() -> None:
    left = forecast(trainings=6, seeds=2, choice_seeds=3).left(StudyState("toy"))
    assert left["tuning"].trainings == pytest.approx(6.0)
    assert left["tuning"].operations == pytest.approx(6 * (1_600 + 1_600))
    assert left["tuning"].seconds == pytest.approx(6 * (10 + 1 + 2 + 0.5))
    choice, finals = left["choice"], left["finals"]
    assert 6 < choice.trainings < 9, "of the default and one or two challengers"
    assert choice.operations == pytest.approx(choice.trainings * (1_600 + 16_000))
    assert choice.seconds == pytest.approx(choice.trainings * (10 + 10 + 4))
    assert 2 < finals.trainings < 4, "of what is chosen, and of the default where it is not"
    assert finals.seconds == pytest.approx(finals.trainings * (10 + 10 + 4))


@pytest.mark.parametrize("options", [{"flops": 6 * 3_200.0}, {"seconds": 66.0}])
def test_other_budgets_buy_as_much(options: dict[str, float]) -> None:
    left = forecast(**options, choice_seeds=0).left(StudyState("toy"))
    assert left["tuning"].trainings == pytest.approx(6.0)
    assert left["tuning"].seconds == pytest.approx(6 * (10 + 1 + 2 + 0.5))
    assert left["choice"] == Work()


def test_what_is_left_of_a_study_that_is_under_way() -> None:
    known = forecast(trainings=6, seeds=2, choice_seeds=3)
    halfway = known.left(StudyState("toy", spent=3.0, trials=6))
    assert halfway["tuning"].seconds == pytest.approx(3 * (10 + 1) + 6 * (2 + 0.5)), "cheap trials are scored each"
    wide = {"width": 32}
    tuned = StudyState("toy", tuned=True, candidates=[{"width": 16}, wide], choices=2)
    assert known.left(tuned)["tuning"] == Work()
    assert known.left(tuned)["choice"].seconds == pytest.approx(4 * ((20 + 20) + (10 + 10) + 8) / 2)
    chosen = StudyState("toy", tuned=True, candidates=[], choices=6, incumbents=[wide], finals=3)
    left = known.left(chosen)
    assert left["choice"] == Work()
    assert left["finals"].seconds == pytest.approx(((20 + 20) + (10 + 10) + 8) / 2), (
        "one of four: its own or the default's"
    )
    assert known.left(StudyState("toy", tuned=True, incumbents=[{"width": 16}], finals=2))["finals"] == Work()


def test_what_scores_teach_of_others() -> None:
    config = describe(None, {"data": "two_moons", "families": "gaussian", "trainings": 6})
    costs = SettingCosts(count, {"width": 16}, TRIAL, budget_of(*config.budget))
    known = Expectations({"toy": Pace(10.0, 0.1, 0.01)}, {"toy": costs}, TRIAL)
    rest = 0.2  # seconds of a job besides its parts
    trial, test = (known.scoring("toy", kind, TRIAL) - rest for kind in ("trial", "test"))

    def take(role: Role, measuring: float, besides: float) -> None:
        split = "test" if role == "final" else "validation"
        record = Record(role, "toy", 0, 0, split, "complete", samples=TRIAL, params={"width": 16}, objectives=(1.0,))
        known.take(replace(record, seconds={"train": 10.0, "measure": measuring}), 10.0 + measuring + besides)

    take("trial", 2.25 * trial, 9.0)
    assert known.scoring("toy", "trial", TRIAL) == pytest.approx(2.25 * trial + rest), (
        "a worker's first job waits for it"
    )
    assert known.scoring("toy", "test", TRIAL) == pytest.approx(1.5 * test + rest), "half, on a log scale"
    take("final", 2.0 * test, 9.0)
    assert known.scoring("toy", "test", TRIAL) == pytest.approx(2.0 * test + rest), "one of its own kind is believed"
    for _ in range(2):
        take("trial", 2.25 * trial, 1.0)
    assert known.scoring("toy", "trial", TRIAL) == pytest.approx(2.25 * trial + 1.0)


def test_workers_share_what_does_not_follow_one_another() -> None:
    work = {"tuning": Work(seconds=100.0), "choice": Work(seconds=40.0), "finals": Work(seconds=60.0)}
    assert Plan({"a": work, "b": work}, 1, FINAL).seconds == 400.0
    assert Plan({"a": work, "b": work}, 2, FINAL).seconds == 200.0
    quick = {part: w * 0.1 for part, w in work.items()}
    assert Plan({"a": work, "b": quick}, 2, FINAL).seconds == 150.0, "one trial of a study after another"
    assert Plan({"a": work}, 2, FINAL).seconds == 100.0, "its proposals do not wait for the latest trial"
    assert Plan({"a": work}, 2, FINAL, references=30.0, around=7.0).seconds == 122.0


@pytest.mark.parametrize("arguments", [["plan"], ["compare", "--dry-run"]])
def test_a_plan_is_told_and_nothing_is_made(
    tmp_path: Path, tiny_plugin: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(protocol, "SAMPLES", 50)
    monkeypatch.chdir(tmp_path)
    given = ["--data", "two_moons", "--plugin", str(tiny_plugin), "--families", "tiny,gaussian", "--flops", "10"]
    with pytest.raises(SystemExit) as end:
        main([*arguments, *given, "--workers", "1", "--json"])
    assert not end.value.code
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["families", "seconds", "evaluators", "refused"]
    assert [e["name"] for e in told["evaluators"]] == ["raw", "random_projection"]
    assert [row["family"] for row in told["families"]] == ["tiny", "gaussian"]
    assert all(set(row) == {"family", "steps", "trainings", "operations", "seconds"} for row in told["families"])
    assert [row["steps"] for row in told["families"]] == [20, 0], "a `fit` has no steps"
    assert told["seconds"] > sum(row["seconds"] for row in told["families"]), "the start and the references take time"
    assert "wanted --flops" in told["refused"]["tiny"] and "gaussian" not in told["refused"]
    assert list(tmp_path.iterdir()) == []


def test_durations_are_told_as_people_say_them() -> None:
    assert [duration_text(s) for s in (4.4, 75, 7_260)] == ["4 s", "1 min 15 s", "2 h 1 min"]
