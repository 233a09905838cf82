"""The space that is read from an Optuna study's trials."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial, Trial

from gentune.bench.proposal import BayesianSampler
from gentune.bench.proposal.optuna_space import read_space


def trials_of(objective: Callable[[Trial], float], n: int = 24, seed: int = 0) -> list[FrozenTrial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.optimize(objective, n_trials=n)
    return study.trials


def nested(trial: Trial) -> float:
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    if trial.suggest_categorical("optimiser", ["sgd", "adam", "rmsprop"]) != "adam":
        heavy = trial.suggest_categorical("momentum", [True, False])
        return rate + (trial.suggest_float("decay", 0.0, 1.0) if heavy else 0.0)
    return rate + trial.suggest_float("beta", 0.8, 0.999)


def test_conditions_are_read_from_what_trials_were_asked() -> None:
    space = read_space(trials_of(nested)).space
    assert dict(space["rate"].when) == {}
    assert dict(space["momentum"].when) == {"optimiser": (0, 2)}
    assert dict(space["beta"].when) == {"optimiser": (1,)}
    assert dict(space["decay"].when) == {"momentum": (0,)}, "the nearest parent, not the optimiser above it"


def layered(trial: Trial) -> float:
    depth = trial.suggest_int("depth", 1, 5)
    return float(sum(trial.suggest_int(f"width_{i}", 4, 64) for i in range(depth)))


def test_an_integer_decides_on_what_hangs_on_its_size() -> None:
    space = read_space(trials_of(layered)).space
    assert dict(space["width_0"].when) == {}
    assert dict(space["width_2"].when) == {"depth": (3, 4, 5)}
    # Values never seen go with the nearest that was.
    few = [t for t in trials_of(layered, 60) if t.params["depth"] in (1, 5)]
    assert dict(read_space(few).space["width_4"].when) == {"depth": (4, 5)}


def test_what_nothing_explains_counts_always_and_is_not_lost() -> None:
    def by_number(trial: Trial) -> float:
        return trial.suggest_float("x", 0, 1) + (trial.suggest_float("y", 0, 1) if trial.number % 2 else 0.0)

    trials = trials_of(by_number)
    read = read_space(trials)
    assert dict(read.space["y"].when) == {}
    assert read.setting(trials[0].params) == {"x": trials[0].params["x"]}
    assert read.setting(trials[0].params, whole=True) is None
    assert read.setting(trials[1].params, whole=True) == trials[1].params


def test_ranges_are_the_last_ones_or_the_widest() -> None:
    trials = trials_of(lambda t: t.suggest_float("x", 0.0, 2.0 if t.number < 12 else 1.0))
    last, widest = read_space(trials), read_space(trials, widest=True)
    assert last.space["x"].high == 1.0
    assert widest.space["x"].high == 2.0
    outside = next(t for t in trials if t.params["x"] > 1.0)
    assert last.setting(outside.params) is None
    assert widest.setting(outside.params) == outside.params


def test_a_conditional_space_is_tuned_whole() -> None:
    def objective(trial: Trial) -> float:
        if trial.suggest_categorical("kind", ["far", "near"]) == "far":
            return 1.0 + (trial.suggest_float("a", 0, 1) - 0.2) ** 2
        return (trial.suggest_float("b", 0, 1) - 0.8) ** 2 + (trial.suggest_float("c", 0, 1) - 0.3) ** 2

    finals = []
    for seed in range(3):
        study = optuna.create_study(sampler=BayesianSampler(seed=seed))
        study.optimize(objective, n_trials=25)
        finals.append(study.best_value)
        late = [t.params["kind"] for t in study.trials[12:]]
        assert late.count("near") > 10, "the surrogate chooses the branch"
    assert sorted(finals)[1] < 2e-3  # random search: about .03
