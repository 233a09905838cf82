"""Budgets in which not even a default setting fits are refused, and nothing is left of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gentune.bench import registry
from gentune.bench.budget.counting import count_setting
from gentune.bench.budget.kinds import Budget, FloatingPointOperations, Seconds, Trainings, too_little
from gentune.bench.budget.operations import Operations, UncountableError
from gentune.bench.budget.setting_cost import SettingCosts
from gentune.bench.data import DataRef, open_data
from gentune.bench.driver.comparison import ComparisonDriver
from gentune.bench.driver.outlook import Outlook, costs_of_families, least_amounts, paid_starts
from gentune.bench.driver.run_setup import describe, drive
from gentune.bench.errors import UsageError, WorkError
from gentune.bench.runs.run_folder import RunFolder
from gentune.models import GenerativeModel


class Quiet:
    def say(self, line: str) -> None:
        """Nobody listens."""

    def update(self) -> None:
        """Nobody looks."""


@pytest.fixture(autouse=True)
def tiny(tiny_plugin: Path) -> Path:
    registry.load_plugin(tiny_plugin)
    return tiny_plugin


def study(plugin: Path, **options: Any) -> Any:
    given = {"data": "two_moons", "families": ["tiny"], "plugins": [str(plugin)], "objective": ["nll"], "workers": 1}
    return describe(None, given | options)


@pytest.mark.parametrize("budget", [Trainings(1.0), FloatingPointOperations(1e6)])
def test_the_least_budget_pays_for_the_first_trial_and_less_does_not(budget: Budget) -> None:
    for price, default in ((1.0, 1.0), (1.25, 1.0), (0.5, 1.0)):
        least = budget.least(price, default)
        kind = type(budget)
        assert budget.allows(price, kind(least).limit(least, default))
        assert not budget.allows(price, kind(0.99 * least).limit(0.99 * least, default))


def test_the_budget_that_is_named_is_rounded_up() -> None:
    assert too_little("vae", "trainings", 0.1, 1.0).endswith("wanted --trainings 1 or more")
    assert too_little("vae", "trainings", 2.0, 2.14101).endswith("wanted --trainings 2.15 or more")
    assert too_little("vae", "flops", 1e6, 3.8600001e11).endswith("wanted --flops 3.87e+11 or more")


@pytest.mark.parametrize("trainings", [0.1, 0.999])
def test_less_than_a_training_is_refused_before_a_folder_is_made(tiny: Path, trainings: float) -> None:
    with pytest.raises(UsageError, match=r"wanted --trainings 1 or more$"):
        study(tiny, trainings=trainings)


def test_intermediate_scores_that_do_not_fit_are_refused(tiny: Path) -> None:
    data = open_data(DataRef("digits"))
    given: dict[str, Any] = {"data": "digits", "families": ["vae", "gaussian"], "two_speeds": True}
    config = describe(None, given | {"stopping": "halving", "trainings": 2})
    costs = costs_of_families(config, data)
    (name, least), *others = least_amounts(config, Outlook(costs, {})).items()
    assert (name, others) == ("vae", []), "a fit takes no intermediate scores"
    assert 2.0 < least < 2.1
    enough = describe(None, given | {"stopping": "halving", "trainings": least})
    assert least_amounts(enough, Outlook(costs_of_families(enough, data), {})) == {}
    assert least_amounts(describe(None, given | {"trainings": 1}), Outlook(costs, {})) == {}


def test_a_refused_run_leaves_no_folder(tmp_path: Path, tiny: Path) -> None:
    folder = RunFolder.create_or_match(tmp_path / "run", study(tiny, flops=10))
    with pytest.raises(UsageError, match=r"^--flops 10 does not pay for the default setting of tiny; wanted --flops"):
        drive(folder, {}, Quiet())
    assert not (tmp_path / "run").exists()


def test_only_a_run_that_was_never_begun_is_removed(tmp_path: Path, tiny: Path) -> None:
    folder = RunFolder.create_or_match(tmp_path / "run", study(tiny, flops=10))
    (folder.path / "notes.txt").write_text("mine")
    folder.write_json("comparison.json", {})
    folder.remove_unstarted()
    assert folder.study_path.is_file()
    folder.artifact("comparison.json").unlink()
    folder.remove_unstarted()
    assert [path.name for path in folder.path.iterdir()] == ["notes.txt"]


def test_a_run_without_a_trial_does_not_end_as_finished(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gentune.bench.driver.study.MOST_TRIALS", 0)
    # Evaluators, references and finals are no matter here.
    monkeypatch.setattr(ComparisonDriver, "_prepare", lambda self, _: self._open_studies())
    monkeypatch.setattr(ComparisonDriver, "_drive", lambda self, _: (self._next_trial(), self._refuse_emptiness()))
    given = study(tiny, trainings=2, executor="in_process")
    folder = RunFolder.create_or_match(tmp_path / "run", given)
    with pytest.raises(WorkError, match="no trial of tiny was begun"):
        ComparisonDriver(folder).run()
    assert folder.read_json("comparison.json")["state"] == "interrupted"


def test_counting_waits_only_so_long(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(self: GenerativeModel, n: int, **_: Any) -> None:
        while True:
            pass

    family = registry.family("tiny").resolved([str(tiny)])
    monkeypatch.setattr(family.load(), "sample", endless)
    monkeypatch.setattr("gentune.bench.budget.counting.PATIENCE", 0.2)
    with pytest.raises(UncountableError, match=r"a step of its training and two samples took longer than 0.2 s"):
        count_setting(family, open_data(DataRef("two_moons")), family.card.space.default())


def test_settings_to_start_with_count_as_far_as_the_budget_pays() -> None:
    def count(setting: Mapping[str, Any]) -> Operations:
        return Operations(train=100.0 * setting["width"], per_sample=0.0)

    cost, unpriced = (SettingCosts(count, {"width": 1.0}, 10, budget) for budget in (Trainings(4.0), Seconds(1.0)))
    starts = [{"width": 2.0}, {"width": 1.0}, {"width": 0.5}]
    assert [paid_starts(cost, starts, ("trainings", amount)) for amount in (2.9, 3.0, 4.2, 4.5)] == [0, 1, 2, 3]
    assert paid_starts(unpriced, starts, ("seconds", 1.0)) == 3
