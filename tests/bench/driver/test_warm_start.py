"""Runs that learn from earlier runs: what is copied, what proposals see, what is said of it, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gentune.bench import registry
from gentune.bench.budget.kinds import Seconds
from gentune.bench.budget.operations import Operations, UncountableError
from gentune.bench.commands.cli import main
from gentune.bench.driver.planning import TuningOptions
from gentune.bench.driver.run_setup import describe
from gentune.bench.driver.study import FamilyStudy
from gentune.bench.driver.warm_start import earlier_studies, make_folder
from gentune.bench.errors import UsageError
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_file import StudyFile
from gentune.reports.leaderboard import build_leaderboard
from gentune.search_spaces.space import Value

RATES = (0.1, 0.02, 0.5, 0.02)


@pytest.fixture(autouse=True)
def tiny(tiny_plugin: Path) -> Path:
    registry.load_plugin(tiny_plugin)
    return tiny_plugin


def config(plugin: Path, **options: Any) -> StudyFile:
    defaults = {"data": "two_moons", "families": ["tiny"], "plugins": [str(plugin)], "trainings": 4}
    return describe(None, defaults | {"objective": ["precision"]} | options)


def setting(rate: float) -> dict[str, Value]:
    return {"learning_rate": rate, "mode": "good" if rate < 1.0 else "diverge", "temperature": 1.0}


def trial(number: int, repeat: int, params: Mapping[str, Value], value: float | None, objectives: int = 1) -> Record:
    return Record(
        role="trial",
        family="tiny",
        number=number,
        repeat=repeat,
        seed=number,
        split="validation",
        state="failed" if value is None else "complete",
        params=params,
        objectives=None if value is None else (value,) * objectives,
    )


def earlier(path: Path, plugin: Path, objective: tuple[str, ...] = ("precision",)) -> RunFolder:
    """A run of six trials: in each of two repeats some good ones and a failed one. Its best learning rate is 0.02."""
    folder = RunFolder.create_or_match(path, config(plugin, objective=list(objective), repeats=2))
    for repeat, rates in enumerate((RATES[:2], RATES[2:])):
        for number, rate in enumerate([*rates, 1.0]):
            value = 1.02 - rate if rate < 1.0 else None
            folder.write_record(trial(number, repeat, setting(rate), value, len(objective)))
        # Half of a training: no figure of a whole one.
        folder.write_record(dataclasses.replace(trial(9, repeat, setting(0.5), 5.0, len(objective)), fidelity=0.5))
    return folder


def test_trials_are_copied_as_figures_to_be_minimised(tmp_path: Path, tiny: Path) -> None:
    before = earlier(tmp_path / "before", tiny)
    folder = make_folder(tmp_path / "after", config(tiny, warm_start=[str(before.path)]))
    shutil.rmtree(before.path)
    first, second = earlier_studies(folder)["tiny"]
    assert [o.setting for o in first[:2] + second[:2]] == [setting(rate) for rate in RATES]
    assert [o.values for o in first] == [pytest.approx((-0.92,)), pytest.approx((-1.0,)), None]
    # Taken up again, the run needs the earlier one no more.
    again = make_folder(tmp_path / "after", config(tiny, warm_start=[str(before.path)]))
    assert earlier_studies(again) == earlier_studies(folder)


def test_bounds_of_this_study_judge_the_earlier_trials(tmp_path: Path, tiny: Path) -> None:
    before = earlier(tmp_path / "before", tiny)
    for record in before.records("trial"):
        metrics = {"coverage": {"value": float(str(record.params["learning_rate"])), "low": None, "high": None}}
        before.write_record(dataclasses.replace(record, metrics=metrics))
    folder = make_folder(
        tmp_path / "after", config(tiny, warm_start=[str(before.path)], constraints="coverage >= 0.05")
    )
    first, _ = earlier_studies(folder)["tiny"]
    assert [o.violates for o in first[:2]] == [rate < 0.05 for rate in RATES[:2]]
    free = make_folder(tmp_path / "free", config(tiny, warm_start=[str(before.path)], constraints=[]))
    assert not any(o.constraints for study in earlier_studies(free)["tiny"] for o in study)


def uncountable(setting: Mapping[str, Any]) -> Operations:
    raise UncountableError("unknown")


def test_trials_of_the_start_are_what_was_best_before(tmp_path: Path, tiny: Path) -> None:
    before = earlier(tmp_path / "before", tiny)
    folder = make_folder(tmp_path / "after", config(tiny, warm_start=[str(before.path)]))
    study = FamilyStudy(
        registry.family("tiny").require_card(),
        TuningOptions(Seconds(100.0), ["higher"], samples=10),
        uncountable,
        earlier=earlier_studies(folder)["tiny"],
    )
    proposals = []
    for number in range(4):
        asked = study.ask()
        assert asked is not None
        proposals.append(asked.proposal)
        rate = asked.proposal.setting["learning_rate"]
        assert isinstance(rate, float)
        study.tell(trial(number, 0, asked.proposal.setting, 1.02 - abs(rate - 0.02)))
    assert [p.origin for p in proposals] == ["default", "sobol", "sobol", "earlier"]
    assert proposals[-1].setting["learning_rate"] == pytest.approx(0.02)


def test_the_report_says_that_there_was_a_warm_start(tmp_path: Path, tiny: Path) -> None:
    before = earlier(tmp_path / "before", tiny)
    folder = make_folder(tmp_path / "after", config(tiny, warm_start=[str(before.path)]))
    content = build_leaderboard(folder).content
    assert content["warm_start"] == [
        {"name": "before", "data": "two_moons", "objective": ["precision"], "trials": {"tiny": 6}}
    ]
    assert any("earlier run before (6 of tiny; two_moons, precision)" in note for note in content["notes"])
    cold = make_folder(tmp_path / "cold", config(tiny))
    assert build_leaderboard(cold).content["warm_start"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": ["precision", "recall"]}, "it has 1 objective, this study 2 objectives"),
        ({"families": ["gaussian_mixture"]}, "it has no trial of gaussian_mixture; its families: tiny"),
        ({"sampler": "random"}, "the random sampler learns nothing from a warm start"),
    ],
)
def test_a_warm_start_that_does_not_fit_is_refused(
    tmp_path: Path, tiny: Path, options: dict[str, Any], message: str
) -> None:
    before = earlier(tmp_path / "before", tiny)
    with pytest.raises(UsageError, match=message):
        make_folder(tmp_path / "after", config(tiny, warm_start=[str(before.path)], **options))
    assert not (tmp_path / "after").exists()


def test_a_path_that_is_no_run_is_refused_in_one_line(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["tune", "tiny", "--plugin", str(tiny), "--data", "two_moons", "--trainings", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--warm-start", str(tmp_path), "--out", str(tmp_path / "after")])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"gentune: {tmp_path} is no run folder (it holds no study.toml)\n"


def test_a_study_file_names_earlier_runs_from_where_it_lies(tmp_path: Path, tiny: Path) -> None:
    before = earlier(tmp_path / "before", tiny)
    text = config(tiny).to_toml().replace("warm_start = []", 'warm_start = ["before"]')
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    assert describe(tmp_path / "study.toml", {}).warm_start == (str(before.path.resolve()),)
