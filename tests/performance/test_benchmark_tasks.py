"""The benchmark tasks of the proposal engine: what they measure is what they say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "proposals"
LEARNERS = ("mlp_digits", "boosting_diabetes", "noisy_forest", "failing_sgd", "svc_digits", "algorithm_parity")


class Modules:
    """The scripts of the benchmark, imported as they import one another."""

    def __init__(self) -> None:
        import catalogue
        import references
        import spaces
        import task

        self.catalogue: ModuleType = catalogue
        self.references: ModuleType = references
        self.spaces: ModuleType = spaces
        self.task: ModuleType = task


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    monkeypatch.syspath_prepend(FOLDER)
    return Modules()


def names() -> list[str]:
    return list(json.loads((FOLDER / "references.json").read_text(encoding="utf-8")))


def truths(modules: Modules, name: str, count: int, seed: int = 0) -> tuple[list[dict], list[float], int]:
    """Random settings that do not fail, their true values, and how many others failed."""
    task, generator = modules.catalogue.TASKS[name], np.random.default_rng(seed)
    settings, values, failed = [], [], 0
    for _ in range(count):
        setting = modules.spaces.draw(task.space, generator)
        task.space.validate(setting)
        try:
            values.append(task.truth(setting))
        except modules.task.FailedTrial:
            failed += 1
        else:
            settings.append(setting)
    return settings, values, failed


def needed(modules: Modules, name: str) -> None:
    if not modules.catalogue.available(name):
        pytest.skip("an optional package is not installed")


def test_every_task_has_a_group_and_a_reference(modules: Modules) -> None:
    catalogue = modules.catalogue
    assert sorted(names()) == sorted(catalogue.TASKS)
    grouped = [name for group in catalogue.GROUPS.values() for name in group]
    assert all(len(group) >= 4 for group in catalogue.GROUPS.values())
    assert 40 <= len(grouped) == len(set(grouped)) < len(catalogue.TASKS)
    assert set(grouped) > catalogue.TUNED_ON


def test_an_unknown_task_is_named_with_those_known(modules: Modules) -> None:
    with pytest.raises(KeyError, match=r"no task 'hartman6'.*hartmann6"):
        modules.catalogue.TASKS["hartman6"]


@pytest.mark.parametrize("name", names())
def test_task_evaluates_at_its_default_and_at_random(modules: Modules, name: str) -> None:
    needed(modules, name)
    task = modules.catalogue.TASKS[name]
    assert task.name == name
    default = task.space.default()
    assert math.isfinite(task.truth(default))
    assert task.measure(default, np.random.default_rng(3)) == task.measure(default, np.random.default_rng(3))
    reference = modules.references.references()[name]
    _, values, failed = truths(modules, name, 5 if name in LEARNERS else 300)
    assert np.isfinite(values).all()
    assert min(values) >= reference["best"] - 1e-6
    if name not in LEARNERS:
        assert np.mean(np.array(values) < reference["median"]) == pytest.approx(0.5, abs=0.15)  # 4 standard errors
        share = failed / 300
        assert (0.2 <= share <= 0.7) if task.kind == "failing" else share == 0


@pytest.mark.parametrize("name", [name for name in names() if name not in LEARNERS])
def test_truth_is_the_mean_of_what_trials_measure(modules: Modules, name: str) -> None:
    needed(modules, name)
    task, generator = modules.catalogue.TASKS[name], np.random.default_rng(4)
    for setting, truth in zip(*truths(modules, name, 30)[:2], strict=True):
        if task.kind != "noisy":
            assert task.measure(setting, generator) == truth
            continue
        seen = np.array([task.measure(setting, generator) for _ in range(200)])
        assert seen.std() > 0 or name.startswith("noisy_table")  # all seeds of a useless network agree
        assert abs(seen.mean() - truth) <= 4 * seen.std(ddof=1) / math.sqrt(200) + 1e-12


def test_a_trial_of_the_forest_sees_one_fold(modules: Modules) -> None:
    task, generator = modules.catalogue.TASKS["noisy_forest"], np.random.default_rng(5)
    setting = task.space.default()
    seen = np.array([task.measure(setting, generator) for _ in range(300)])
    assert 2 <= len(set(seen)) <= 5
    assert np.mean(list(set(seen))) == pytest.approx(task.truth(setting), rel=1e-9)


@pytest.mark.parametrize("name", ["failing_sgd"])
def test_a_large_step_diverges_and_a_small_one_does_not(modules: Modules, name: str) -> None:
    task = modules.catalogue.TASKS[name]
    setting = {**task.space.default(), "activation": "relu", "learning_rate": 10.0}
    for _ in range(2):  # computed, then from the cache
        with pytest.raises(modules.task.FailedTrial):
            task.truth(setting)
    assert task.truth({**setting, "learning_rate": 1e-4}) < 100


def test_losses_are_computed_once(modules: Modules, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from memo import Memo

    monkeypatch.setenv("GENTUNE_CACHE", str(tmp_path))
    calls: list[float | None] = []

    def compute() -> float | None:
        calls.append(None if calls else 0.25)
        return calls[-1]

    for _ in range(2):
        assert Memo("t", "1").loss({"a": 1, "b": "x"}, 0, compute) == 0.25
        assert Memo("t", "1").loss({"b": "x", "a": 1}, 0, compute) == 0.25
        assert Memo("t", "1").loss({"a": 1, "b": "x"}, 1, compute) is None  # a failure is kept too
    assert len(calls) == 2
    assert Memo("t", "2").loss({"a": 1, "b": "x"}, 0, lambda: 0.5) == 0.5


def test_regret_is_nought_at_the_best_and_one_at_the_median(modules: Modules) -> None:
    reference, regret = modules.references.references()["hartmann6"], modules.references.normalised_regret
    assert regret("hartmann6", reference["best"]) == 0
    assert regret("hartmann6", reference["median"]) == pytest.approx(1)
    with pytest.raises(KeyError, match="no reference"):
        regret("unheard_of", 0.0)


def test_uniform_points_reach_every_value(modules: Modules) -> None:
    spaces = modules.spaces
    space = modules.catalogue.TASKS["layers"].space
    drawn = [spaces.draw(space, np.random.default_rng(seed)) for seed in range(400)]
    shares = [np.mean([setting["layers"] == n for setting in drawn]) for n in (1, 2, 3, 4)]
    assert shares == pytest.approx([0.25] * 4, abs=4 * math.sqrt(0.25 * 0.75 / 400))
    assert all(("width_3" in setting) == (setting["layers"] >= 3) for setting in drawn)
    assert all(("slope" in setting) == (setting["activation"] == "elu") for setting in drawn)
    assert 0.4 < np.mean([setting["learning_rate"] < 1e-3 for setting in drawn]) < 0.6  # half of a log scale
