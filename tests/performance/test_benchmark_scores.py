"""The figures of the proposal benchmark, and that its command takes up where it stopped."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "proposals"


@pytest.fixture
def scores(bench: dict[str, ModuleType]) -> ModuleType:
    return bench["scores"]


def planted(shift: float, tasks: int = 4, seeds: int = 20) -> tuple[dict[str, dict[int, float]], ...]:
    """Two methods' areas with noise in common and of their own, the first lower by `shift`."""
    rng = np.random.default_rng(0)
    ours: dict[str, dict[int, float]] = {}
    rival: dict[str, dict[int, float]] = {}
    for t in range(tasks):
        common = rng.uniform(0.2, 0.4, seeds)
        own = rng.normal(0.0, 0.02, (2, seeds))
        ours[f"t{t}"] = dict(enumerate(common + own[0] - shift))
        rival[f"t{t}"] = dict(enumerate(common + own[1]))
    return ours, rival


def test_area_by_hand(scores: ModuleType) -> None:
    # Trials 1 to 9 do not count; of 10, 11 and 12 one has no setting to name.
    assert scores.area([9.0] * 9 + [0.5, None, 0.3]) == pytest.approx((0.5 + 1.0 + 0.3) / 3)
    with pytest.raises(ValueError, match="got 9 trials"):
        scores.area([0.1] * 9)


def test_regrets_are_those_of_the_named_setting(scores: ModuleType) -> None:
    result = {"named": [None, [0, 4.0], [0, 4.0], [2, None], [3, 1.0]]}
    assert scores.regrets(result, lambda value: value / 2) == [None, 2.0, 2.0, None, 0.5]


def test_failed_share_leaves_out_the_start(scores: ModuleType) -> None:
    assert scores.failed_share([None] * 5 + [1.0, None, 2.0, 3.0]) == 0.25


def test_finds_a_planted_difference(scores: ModuleType) -> None:
    found = scores.compare(*planted(0.05))
    assert found.difference_interval.low < -0.05 + 0.01 and found.difference_interval.high < -0.03
    assert found.difference_elsewhere.high < 0
    assert found.ratio == pytest.approx(found.ours / found.rival) and found.ratio_interval.high < 1
    assert found.wins_ties_losses == (4, 0, 0)
    assert scores.compare(*reversed(planted(0.05))).wins_ties_losses == (0, 0, 4)


def test_equal_methods_tie(scores: ModuleType) -> None:
    ours, _ = planted(0.0)
    found = scores.compare(ours, ours)
    assert (found.difference, found.ratio) == (0.0, 1.0)
    assert (found.difference_interval.low, found.difference_interval.high) == (0.0, 0.0)
    assert found.wins_ties_losses == (0, 4, 0)


def test_intervals_hold_the_true_difference_as_often_as_they_say(scores: ModuleType) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        pairs = [rng.normal([0.3, 0.4], 0.1, (20, 2)) for _ in range(3)]
        draws = scores.bootstrap(pairs, tasks=False, draws=400)
        found = scores.interval(draws[:, 0] - draws[:, 1])
        held += found.low <= -0.1 <= found.high
    # 0.95 less the percentile bootstrap's shortfall at 20 seeds, within three standard errors.
    assert 0.89 <= held / 300 <= 0.985


def test_bootstrap_is_deterministic(scores: ModuleType) -> None:
    pairs = [np.random.default_rng(0).random((5, 2)), np.random.default_rng(1).random((3, 2))]
    for tasks in (False, True):
        first, second = (scores.bootstrap(pairs, tasks=tasks, draws=50) for _ in range(2))
        assert np.array_equal(first, second)
    assert not np.array_equal(first, scores.bootstrap(pairs, tasks=True, draws=50, seed=1))


def test_tasks_weigh_alike_and_only_common_seeds_count(scores: ModuleType) -> None:
    ours = {"many": dict.fromkeys(range(20), 0.2), "few": {0: 0.4, 1: 0.9}, "alone": {0: 5.0}}
    rival = {"many": dict.fromkeys(range(20), 0.4), "few": {0: 0.8}}
    found = scores.compare(ours, rival)
    assert (found.runs, found.ours, found.rival) == (21, pytest.approx(0.3), pytest.approx(0.6))
    assert scores.compare(ours, {}) is None


def test_best_rival_is_judged_on_common_runs(scores: ModuleType) -> None:
    ours = {"t": {0: 0.2, 1: 0.8}}
    better_where_it_ran = scores.compare(ours, {"t": {1: 0.7}})
    lower_on_average = scores.compare(ours, {"t": {0: 0.4, 1: 0.9}})
    assert scores.best_rival({"a": better_where_it_ran, "b": lower_on_average}) == "a"


def test_method_keywords(bench: dict[str, ModuleType]) -> None:
    split = bench["methods"].split
    assert split("gentune:start=8:a=0.5:b=true:c=none:d=rank") == (
        "gentune",
        {"start": 8, "a": 0.5, "b": True, "c": None, "d": "rank"},
    )
    for bad, message in (("gentoon", "unknown method"), ("gp:5", "keyword=value"), ("ax:seed=1", "no keywords")):
        with pytest.raises(ValueError, match=message):
            split(bad)


def test_runs_of_two_methods_share_the_noise(bench: dict[str, ModuleType]) -> None:
    task = bench["toy_catalogue"].TASKS["toy"]
    traces = [bench["methods"].run(name, task, 3, 12) for name in ("random", "tpe")]
    noises = []
    for trace in traces:
        for setting in trace.settings:
            assert ("depth" in setting) == (setting["kind"] == "b")
        assert any(value is None for value in trace.values) == any(s["rate"] > 0.7 for s in trace.settings)
        noises.append(
            {
                k: v - task.truth(s)
                for k, (s, v) in enumerate(zip(trace.settings, trace.values, strict=True))
                if v is not None
            }
        )
    common = noises[0].keys() & noises[1].keys()
    assert len(common) > 5
    assert [noises[0][k] for k in common] == pytest.approx([noises[1][k] for k in common])
    assert len(set(noises[0].values())) == len(noises[0])


def test_rivals_name_their_best_observed_and_gentune_what_it_recommends(
    bench: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    methods, task = bench["methods"], bench["toy_catalogue"].TASKS["toy"]
    trace = methods.run("random", task, 0, 12)
    for k, named in enumerate(trace.named):
        seen = [math.inf if v is None else v for v in trace.values[: k + 1]]
        assert named == (int(np.argmin(seen)), task.truth(trace.settings[int(np.argmin(seen))]))

    answers = iter((4, 0, 9))  # after trials 10, 11 and 12
    method = methods.OptunaMethod(methods.sampler("random", {}, 0), task.space)
    monkeypatch.setattr(method, "name", lambda: next(answers))
    monkeypatch.setattr(methods, "create", lambda *_: method)
    trace = methods.run("gentune", task, 0, 12)
    assert [named[0] for named in trace.named[9:]] == [4, 0, 9]
    assert next(answers, None) is None


def test_hypervolume_by_hand(bench: dict[str, ModuleType]) -> None:
    points = np.array([[1.0, 3.0], [2.0, 1.0], [2.5, 2.0], [5.0, 0.0], [1.0, 3.5]])
    assert bench["two_objectives"].hypervolume(points, np.array([4.0, 4.0])) == pytest.approx(3.0 + 4.0)


def test_page_keeps_what_stands_around_its_section(bench: dict[str, ModuleType]) -> None:
    put = bench["page"].put
    page = put("# Title\n\nbefore\n", "old", "proposals")
    page = put(page + "\nafter\n", "new", "proposals")
    assert "old" not in page and page.index("before") < page.index("new") < page.index("after")
    assert put(page, "new", "proposals") == page
    with pytest.raises(ValueError, match="only one"):
        put("<!-- proposals:begin -->", "new", "proposals")


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on the toy catalogue, with its results in `folder`."""
    fixed = ("--catalogue", "toy_catalogue", "--trials", "12", "--results", str(folder / "results"))
    return subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), *fixed, *arguments],
        env={"PYTHONPATH": f"{folder}:{FOLDER.parents[2]}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_takes_up_where_it_stopped(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    first = command(tmp_path, "--methods", "random", "--seeds", "2")
    assert first.returncode == 0, first.stderr
    files = sorted((tmp_path / "results").rglob("*.json"))
    assert len(files) == 2
    stored = {f: f.read_bytes() for f in files}
    assert json.loads(stored[files[0]])["task"] == "toy"

    files[1].unlink()
    second = command(tmp_path, "--methods", "random,tpe", "--seeds", "2")
    assert "1 of 4 runs are done" in second.stdout and second.returncode == 0
    strip = {"seconds", "cpu_seconds", "ask_seconds", "recommend_seconds"}
    again = {f: json.loads(f.read_bytes()) for f in files}
    assert files[0].read_bytes() == stored[files[0]]
    assert {k: v for k, v in again[files[1]].items() if k not in strip} == {
        k: v for k, v in json.loads(stored[files[1]]).items() if k not in strip
    }

    shown = command(tmp_path, "--methods", "random,tpe", "--seeds", "2", "--report", "--ours", "tpe")
    assert shown.returncode == 0 and "against" in shown.stdout and "missing" not in shown.stdout
    assert command(tmp_path, "--methods", "tpe", "--tasks", "toyy").stderr.startswith(
        "run.py: no task 'toyy'; known: toy"
    )


def test_report_tells_results_of_a_task_that_has_changed(bench: dict[str, ModuleType]) -> None:
    task = bench["toy_catalogue"].TASKS["toy"]
    result = asdict(bench["methods"].run("random", task, 0, 12))
    is_changed = bench["report"].is_changed
    assert not is_changed(task, result)
    assert is_changed(replace(task, truth=lambda s: task.truth(s) + 0.01), result)
    assert is_changed(replace(task, space=task.space.only("loop")), result)


def test_results_of_other_sources_are_not_taken(bench: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    store = bench["store"]
    now = store.job("gentune:start=8", "toy", 0, 50)
    assert now.path(Path("r")) != store.job("gentune", "toy", 0, 50).path(Path("r"))
    assert store.job(f"gentune:start=8@{now.version}", "toy", 0, 50).path(Path("r")) == now.path(Path("r"))
    monkeypatch.setattr(store, "engine_files", lambda: [Path(__file__)])
    store.version.cache_clear()
    assert store.job("gentune:start=8", "toy", 0, 50).path(Path("r")) != now.path(Path("r"))


def test_a_failing_run_is_shown_and_kept_from_the_results(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    toy = (tmp_path / "toy_catalogue.py").read_text(encoding="utf-8")
    (tmp_path / "broken.py").write_text(f"{toy}\ndel truth\n", encoding="utf-8")
    result = command(tmp_path, "--catalogue", "broken", "--methods", "random", "--seeds", "1")
    assert result.returncode == 1 and "NameError" in result.stderr and "1 of 1 runs failed" in result.stderr
    assert not list((tmp_path / "results").rglob("*.json"))


def test_a_piece_is_taken_away_for_one_run_alone(bench: dict[str, ModuleType]) -> None:
    from gentune.bench.proposal import acquisition, feasibility

    without = bench["ablations"].without
    before = acquisition._LEVEL
    with without("level"):
        assert acquisition._LEVEL == 0.0
    assert before == acquisition._LEVEL
    with without("level+caution"):
        assert (acquisition._LEVEL, feasibility._CAUTION) == (0.0, 0.0)
    assert before == acquisition._LEVEL
    for piece in bench["ablations"].PIECES:
        with without(piece):
            pass
    with pytest.raises(ValueError, match="known: additive"), without("addition"):
        pass


def test_the_variant_is_chosen_without_the_group_that_is_left_out(bench: dict[str, ModuleType]) -> None:
    def runs(*levels: float) -> dict[str, dict[int, float]]:
        return {f"t{i}": {0: level, 1: level + 0.02} for i, level in enumerate(levels)}

    groups = {"a": ["t0"], "b": ["t1"], "c": ["t2"]}
    # `odd` is the best of all together by its figure on c alone, which has no say about c.
    scores = {"plain": runs(0.2, 0.2, 0.5), "odd": runs(0.25, 0.25, 0.1), "rival": runs(0.4, 0.4, 0.4)}
    found = bench["choose"].choose(scores, ["plain", "odd"], ["rival"], groups)
    assert {group: left.chosen for group, left in found.groups.items()} == {"a": "odd", "b": "odd", "c": "plain"}
    assert found.best == "odd"
    ours = (0.26 + 0.26 + 0.51) / 3
    assert found.overall["rival"].ours == pytest.approx(ours)
    assert found.overall["rival"].ratio == pytest.approx(ours / 0.41)
    assert found.tuned["rival"].ratio == pytest.approx((0.26 + 0.26 + 0.11) / 3 / 0.41)
    assert found.groups["c"].against["rival"].ratio == pytest.approx(0.51 / 0.41)
    assert found.overall["rival"].interval.low <= found.overall["rival"].ratio <= found.overall["rival"].interval.high
    assert found.groups["c"].often == {"plain": 1.0, "odd": 0.0}
    with pytest.raises(ValueError, match="run in 1 groups"):
        bench["choose"].choose(scores, ["plain"], ["rival"], {"a": ["t0"]})


def test_only_runs_that_all_variants_have_count(bench: dict[str, ModuleType]) -> None:
    groups = {"a": ["t0", "t1"], "b": ["t2"]}
    scores = {
        "one": {"t0": {0: 0.1, 1: 9.0}, "t1": {0: 9.0}, "t2": {0: 0.1}},
        "two": {"t0": {0: 0.2}, "t2": {0: 0.2}},
        "rival": {"t0": {0: 0.4}, "t2": {0: 0.4, 1: 9.0}},
    }
    found = bench["choose"].choose(scores, ["one", "two"], ["rival", "absent"], groups)
    assert (found.groups["a"].tasks, found.groups["a"].areas) == (1, {"one": 0.1, "two": 0.2})
    assert found.overall.keys() == {"rival"}
    assert found.overall["rival"].ratio == pytest.approx(0.25)


def test_groups_weigh_alike(scores: ModuleType) -> None:
    ours = {"a": {0: 0.1}, "b": {0: 0.1}, "c": {0: 0.1}, "d": {0: 0.5}}
    groups = {"many": ["a", "b", "c"], "few": ["d"], "none": ["e"]}
    assert scores.mean_score(ours) == pytest.approx(0.2)
    assert scores.mean_score(ours, groups) == pytest.approx(0.3)
    found = scores.compare(ours, {task: {0: 0.4} for task in ours}, groups)
    assert (found.runs, found.ours, found.ratio) == (4, pytest.approx(0.3), pytest.approx(0.75))
    part = scores.compare(ours, {task: {0: 0.4} for task in ours}, {"few": ["d"]})
    assert (part.runs, part.ours, set(part.outcomes)) == (1, pytest.approx(0.5), {"d"})


def test_the_best_observed_setting_is_scored_next_to_the_named_one(bench: dict[str, ModuleType]) -> None:
    methods, task = bench["methods"], bench["toy_catalogue"].TASKS["toy"]
    method = methods.OptunaMethod(methods.sampler("random", {}, 0), task.space)
    method.name = lambda: 0  # always the first trial
    trace = methods._run(method, task, 0, 12)
    assert [named[0] for named in trace.named[9:]] == [0, 0, 0]
    best = int(np.argmin([math.inf if v is None else v for v in trace.values]))
    assert best != 0
    assert trace.observed[-1] == (best, task.truth(trace.settings[best]))
    regrets = bench["scores"].regrets
    assert regrets(asdict(trace), float)[-1] == task.truth(trace.settings[0])
    assert regrets(asdict(trace), float, "observed")[-1] == task.truth(trace.settings[best])
    assert methods.run("random", task, 0, 12).observed is None


def test_the_default_is_the_first_trial_where_asked(bench: dict[str, ModuleType]) -> None:
    task = bench["toy_catalogue"].TASKS["toy"]
    trace = bench["methods"].run("tpe:default=true", task, 0, 12)
    assert trace.settings[0] == dict(task.space.default())
