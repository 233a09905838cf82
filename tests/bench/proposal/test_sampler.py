from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import Trial, TrialState

from gentune.bench.proposal import BayesianSampler, Belief


@pytest.mark.slow
class TestOptunaContract(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Optuna's own tests of a sampler."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: BayesianSampler(start=2)


def mixed(trial: Trial) -> float:
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    depth = trial.suggest_int("depth", 2, 16, step=2)
    norm = trial.suggest_categorical("norm", [None, "batch", 3.5])
    return (math.log10(rate) + 3) ** 2 + (depth - 10) ** 2 / 4 + {None: 0.0, "batch": 1.0, 3.5: 2.0}[norm]


def params(study: optuna.Study) -> list[dict[str, object]]:
    return [t.params for t in study.trials]


def test_finds_the_optimum_of_a_mixed_space_in_either_direction() -> None:
    lowest = optuna.create_study(sampler=BayesianSampler(seed=0))
    lowest.optimize(mixed, n_trials=20)
    assert lowest.best_value < 0.05
    highest = optuna.create_study(sampler=BayesianSampler(seed=0), direction="maximize")
    highest.optimize(lambda t: -mixed(t), n_trials=20)
    assert params(highest) == params(lowest)


def test_a_study_taken_up_again_goes_on_as_an_unbroken_one() -> None:
    whole = optuna.create_study(sampler=BayesianSampler(seed=3))
    whole.optimize(mixed, n_trials=9)
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s", sampler=BayesianSampler(seed=3)).optimize(mixed, n_trials=7)
    sampler = pickle.loads(pickle.dumps(BayesianSampler(seed=3)))
    sampler.reseed_rng()
    resumed = optuna.load_study(storage=storage, study_name="s", sampler=sampler)
    resumed.optimize(mixed, n_trials=2)
    assert params(resumed) == params(whole)


def test_without_a_seed_studies_differ() -> None:
    studies = [optuna.create_study(sampler=BayesianSampler()) for _ in range(2)]
    for study in studies:
        study.optimize(mixed, n_trials=2)
    assert params(studies[0])[1] != params(studies[1])[1]


def test_parameters_of_one_trial_are_drawn_apart() -> None:
    study = optuna.create_study(sampler=BayesianSampler(seed=0))
    first, second = (study.ask({name: FloatDistribution(0.0, 1.0) for name in "abc"}) for _ in range(2))
    assert set(first.params.values()) == {0.5}, "the first trial stands in the middle"
    assert len(set(second.params.values())) == 3


def test_workers_do_not_draw_the_same_point() -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s", sampler=BayesianSampler(seed=0)).optimize(mixed, n_trials=8)
    drawn = set()
    for _ in range(5):
        # A worker of its own that has asked for a setting, but not yet suggested its parameters one by one.
        worker = optuna.load_study(storage=storage, study_name="s", sampler=BayesianSampler(seed=0))
        trial = worker.ask()
        drawn.add(str(trial.relative_params))
    assert len(drawn) == 5


def test_failed_and_infeasible_trials_are_avoided() -> None:
    def failing(trial: Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_constraint("y", y - 0.5)
        return math.nan if x > 0.5 else (x - 0.3) ** 2 + (y - 0.3) ** 2

    shares = []
    for seed in range(2):
        sampler = BayesianSampler(seed=seed)
        study = optuna.create_study(sampler=sampler)
        study.optimize(failing, n_trials=18)
        shares.append(np.mean([t.state == TrialState.FAIL or t.params["y"] > 0.5 for t in study.trials[8:]]))
        best = sampler.recommend(study)
        assert isinstance(best, optuna.trial.FrozenTrial)
        assert best.params["y"] <= 0.5
        assert best.values[0] < 0.02
    assert np.mean(shares) < 0.45  # random search: 0.75


def test_recommend_is_not_swayed_by_luck() -> None:
    sampler = BayesianSampler(seed=0)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    with pytest.raises(ValueError, match="no completed trial"):
        sampler.recommend(study)
    rng = np.random.default_rng(0)
    space = {"x": FloatDistribution(0.0, 1.0), "kind": CategoricalDistribution(["a", "b"]), "n": IntDistribution(1, 1)}
    for i, x in enumerate(np.linspace(0, 1, 41)):
        value = 0.5 if i == 36 else -4 * (x - 0.3) ** 2 + 0.1 * rng.standard_normal()
        study.add_trial(
            optuna.create_trial(params={"x": float(x), "kind": "ab"[i % 2], "n": 1}, distributions=space, value=value)
        )
    study.add_trial(optuna.create_trial(state=TrialState.FAIL))
    chosen = sampler.recommend(study)
    assert study.best_trial.number == 36
    assert isinstance(chosen, optuna.trial.FrozenTrial)
    assert abs(chosen.params["x"] - 0.3) < 0.15


def test_recommend_reads_spaces_that_changed() -> None:
    sampler = BayesianSampler(seed=0)
    study = optuna.create_study(sampler=sampler)

    def changing(trial: Trial) -> float:
        top = 1.0 if trial.number < 4 else 2.0
        x = trial.suggest_float("x", 0.0, top)
        return x + (trial.suggest_float("y", 0.0, 1.0) if trial.number % 2 else 0.0)

    study.optimize(changing, n_trials=8)
    chosen = sampler.recommend(study)
    assert isinstance(chosen, optuna.trial.FrozenTrial)
    assert chosen.number in range(8)


def test_several_objectives_are_recommended_as_a_short_list() -> None:
    sampler = BayesianSampler(seed=0)
    study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])
    study.optimize(lambda t: (t.suggest_float("x", 0, 1) ** 2, -((1 - t.params["x"]) ** 2)), n_trials=12)
    chosen = sampler.recommend(study)
    assert isinstance(chosen, list)
    assert 1 < len(chosen) <= 3
    assert {t.number for t in chosen} <= {t.number for t in study.best_trials}


def test_long_lists_of_parameters_are_announced_whole() -> None:
    study = optuna.create_study(sampler=BayesianSampler(seed=0), storage="sqlite:///:memory:")
    space: dict[str, optuna.distributions.BaseDistribution] = {
        f"a_rather_long_name_for_parameter_{i}": FloatDistribution(0.0, 1.0) for i in range(60)
    }
    for _ in range(2):
        study.tell(study.ask(space), 1.0)
    study.ask(space)
    first, second = study.ask(space), study.ask(space)
    assert first.params != second.params
    assert any(key.startswith("gentune:proposed:1") for key in study.trials[first.number].system_attrs)


def test_beliefs_lead_the_start_and_are_checked_when_their_parameter_is_met() -> None:
    def objective(trial: Trial) -> float:
        rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        return (math.log10(rate) + 4.5) ** 2 + (kind != "c")

    first = []
    for beliefs in (None, {"rate": 3e-5, "kind": Belief("c", spread=0.1), "never met": 1.0}):
        study = optuna.create_study(sampler=BayesianSampler(seed=0, beliefs=beliefs))
        study.optimize(objective, n_trials=8)
        first.append(np.mean([t.values[0] for t in study.trials]))
        assert beliefs is None or study.trials[0].params == {"rate": 3e-5, "kind": "c"}
    assert first[1] < 0.5 * first[0]
    wrong = optuna.create_study(sampler=BayesianSampler(seed=0, beliefs={"kind": "d"}))
    with pytest.raises(ValueError, match="kind = 'd'"):
        wrong.optimize(objective, n_trials=1)


def choose(trial: Trial) -> float:
    return {None: 0.0, True: 1.0, 1.5: 2.0, "s": 3.0}[trial.suggest_categorical("c", [None, True, 1.5, "s"])]


def never_feasible(trial: Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    trial.set_constraint("c", x + 1)
    return x


@pytest.mark.parametrize(
    "objective",
    [
        lambda t: math.nan if t.suggest_float("x", 0, 1) > 0.5 else t.params["x"],
        lambda t: math.inf if t.suggest_float("x", 0, 1) > 0.5 else t.params["x"],
        lambda t: -math.inf if t.suggest_float("x", 0, 1) > 0.5 else t.params["x"],
        lambda t: t.suggest_float("x", 1, 1) + t.suggest_float("y", 0, 1),
        lambda t: t.suggest_float("x", 1, 1),
        lambda t: 1.0,
        lambda t: 1.0 + 0 * t.suggest_float("x", 0, 1),
        lambda t: float(t.suggest_categorical("c", list(range(100)))) + t.suggest_float("x", 0, 1),
        lambda t: sum((t.suggest_float(f"x{i}", 0, 1) - 0.3) ** 2 for i in range(60)),
        lambda t: t.suggest_float("x", 0, 1 + t.number % 3),
        lambda t: t.suggest_float("x", 1e-3 if t.number % 2 else 1e-5, 1, log=True),
        lambda t: 1e300 * t.suggest_float("x", 0, 1),
        lambda t: 1e300 * (t.suggest_float("x", 0, 1) - 0.5),
        lambda t: t.suggest_float("x", 0, 1e-300),
        lambda t: math.log(t.suggest_float("x", 1e-300, 1e300, log=True)) ** 2,
        lambda t: t.suggest_int("x", -(10**15), 10**15) / 1e15,
        choose,
        never_feasible,
    ],
)
def test_odd_use_gets_sensible_proposals(objective: Any) -> None:
    sampler = BayesianSampler(seed=0, start=3)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=9)
    assert len(study.trials) == 9
    if any(t.state == TrialState.COMPLETE and all(v <= 0 for v in t.constraints.values()) for t in study.trials):
        assert sampler.recommend(study) is not None
