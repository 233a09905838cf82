"""What trials in any state tell the sampler: none that was handed out is proposed again because nothing came back."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import HyperbandPruner
from optuna.samplers import PartialFixedSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from gentune.bench.proposal import BayesianSampler
from gentune.bench.proposal.optuna_trials import foreseen


def study_of(objective: Callable[[Trial], Any] | None = None, trials: int = 0, **options: Any) -> optuna.Study:
    study = optuna.create_study(sampler=options.pop("sampler", BayesianSampler(seed=options.pop("seed", 0))), **options)
    if objective is not None:
        study.optimize(objective, n_trials=trials, catch=(RuntimeError,))
    return study


def distinct(trials: Sequence[FrozenTrial]) -> int:
    return len({repr(sorted(t.params.items())) for t in trials})


def prune_below_three(trial: Trial) -> float:
    x, _ = trial.suggest_int("x", 0, 9), trial.suggest_categorical("y", ["a", "b"])
    if x < 3:
        raise optuna.TrialPruned
    return float(x)


def test_pruned_trials_are_remembered() -> None:
    study = study_of(prune_below_three, 20)
    assert distinct(study.trials) >= 19, "one second look, which says that there is no noise"


def fails_below(early: bool) -> Callable[[Trial], float]:
    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if early and x < 0.4:
            raise RuntimeError
        y = trial.suggest_int("y", 0, 9)
        if x < 0.4:
            raise RuntimeError
        return x + 0.1 * y

    return objective


def test_a_failure_before_the_last_suggestion_teaches_what_one_after_it_does() -> None:
    early, late = (study_of(fails_below(early), 14) for early in (True, False))
    assert [t.params["x"] for t in early.trials] == [t.params["x"] for t in late.trials]
    assert [t.state for t in early.trials].count(TrialState.FAIL) > 1


def test_what_fails_before_the_last_suggestion_is_not_given_three_times_in_a_row() -> None:
    def objective(trial: Trial) -> float:
        x = trial.suggest_int("x", 0, 3)
        if x:
            raise RuntimeError
        return float(trial.suggest_int("y", 0, 30))

    xs = [t.params["x"] for t in study_of(objective, 20).trials]
    assert all(len(set(xs[i : i + 3])) > 1 or xs[i] == 0 for i in range(18))


def test_a_parameter_that_is_no_longer_asked_for_hides_no_setting() -> None:
    table = random.Random(1).sample(range(30), 30)

    def objective(trial: Trial) -> float:
        x = trial.suggest_int("x", 0, 29)
        if trial.number < 6:
            trial.suggest_int("old", 0, 3)
        return float(table[x])

    assert len({t.params["x"] for t in study_of(objective, 20).trials}) >= 19


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
@pytest.mark.parametrize(
    "choices", [[(3, 3), (5, 5)], [None, math.nan], [10**30, "1"], [complex(0, 1), frozenset()], [True, 1, 2]]
)
def test_choices_are_announced_whatever_they_are(choices: list[Any]) -> None:
    study = study_of(lambda t: t.suggest_int("n", 0, 9) + len(str(t.suggest_categorical("c", choices))), 3)
    asked = [study.ask() for _ in range(4)]
    for trial in asked:  # four workers, each between its two suggestions
        trial.suggest_int("n", 0, 9)
    for trial in asked:
        trial.suggest_categorical("c", choices)
    assert distinct(study.trials) == 7


def test_equal_choices_are_one_setting() -> None:
    study = study_of(lambda t: float(t.suggest_categorical("c", [1, True, 0])) + t.suggest_int("n", 0, 1), 4)
    assert distinct(study.trials) == 4


def bowl(trial: Trial) -> float:
    return (trial.suggest_float("x", 0, 1) - 0.3) ** 2 + (trial.suggest_float("y", 0, 1) - trial.params["x"]) ** 2


def test_the_rest_is_proposed_given_what_was_put_in_the_queue() -> None:
    """The best y is x: where the user fixes x, y follows."""
    study = study_of(bowl, 14)
    for x in (0.2, 0.9):
        study.enqueue_trial({"x": x})
    study.optimize(bowl, n_trials=2)
    for trial, x in zip(study.trials[14:], (0.2, 0.9), strict=True):
        assert trial.params["x"] == x
        assert abs(trial.params["y"] - x) < 0.2


@pytest.mark.filterwarnings("ignore:PartialFixedSampler is experimental")
@pytest.mark.parametrize("name", ["first", "last"])
def test_the_rest_is_proposed_given_what_a_wrapper_fixes(name: str) -> None:
    def objective(trial: Trial) -> float:
        return trial.suggest_int("first", 0, 5) * 6.0 + trial.suggest_int("last", 0, 5)

    study = study_of(objective, 5)
    study.sampler = PartialFixedSampler({name: 5}, study.sampler)
    study.optimize(objective, n_trials=6)
    fixed = [t for t in study.trials if t.params[name] == 5]
    assert distinct(fixed) >= 5, "six values of the other parameter, and at most one second look"


class DrawsItself(BayesianSampler):
    """Draws one parameter by a rule of its own, of which the model is not told."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        space = super().infer_relative_search_space(study, trial)
        space.pop("y", None)
        return space

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, d: BaseDistribution) -> Any:
        return 1 if name == "y" else super().sample_independent(study, trial, name, d)


def test_a_parameter_that_is_drawn_elsewhere_hides_no_setting() -> None:
    study = study_of(
        lambda t: float(t.suggest_int("x", 0, 9)) + t.suggest_int("y", 0, 9), 10, sampler=DrawsItself(seed=0)
    )
    assert distinct(study.trials) >= 9


def test_settings_that_wait_in_the_queue_are_not_proposed() -> None:
    study = study_of(lambda t: float(t.suggest_int("x", 0, 7)), 4)
    left = sorted(set(range(8)) - {t.params["x"] for t in study.trials})
    for x in left[:-1]:
        study.enqueue_trial({"x": x})
    study._storage.set_trial_state_values(
        study.trials[4]._trial_id, TrialState.RUNNING
    )  # another worker takes it, and has not asked for its parameter yet
    sampler = study.sampler
    trial = create_trial(state=TrialState.RUNNING)
    trial.number = 99
    trial._trial_id = study._storage.create_new_trial(study._study_id)
    space = sampler.infer_relative_search_space(study, trial)
    trial.number = study._storage.get_trial(trial._trial_id).number
    assert sampler.sample_relative(study, trial, space) == {"x": left[-1]}


def test_a_retried_trial_keeps_its_parameters_and_the_rest_is_new() -> None:
    """A retry brings the announcement of the trial that failed, which was longer."""
    study = study_of(lambda t: sum(t.suggest_float(f"{'x' * 90}{i}", 0, 1) for i in range(20)), 6)
    failed = study.ask()
    value = failed.suggest_float("x" * 90 + "0", 0, 1)
    study.tell(failed, state=TrialState.FAIL)
    first = study.trials[-1]
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=first.params,
            distributions=first.distributions,
            system_attrs=first.system_attrs,
        )
    )
    retried = study.ask()
    assert retried.suggest_float("x" * 90 + "0", 0, 1) == value
    assert retried.relative_params["x" * 90 + "1"] != failed.relative_params["x" * 90 + "1"]
    assert study.ask().relative_params  # the announcement can be read


def curve(trial: Trial) -> float:
    """Falls by half at each of four steps to a level that x decides."""
    x = trial.suggest_float("x", 0, 1)
    for step in range(1, 5):
        trial.report((x - 0.3) ** 2 + 0.5**step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return (x - 0.3) ** 2 + 0.5**4


@pytest.mark.parametrize("pruner", [optuna.pruners.MedianPruner(n_startup_trials=3), HyperbandPruner(1, 4, 2)])
def test_pruned_values_teach_under_optunas_pruners(pruner: optuna.pruners.BasePruner) -> None:
    study = study_of(curve, 16, pruner=pruner)
    assert any(t.state == TrialState.PRUNED for t in study.trials)
    assert distinct(study.trials) >= 15
    assert study.best_value - 0.5**4 < 1e-3


def test_all_brackets_are_known() -> None:
    study = study_of(lambda t: float(t.suggest_int("x", 0, 11)), 12, pruner=HyperbandPruner(1, 9, 3))
    assert distinct(study.trials) >= 11


def reported(value: float | None, last: float, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return create_trial(state=state, value=value, intermediate_values={1: last})


def test_a_pruned_trial_is_foreseen_where_it_stood_among_the_others() -> None:
    others = [reported(final, last) for final, last in [(1.0, 10.0), (3.0, 20.0), (2.0, 30.0)]]
    low, high = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE

    def at(last: float, direction: StudyDirection = low, completed: Sequence[FrozenTrial] = others) -> float | None:
        return foreseen(direction, reported(None, last, TrialState.PRUNED), completed)

    assert at(20.0) == 2.0  # second at its last report, hence the second of the final values
    assert at(25.0) == 2.5
    assert at(35.0) == 8.0  # 5 behind the last
    assert at(5.0) == 1.0  # no better than the best
    assert at(25.0, high) == -2.5
    assert at(5.0, high) == 4.0
    assert at(math.nan) is None
    assert at(math.inf) == math.inf
    assert at(0.5, completed=[]) == 0.5
    silent = [create_trial(value=v) for v in (1.0, 2.0, 3.0)]
    assert at(0.5, completed=silent) == 2.0  # no better than the median
    assert at(7.0, completed=silent) == 7.0
    assert foreseen(low, create_trial(state=TrialState.PRUNED), others) is None


def test_pruned_trials_without_a_value_are_failures_in_studies_of_several_objectives() -> None:
    def objective(trial: Trial) -> tuple[float, float]:
        x = trial.suggest_int("x", 0, 14)
        if x % 3 == 0:
            raise optuna.TrialPruned
        return float(x), float(-x)

    study = study_of(objective, 10, directions=["minimize", "minimize"])
    assert distinct(study.trials) >= 9


def test_infinite_and_huge_violations_teach_where_not_to_look() -> None:
    def bounded(bad: float) -> list[float]:
        def objective(trial: Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            trial.set_constraint("c", bad if x < 0.37 else -1.0)
            return x

        return [t.params["x"] for t in study_of(objective, 14).trials]

    assert bounded(math.inf) == bounded(1.0), "the largest finite figure is 1"
    assert 0.37 <= min(x for x in bounded(1e308) if x >= 0.37) < 0.42


def test_trials_of_any_kind_that_were_added_are_known() -> None:
    study = study_of()
    space: dict[str, BaseDistribution] = {"x": IntDistribution(0, 9), "c": CategoricalDistribution(["a", "b"])}
    for x in range(9):
        state = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL][x % 3]
        value = float(x) if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, value=value, params={"x": x, "c": "a"}, distributions=space))
    for _ in range(10):
        trial = study.ask(space)
        study.tell(trial, 1.0)
    assert distinct(study.trials) >= 18


def test_values_of_another_kind_are_passed_over() -> None:
    study = study_of()
    for value, d in [
        ("a", CategoricalDistribution(["a", "b"])),
        (0.5, FloatDistribution(0, 1)),
        (7, IntDistribution(0, 9)),
    ]:
        study.add_trial(create_trial(value=1.0, params={"x": value}, distributions={"x": d}))
    study.optimize(lambda t: t.suggest_int("x", 0, 9), n_trials=9)
    assert distinct(study.trials[2:]) >= 9


def test_a_parameter_with_one_value_left_tells_trials_apart() -> None:
    study = study_of(lambda t: t.suggest_int("x", 0, 9) + t.suggest_int("y", 0, 3), 6)
    study.optimize(lambda t: t.suggest_int("x", 5, 5) + t.suggest_int("y", 0, 3), n_trials=4)
    assert distinct([t for t in study.trials if t.params["x"] == 5]) == 4


def test_an_exhausted_space_is_repeated_and_not_at_one_place() -> None:
    study = study_of(lambda t: float(t.suggest_int("x", 0, 2)), 9)
    xs = [t.params["x"] for t in study.trials]
    assert len(set(xs[:3])) == 3
    assert all(len(set(xs[i : i + 3])) > 1 for i in range(3, 7))


@pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7), True, -1, 2**80])
def test_seeds_are_integers_of_any_type(seed: Any) -> None:
    same = study_of(bowl, 2, sampler=BayesianSampler(seed=int(seed)))
    assert [t.params for t in study_of(bowl, 2, sampler=BayesianSampler(seed=seed)).trials] == [
        t.params for t in same.trials
    ]


def test_what_is_no_integer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"seed is 1\.5; wanted an integer"):
        BayesianSampler(seed=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="start is '3'; wanted an integer"):
        BayesianSampler(start="3")  # type: ignore[arg-type]
