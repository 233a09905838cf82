"""The benchmark of tuning: its tables, the tasks and rules made of them, what is learned, and its figures."""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gentune.bench.proposal import Key
from gentune.search_spaces import Parameter, SearchSpace
from gentune.search_spaces.card import load_card, shipped_cards

Load = Callable[[str], ModuleType]
FAMILY = "naive_bayes"


@pytest.fixture(scope="module")
def scripts(performance_script: Load) -> dict[str, ModuleType]:
    performance_script("tuning.run")  # puts the folders of the scripts that it imports on the path
    names = ("collect", "learn", "pairs", "ratios", "rivals", "run", "starts", "surrogate_tasks")
    found = {name: performance_script(f"tuning.{name}") for name in names}
    return {**found, "priorband_method": sys.modules["priorband_method"]}


@pytest.fixture(scope="module")
def task(scripts: dict[str, ModuleType]) -> Iterator[Any]:
    """A surrogate task with few trees, to be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts["surrogate_tasks"], "_TREES", 30)
        yield scripts["surrogate_tasks"].SurrogateTask(scripts["pairs"].Pair(FAMILY, "digits"), _entries(scripts))


def _entries(scripts: dict[str, ModuleType], trials: int = 96) -> list[dict[str, Any]]:
    """A table of naive_bayes whose objective falls with the share of continuous conditionals' bandwidth near 0.05."""
    pair = scripts["pairs"].Pair(FAMILY, "digits")
    rng = np.random.default_rng(0)
    entries = []
    for number, (kind, setting) in enumerate(scripts["collect"].settings(pair.resolved().card.space, trials)):
        mean = _mean(setting)
        value = None if mean > 4.0 else math.exp(mean + 0.1 * rng.standard_normal())
        entries.append({"number": number, "kind": kind, "setting": setting, "value": value})
    return entries


def _mean(setting: dict[str, Any]) -> float:
    if "bandwidth" not in setting:
        return 2.0
    return 1.0 + abs(math.log10(setting["bandwidth"] / 0.05))


def test_neutral_defaults_stand_in_the_middle_of_every_range(scripts: dict[str, ModuleType]) -> None:
    for path in shipped_cards():
        card = load_card(path)
        neutral = scripts["pairs"].neutral(card)
        assert neutral.space.names == card.space.names
        for before, after in zip(card.space, neutral.space, strict=True):
            if before.name in neutral.loop:
                assert neutral.loop[before.name].default == after.default
            if before.kind == "categorical":
                assert after.default == before.default
                continue
            ends = np.array([before.low, before.high], dtype=float)
            middle = math.sqrt(ends.prod()) if before.log else ends.mean()
            assert after.default == pytest.approx(middle, abs=0.5 * (before.kind == "int"))


def test_a_table_has_repeats_of_the_default_and_settings_near_and_far(scripts: dict[str, ModuleType]) -> None:
    space = scripts["pairs"].Pair(FAMILY, "digits").resolved().card.space
    trials = list(scripts["collect"].settings(space, 24))
    assert trials == list(scripts["collect"].settings(space, 24))
    kinds = [kind for kind, _ in trials]
    assert [kinds.count(k) for k in ("default", "anywhere", "part", "near")] == [2, 6, 8, 8]
    for kind, setting in trials:
        space.validate(setting)
        assert (setting == space.default()) == (kind == "default")


def test_a_table_is_continued_after_a_line_that_was_cut_off(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = scripts["collect"]
    monkeypatch.setattr(collect, "measure", lambda *_: scripts["pairs"].Measured(2.0, None, 0.1))
    pair, path = scripts["pairs"].Pair("histogram", "digits"), tmp_path / "table.jsonl"
    path.write_text('{"number": 0, "value": 1.0}\n{"number": 1, "val', encoding="utf-8")
    collect.collect(pair, path, 3, tmp_path / "cache", until=math.inf)
    found = {entry["number"]: entry for entry in collect.read(path)}
    assert sorted(found) == [0, 1, 2]
    assert found[0] == {"number": 0, "value": 1.0}
    assert (found[1]["value"], found[1]["kind"]) == (2.0, "part")


def test_a_surrogate_task_is_like_its_table(scripts: dict[str, ModuleType], task: Any) -> None:
    assert 0.05 < task.noise < 0.2
    assert task.error < 0.3
    good = task.card.space.activate({"conditionals": "kernel_density", "bandwidth": 0.05})
    far = {**good, "bandwidth": 0.5}
    assert task.truth(good) < task.truth(far) - 0.3
    drawn = [task.measure(good, np.random.default_rng(seed)) for seed in range(200)]
    logs = np.log([value for value in drawn if value is not None])
    assert logs.std() == pytest.approx(task.noise, rel=0.2)
    with pytest.raises(ValueError, match="wanted at least 3"):
        scripts["surrogate_tasks"].SurrogateTask(task.pair, _entries(scripts)[:5])


def test_rules_of_the_start(scripts: dict[str, ModuleType], task: Any) -> None:
    starts, space = scripts["starts"], task.card.space
    assert starts.parse_rule("spread=0.1:part=1") == starts.Rule(spread=0.1, part=1)
    with pytest.raises(ValueError, match="no key 'sprad'"):
        starts.parse_rule("sprad=0.1")
    assert starts.Rule(spread=0.1).propose(task, [], Key(3, 0)) == space.default()
    for number in range(1, 5):
        changed = starts.Rule(spread=0.1, part=1).propose(task, [], Key(3, number))
        space.validate(changed)
        shared = [name for name in space.default() if changed.get(name) == space.default()[name]]
        assert len(shared) >= len(space.default()) - 2
    anywhere = starts.Rule(spread=0.1, far=2).propose(task, [], Key(3, 2))
    assert anywhere == starts.Rule().propose(task, [], Key(3, 2))


def test_a_run_of_a_rule_ends_with_a_choice(scripts: dict[str, ModuleType], task: Any) -> None:
    first, second = (scripts["starts"].run(task, scripts["starts"].Rule(), 1, budgets=(6,)) for _ in range(2))
    assert first == second
    assert first[0] <= 0.3


def test_likely_values_are_those_of_the_best_settings(scripts: dict[str, ModuleType]) -> None:
    learn = scripts["learn"]
    space = SearchSpace(
        (
            Parameter("rate", "float", 1e-3, low=1e-5, high=1e-1, log=True),
            Parameter("free", "float", 0.5, low=0.0, high=1.0),
            Parameter("norm", "categorical", "none", choices=("none", "layer", "batch")),
        )
    )
    rng = np.random.default_rng(0)
    good = np.stack([0.75 + 0.05 * rng.standard_normal(500), rng.random(500), np.full(500, 0.5)], axis=1)
    found = learn.likely(space, [good, good])
    assert found["norm"] == ["layer"]
    assert "free" not in found
    assert found["rate"] == pytest.approx([10 ** (-2.2), 10 ** (-1.8)], rel=0.1)


def test_what_is_learned_for_a_pair_leaves_its_data_set_out(
    scripts: dict[str, ModuleType], task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts["learn"], "POINTS", 128)
    other = copy.copy(task)
    other.pair = scripts["pairs"].Pair(FAMILY, "two_moons")
    tasks = [task, other]
    found = scripts["learn"].without_own_data({FAMILY: tasks, "pca": []})
    assert list(found) == ["naive_bayes-digits", "naive_bayes-two_moons"]
    assert set(found["naive_bayes-digits"]["noise"]) == {"sliced_wasserstein"}
    assert set(found["naive_bayes-two_moons"]["noise"]) == {"fid"}
    card = scripts["learn"].with_likely(tasks[0].card, found["naive_bayes-digits"])
    assert card.noise == found["naive_bayes-digits"]["noise"]


def _run(test: list[float | None], default: list[float | None]) -> dict[str, Any]:
    return {"test": test, "default": default}


def test_figures_of_runs_are_logs_of_ratios(scripts: dict[str, ModuleType]) -> None:
    ratios, store = scripts["ratios"], sys.modules["store"]
    runs = {}
    for seed in range(3):
        for method, factor in (("ours", 0.5), ("tpe", 1.0 + 0.1 * seed)):
            for pair in ("a", "b"):
                job = store.Job(method, method, "1", f"{pair}@shipped", seed, 10)
                runs[job] = _run([2.0 * factor, 4.0 * factor], [3.0, 3.0])
    runs[store.Job("ours", "ours", "1", "a@shipped", 0, 3)] = _run([3.0, None], [3.0, 3.0])
    found = ratios.report(runs)
    (table,) = found.tables
    assert table.ratios["ours", 10]["b"][2] == pytest.approx(math.log(0.5))
    # The worst final of the pair is 4.8, TPE's with the last seed.
    assert table.ratios["ours", 3]["a"][0] == pytest.approx(math.log((3.0 + 4.8) / 2 / 3.0))
    assert set(table.worse("ours", 10).values()) == {1.0}
    text = "\n".join(found.lines())
    assert "| Gentune, one speed | 6 | 0.500 [0.500, 0.500]" in text
    assert "| 3 | 1 |" in text


def test_a_pair_that_tuning_makes_worse_is_found(scripts: dict[str, ModuleType]) -> None:
    by_pair = {"worse": {0: 0.30, 1: 0.32, 2: 0.29, 3: 0.31}, "level": {0: 0.1, 1: -0.1, 2: 0.05, 3: -0.02}}
    chances = scripts["ratios"].Table("shipped", {("ours", 10): by_pair}).worse("ours", 10)
    assert chances["worse"] < 0.01
    assert chances["level"] > 0.2


def test_what_is_expected_of_a_parameter_is_its_likely_middle_or_its_default(scripts: dict[str, ModuleType]) -> None:
    centre = scripts["priorband_method"].centre
    assert centre(Parameter("x", "float", 0.5, low=0.1, high=10.0, log=True)) == 0.5
    likely = Parameter("x", "float", 0.5, low=0.1, high=10.0, log=True, likely=(0.2, 0.8))
    assert centre(likely) == pytest.approx(0.4)
    assert centre(Parameter("n", "int", 1, low=1, high=9, likely=(3, 5))) == 4
    assert centre(Parameter("c", "categorical", "a", choices=("a", "b", "c"), likely=("c",))) == "c"
    assert centre(Parameter("c", "categorical", "a", choices=("a", "b", "c"), likely=("c", "a"))) == "a"


SERVER = """
import json, sys
told = []
for line in sys.stdin:
    message = json.loads(line)
    told.append(message)
    trial = {"id": "1_rung_0", "setting": {"x": 0.25, "hidden": 3}, "units": 1, "parent": None}
    if len(told) > 4:
        sys.exit(3)
    print(json.dumps(trial if "ask" in message else {}), flush=True)
"""


def test_priorband_is_asked_and_told_through_a_pipe(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "priorband_server.py").write_text(SERVER, encoding="utf-8")
    monkeypatch.setattr(scripts["priorband_method"], "SERVERS", tmp_path)
    on = Parameter("on", "categorical", False, choices=(True, False))
    hidden = Parameter("hidden", "int", 2, low=1, high=4, when={"on": (True,)})
    space = SearchSpace((Parameter("x", "float", 0.5, low=0.0, high=1.0), on, hidden))
    rival = scripts["priorband_method"].PriorBand(space, 1, Path(sys.executable))
    first = rival.ask()
    assert (first.setting, first.fidelity) == (space.default(), 1.0)
    rival.tell(first, 3.0)
    second = rival.ask()
    assert (second.setting, second.fidelity, second.parent) == ({"x": 0.25, "on": False}, 0.25, None)
    rival.tell(second, None)
    with pytest.raises(RuntimeError, match="ended with code 3"):
        rival.ask()
    rival.close()
    assert json.loads(json.dumps(scripts["priorband_method"].describe(space)))[2]["centre"] == 2


def test_the_runs_that_are_wanted(scripts: dict[str, ModuleType]) -> None:
    jobs = scripts["run"].wanted(["ours", "tpe"], ["pca-digits"], 2, ["shipped"])
    assert len(jobs) == len(set(jobs)) == 2 * (2 + len(scripts["run"].CURVE))
    assert {job.task for job in jobs} == {"pca-digits@shipped"}
