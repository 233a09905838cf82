"""The choice among few settings by retrainings on validation: the rule, and the driver's way through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gentune
from gentune.bench import protocol, registry
from gentune.bench.budget.kinds import budget_of
from gentune.bench.budget.operations import Operations
from gentune.bench.driver.choice import MARGIN, choose
from gentune.bench.driver.comparison import ComparisonDriver
from gentune.bench.driver.conclusions import Conclusions
from gentune.bench.driver.job_factory import JobFactory
from gentune.bench.driver.job_queue import JobQueue
from gentune.bench.driver.journal import Journal
from gentune.bench.driver.planning import TuningOptions
from gentune.bench.driver.run_setup import describe, drive
from gentune.bench.driver.study import Candidate, FamilyStudy
from gentune.bench.errors import UsageError
from gentune.bench.runs.constraints import Constraint
from gentune.bench.runs.looks import read_looks, seeds_of
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.trial.execution import run_trial
from gentune.bench.trial.jobs import TrialJob
from gentune.search_spaces import Setting

DEFAULT: Setting = {"learning_rate": 0.1, "mode": "good", "temperature": 1.0, "batch_size": 128}


def chosen(*scores: Any, lower: bool = True, log_scale: bool = False, protected: bool = True, **more: Any) -> int:
    return choose(scores, lower=lower, log_scale=log_scale, protected=protected, **more)


# The rule


def test_a_challenger_has_to_win_by_three_quarters_of_a_standard_error_of_the_difference() -> None:
    """Deviation 1 within each setting, three seeds: .75 sqrt(2/3) = .612 is wanted."""
    spread = (-1.0, 0.0, 1.0)
    for difference, winner in ((0.61, 0), (0.62, 1)):
        assert chosen(spread, [v - difference for v in spread]) == winner
        assert chosen(spread, [v + difference for v in spread], lower=False) == winner
    assert pytest.approx(0.75) == MARGIN


def test_the_variance_is_pooled_and_the_best_of_several_is_chosen() -> None:
    steady, wild = (5.0, 5.0, 5.0), (1.0, 4.0, 7.0)
    # By its own steadiness the first difference would count; by the pooled variance 9/3 it does not.
    assert chosen(steady, (4.4, 4.4, 4.4), [v + 9 for v in wild]) == 0
    assert chosen(steady, (4.4, 4.4, 4.4), (4.2, 4.2, 4.2)) == 2
    assert chosen((5.0,), (4.9,), (4.8,)) == 2, "one seed tells nothing of the spread"
    assert chosen((5.0,), (5.0,)) == 0


def test_distances_are_compared_on_logarithms_unless_a_value_is_not_positive() -> None:
    """Mean 10.03 against 10.5, or geometric mean 10 against 5.6."""
    default, other = (9.0, 10.0, 11.1), (1.0, 11.5, 19.0)
    assert chosen(default, other) == 0
    assert chosen(default, other, log_scale=True, protected=False) == 1
    assert chosen(default, (-1.0, 13.5, 19.0), log_scale=True, protected=False) == 0


def test_failed_trainings_count_as_the_worst_and_a_setting_that_always_fails_loses() -> None:
    none = (None, None, None)
    assert chosen((5.0, 5.1, 5.2), (5.0, 5.02, 5.05)) == 1
    assert chosen((5.0, 5.1, 5.2), (5.0, None, 5.05)) == 0, "5.2 stands for the failure"
    assert chosen((5.0, None, 5.2), (5.1, 5.1, 5.1), (9.0, 9.0, 9.0)) == 1
    assert chosen(none, (8.0, 9.0, None)) == 1
    assert chosen(none, (8.0, None, None), (7.0, None, None)) == 2
    assert chosen((8.0, 9.0, None), none) == 0
    assert chosen(none, none) == 0
    assert chosen((None,), (5.0,), (4.0,), lower=False) == 1


def test_a_setting_that_breaks_a_constraint_gives_way_to_any_that_keeps_all() -> None:
    none = (None, None, None)
    default, good, bad = (5.0, 5.1, 5.2), (1.0, 1.1, 1.2), (9.0, 9.1, 9.2)
    assert chosen(default, good, bad) == 1
    assert chosen(default, good, bad, violations=(0.0, 0.4, 0.0)) == 0
    assert chosen(default, good, bad, violations=(0.4, 0.4, 0.0)) == 2, "such a default protects nothing"
    assert chosen(default, good, bad, violations=(0.4, 0.2, 0.3)) == 1, "the least violating of all"
    assert chosen(default, good, none, violations=(0.4, 0.2, 0.0)) == 1, "of what failed nothing is known"
    assert chosen(default, good, violations=(0.0, 0.0)) == 1


def test_without_a_default_the_best_mean_is_chosen() -> None:
    assert chosen((5.0, 6.0), (5.4, 5.5), protected=False) == 1


# Candidates


def toy_study(values: Mapping[str, Any], objectives: int = 1, constraints: Sequence[Constraint] = ()) -> FamilyStudy:
    """A study of `tiny` whose trials have the given learning rates and scores; None for a failed one."""
    registry.load_plugin(Path(__file__).parents[2] / "plugins" / "tiny.py")
    card = registry.family("tiny").require_card()
    budget = budget_of("trainings", len(values))
    options = TuningOptions(budget, ["lower"] * objectives, 100, constraints=constraints)
    study = FamilyStudy(card, options, lambda setting: Operations(train=100.0, per_sample=1.0))
    for number, (rate, score) in enumerate(values.items()):
        record = Record(
            role="trial",
            family="tiny",
            number=number,
            seed=number,
            split="validation",
            state="failed" if score is None else "complete",
            params={**DEFAULT, "learning_rate": float(rate)},
            objectives=None if score is None else (score, -score)[:objectives],
            cost=1.0,
        )
        study.tell(record)
    return study


def test_candidates_are_the_default_and_the_best_that_may_beat_it() -> None:
    scores = {"0.1": 10.0, "0.2": 9.0, "0.3": 7.0, "0.4": 6.8, "0.5": 8.5, "0.01": 40.0, "0.002": 90.0}
    found = toy_study(scores).candidates()
    assert found[0].trial == 0 and {c.trial for c in found[1:]} == {2, 3}
    assert found[0].probability is None and all((c.probability or 0) > 0.1 for c in found[1:])
    hopeless = {"0.1": 1.0, "0.2": 30.0, "0.3": 60.0, "0.4": 90.0, "0.5": 120.0, "0.01": 45.0, "0.002": 90.0}
    assert toy_study(hopeless).candidates() == [Candidate(0)]
    assert toy_study({"0.1": None, "0.2": None}).candidates() == []


def test_where_the_default_failed_the_best_are_compared_with_one_another() -> None:
    found = toy_study({"0.1": None, "0.2": 9.0, "0.3": 7.0, "0.4": 6.8, "0.5": 8.5}).candidates()
    assert found[0].probability is None
    assert 0 not in [c.trial for c in found]
    assert len(found) == 3


def test_the_chosen_setting_leads_the_points_of_a_front() -> None:
    study = toy_study({"0.1": 10.0, "0.2": 9.0, "0.3": 7.0, "0.4": 6.8, "0.5": 8.5}, objectives=2)
    numbers = [record.number for record in study.incumbents(study.records[1])]
    assert numbers[0] == 1 and len(numbers) == 3 == len(set(numbers))
    assert [r.number for r in toy_study({"0.1": 2.0, "0.2": 1.9}).incumbents(study.records[1])] == [1]


# From the end of a tuning to the finals


@pytest.fixture
def folder(tmp_path: Path, tiny_plugin: Path) -> RunFolder:
    return begin(tmp_path / "run", tiny_plugin)


def begin(path: Path, plugin: Path, **options: Any) -> RunFolder:
    registry.load_plugin(plugin)
    defaults: dict[str, Any] = {"data": "two_moons", "families": ["tiny"], "plugins": [str(plugin)], "trainings": 1}
    defaults |= {"objective": ["nll"], "seeds": 1, "choice_seeds": 2}
    return RunFolder.create_or_match(path, describe(None, defaults | options))


def factory(folder: RunFolder, cache: Path) -> JobFactory:
    jobs = JobFactory(folder, folder.study, str(cache), {"tiny": registry.family("tiny").resolved()})
    jobs.final_samples = 100
    return jobs


def conclusions(folder: RunFolder, say: Any = print) -> Conclusions:
    jobs = factory(folder, folder.path)
    return Conclusions(folder, folder.study, jobs, Journal(folder), cache=str(folder.path), say=say)


def carry_out(
    found: Conclusions, folder: RunFolder, jobs: Sequence[TrialJob], scores: Mapping[int, float | None]
) -> None:
    """Gives the retrainings of each trial's setting a score; None for a failure."""
    for job in jobs:
        score = scores[job.trial or 0]
        state: Any = "failed" if score is None else "complete"
        record = job.record(state=state, objectives=None if score is None else (score + 0.01 * job.number,))
        folder.write_record(record)
        found.take(record)


THREE = {"0.1": 10.0, "0.2": 9.5, "0.3": 9.4}


def test_the_candidates_are_retrained_with_the_same_new_seeds_and_the_winner_for_the_test(folder: RunFolder) -> None:
    found, study = conclusions(folder), toy_study(THREE)
    jobs = found.next_jobs(study)
    assert found.next_jobs(study) == [], "they are asked for once"
    places = {(job.trial, job.number): job for job in jobs}
    assert places.keys() == {(trial, seed) for trial in (0, 1, 2) for seed in (0, 1)}
    assert {(job.role, job.split) for job in places.values()} == {("choice", "validation")}
    assert len({job.seed for job in places.values()}) == 2
    assert len({places[trial, 1].seed for trial in (0, 1, 2)}) == 1
    assert not any(job.keep_samples or job.keep_model or job.second_evaluator for job in places.values())

    carry_out(found, folder, jobs, {0: 5.0, 1: 4.0, 2: None})
    finals = found.next_jobs(study)
    assert found.reached(study) and found.next_jobs(study) == []
    assert [(job.role, job.trial, job.split) for job in finals] == [("final", 1, "test"), ("default", None, "test")]
    assert not {job.seed for job in finals} & {job.seed for job in places.values()}
    assert Journal(folder).incumbents("tiny", 0) == [1]


def test_where_no_challenger_wins_the_defaults_finals_serve_for_both(folder: RunFolder) -> None:
    found, study = conclusions(folder), toy_study(THREE)
    carry_out(found, folder, found.next_jobs(study), {0: 5.0, 1: 5.1, 2: 5.2})
    assert [(job.role, job.trial) for job in found.next_jobs(study)] == [("final", 0)]


def test_means_over_the_retrainings_tell_who_breaks_a_constraint(folder: RunFolder) -> None:
    study = toy_study(THREE, constraints=[Constraint("coverage", ">=", 0.5)])
    found = conclusions(folder)
    coverage = {0: (0.55, 0.55), 1: (0.6, 0.3), 2: (0.7, 0.4)}
    for job in found.next_jobs(study):
        assert job.trial is not None
        cell = {"value": coverage[job.trial][job.number], "low": None, "high": None}
        score = {0: 5.0, 1: 1.0, 2: 3.0}[job.trial]
        found.take(job.record(state="complete", objectives=(score,), metrics={"coverage": cell}))
    assert [(job.role, job.trial) for job in found.next_jobs(study)] == [("final", 2), ("default", None)]


def test_the_default_is_retrained_on_validation_even_without_challengers(folder: RunFolder) -> None:
    jobs = conclusions(folder).next_jobs(toy_study({"0.1": 1.0}))
    assert [(job.role, job.trial, job.number) for job in jobs] == [("choice", 0, 0), ("choice", 0, 1)]


CLOSE = {"0.1": 9.0, "0.2": 12.0, "0.3": 8.2, "0.4": 15.0, "0.5": 30.0, "0.01": 11.0}


def test_without_choice_seeds_the_trials_decide(tmp_path: Path, tiny_plugin: Path) -> None:
    folder = begin(tmp_path / "run", tiny_plugin, choice_seeds=0)
    jobs = conclusions(folder).next_jobs(toy_study(CLOSE))
    assert [(job.role, job.trial) for job in jobs] == [("final", 0)], "a probability of 95% is wanted"


def test_a_new_driver_goes_on_with_the_candidates_and_the_choice_of_the_old_one(folder: RunFolder) -> None:
    first, study = conclusions(folder), toy_study(THREE)
    jobs = first.next_jobs(study)
    carry_out(first, folder, jobs[:2], {0: 5.0, 1: 4.0, 2: 6.0})
    second, altered = conclusions(folder), toy_study({**THREE, "0.2": 90.0})
    rest = second.next_jobs(altered)
    assert [job.name for job in rest] == [job.name for job in jobs[2:]], "what is written stands"
    carry_out(second, folder, rest, {0: 5.0, 1: 4.0, 2: 6.0})
    finals = [job.name for job in second.next_jobs(altered)]
    (folder.records_path / "choice-tiny-0-0001-000.json").unlink()
    third = conclusions(folder)
    assert [job.name for job in third.next_jobs(study)] == finals
    assert third.reached(study)


def test_without_kept_trainings_it_says_what_is_trained_again(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = toy_study(THREE)
    study.tell(replace(study.records[1], params={**DEFAULT, "temperature": 0.6}))
    said: list[str] = []
    conclusions(folder, said.append).next_jobs(study)
    assert said == []
    monkeypatch.setenv("GENTUNE_CACHE_GIB", "0")
    conclusions(folder, said.append).next_jobs(study)
    assert said == [
        "tiny: candidates that differ in sampling alone train again each, since no trainings are kept "
        "(GENTUNE_CACHE_GIB is 0)"
    ]


def test_settings_that_differ_in_sampling_alone_share_their_trainings(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "SAMPLES", 100)
    study = toy_study(THREE)
    cooler = replace(study.records[0], number=3, params={**DEFAULT, "temperature": 0.6})
    jobs = factory(folder, tmp_path / "cache").choices(study, [study.records[0], study.records[1], cooler])
    by_trial = {job.trial: job for job in jobs if job.number == 0}
    assert by_trial[0].shares_training(by_trial[3]) and not by_trial[0].shares_training(by_trial[1])
    assert not by_trial[0].shares_training(jobs[3]), "another seed is another training"
    first, second = (run_trial(by_trial[trial], folder) for trial in (0, 3))
    assert first.training == second.training != ""
    assert (first.seconds["kept"], second.seconds["train"]) == (0.0, 0.0)
    assert second.seconds["kept"] == pytest.approx(first.seconds["train"])
    assert first.metrics["mmd"] != second.metrics["mmd"]


def test_a_job_waits_for_the_training_that_it_shares(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    study = toy_study(THREE)
    cooler = replace(study.records[0], number=3, params={**DEFAULT, "temperature": 0.6})
    first, waiting, other, _ = factory(folder, folder.path).choices(study, [study.records[0], cooler])
    queue = JobQueue([waiting, other])
    assert queue.next([first], None) == other
    assert queue.next([first], None) is None
    assert queue.next([], None) == waiting and not queue
    queue.append(waiting)
    monkeypatch.setenv("GENTUNE_CACHE_GIB", "0")
    assert queue.next([first], None) == waiting, "nothing is gained by waiting"


def test_one_reference_is_scored_on_test_early_to_tell_how_long_that_takes(folder: RunFolder) -> None:
    fixed = {"gaussian": registry.family("gaussian").resolved()}
    references = JobFactory(folder, folder.study, "", {}, references=fixed).references("vector", ())
    queue = JobQueue(references)
    early = queue.first_on_test()
    assert isinstance(early, TrialJob) and (early.number, early.split) == (0, "test")
    assert list(queue) == [job for job in references if job != early]
    assert queue.first_on_test() is None, "the others wait for the finals"


# Looks


class Silent:
    def say(self, line: str) -> None:
        """Nobody listens."""

    def update(self) -> None:
        """Nobody looks."""


def asked(folder: RunFolder) -> list[int]:
    return [look.seeds for look in read_looks(folder)]


@pytest.fixture
def finished(folder: RunFolder) -> RunFolder:
    """A run with one seed that has come to its end, as far as its files tell."""
    journal = Journal(folder)
    journal.look(1)
    (job,) = factory(folder, folder.path).retrainings(toy_study({"0.1": 1.0}), [toy_study({"0.1": 1.0}).records[0]], ())
    folder.write_record(job.record(state="complete", objectives=(1.0,)))
    journal.write_state("finished", 1.0, {"lag": 0, "seeds": 1})
    return folder


def files(folder: RunFolder) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file() and p.name != "lock"}


def test_more_seeds_are_another_look_and_fewer_are_refused(finished: RunFolder) -> None:
    before = files(finished)
    drive(finished, {}, Silent())
    drive(finished, {"seeds": 1}, Silent())
    assert files(finished) == before
    Journal(finished).look(3)
    assert asked(finished) == [1, 3] and seeds_of(finished) == 3
    assert not Journal(finished).finished, "also for a driver that dies before it has done anything else"
    with pytest.raises(UsageError, match="with 3 seeds, here seeds is 2; seeds can be added, not taken back"):
        drive(finished, {"seeds": 2}, Silent())
    assert ComparisonDriver(finished).config.seeds == 3, "without a word on seeds it goes on with those asked for last"


def test_before_any_test_score_another_number_of_seeds_is_no_other_look(folder: RunFolder) -> None:
    for seeds in (1, 4, 2):
        Journal(folder).look(seeds)
        assert asked(folder) == [seeds]


def test_other_choice_seeds_are_refused(folder: RunFolder, tiny_plugin: Path) -> None:
    with pytest.raises(UsageError, match="another study: its choice_seeds is 2, here it is 3"):
        begin(folder.path, tiny_plugin, choice_seeds=3)


def test_a_run_of_before_there_was_a_choice_is_read_and_not_added_to(finished: RunFolder) -> None:
    finished.study_path.write_text(finished.study_path.read_text().replace("choice_seeds = 2\n", ""))
    (finished.artifacts_path / "looks.json").unlink()
    assert finished.study.choice_seeds == 0 and seeds_of(finished) == 1
    before = files(finished)
    drive(finished, {}, Silent())
    assert files(finished) == before
    with pytest.raises(UsageError, match=r"earlier version \(its study.toml has no choice_seeds\)"):
        drive(finished, {"seeds": 2}, Silent())
    finished.write_json("comparison.json", finished.read_json("comparison.json") | {"state": "interrupted"})
    with pytest.raises(UsageError, match="it can be read but not resumed"):
        drive(finished, {}, Silent())


@pytest.mark.slow
def test_seeds_are_added_to_a_finished_run(tmp_path: Path, tiny_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the command: the second one makes what is missing, and a page of its own."""
    options: dict[str, Any] = {"data": "two_moons", "families": "tiny", "plugins": tiny_plugin, "objective": "nll"}
    options |= {"trainings": 1, "choice_seeds": 1, "executor": "in_process", "out": tmp_path / "run"}
    monkeypatch.setattr(protocol, "SAMPLES", 100)
    monkeypatch.setattr(protocol, "MOST_FINAL_SAMPLES", 200)
    first = gentune.compare(seeds=1, **options)
    before = {p.name: p.read_text() for p in first.folder.records_path.glob("*.json")}
    second = gentune.compare(seeds=2, **options)
    assert all((first.folder.records_path / name).read_text() == text for name, text in before.items())
    assert [(r.trial, r.number) for r in second.folder.records("final")] == [(0, 0), (0, 1)]
    assert len(second.folder.records("trial", "choice")) == 2
    assert second.leaderboard["seeds"] == 2 and second.leaderboard["state"] == "finished"
    assert asked(second.folder) == [1, 2]
