"""What a study has learned: predictions, importances, slices, their artifact and their section of the report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from gentune.bench import protocol
from gentune.bench.artifacts.study_explanation import write_explanation
from gentune.bench.data import DataRef
from gentune.bench.driver.comparison import ComparisonDriver
from gentune.bench.driver.run_setup import describe
from gentune.bench.proposal import Explanation, Observation, explain
from gentune.bench.proposal.encoding import Encoding
from gentune.bench.proposal.explanation import _inverse, grid
from gentune.bench.proposal.importance import ped_anova
from gentune.bench.proposal.outputs import standardise
from gentune.bench.runs.records import Record, State
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_file import StudyFile
from gentune.reports import write_report
from gentune.reports.surrogate_plots import importance_plot, surrogate_plots
from gentune.search_spaces import Parameter, SearchSpace
from gentune.search_spaces.space import Setting, Value

SMOOTH = SearchSpace(tuple(Parameter(name, "float", 0.5, low=0.0, high=1.0) for name in ("a", "b", "c", "unused")))
NESTED = SearchSpace(
    (
        Parameter("rate", "float", 1e-3, low=1e-5, high=1e-1, log=True),
        Parameter("layers", "int", 2, low=1, high=4),
        Parameter("norm", "categorical", "none", choices=("none", "batch")),
        Parameter("momentum", "float", 0.9, low=0.5, high=1.0, when={"norm": ("batch",)}),
        Parameter("fixed", "float", 1.0, low=1.0, high=1.0),
    )
)


def smooth(setting: Setting) -> float:
    """Additive; shares of the variance are about 0.37, 0.58, 0.05 and 0."""
    a, b, c = (float(setting[name] or 0.0) for name in "abc")
    return 3.0 * (a - 0.3) ** 2 + math.sin(4.0 * b) + 0.5 * c


def nested(setting: Setting) -> float:
    rate = float(setting["rate"] or 0.0)
    return abs(math.log10(rate) + 3.0) + (2.0 * float(setting.get("momentum") or 0.0) if "momentum" in setting else 1.0)


def scattered(space: SearchSpace, n: int, seed: int = 0) -> list[dict[str, Value]]:
    encoding = Encoding(space)
    return [encoding.decode(row) for row in encoding.snap(np.random.default_rng(seed).random((n, len(space))))]


def observe(
    space: SearchSpace, truth: Callable[[Setting], float], n: int, *, seed: int = 0, noise: float = 0.0
) -> list[Observation]:
    rng = np.random.default_rng([seed, 1])
    return [Observation(s, (truth(s) + noise * rng.standard_normal(),)) for s in scattered(space, n, seed)]


# Predictions


@pytest.mark.parametrize("exponential", [False, True])
def test_intervals_hold_the_truth_about_as_often_as_they_say(exponential: bool) -> None:
    def truth(setting: Setting) -> float:
        return math.exp(2.0 * smooth(setting)) if exponential else smooth(setting)

    held = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        noisy = [
            Observation(s, (truth(s) * math.exp(0.1 * e) if exponential else truth(s) + 0.1 * e,))
            for s, e in zip(scattered(SMOOTH, 16, seed), rng.standard_normal(16), strict=True)
        ]
        new = scattered(SMOOTH, 100, 1000 + seed)
        predicted = Explanation(SMOOTH, noisy).predict(new)
        assert predicted.success is None
        assert ((predicted.low <= predicted.mean) & (predicted.mean <= predicted.high)).all()
        true = np.array([truth(s) for s in new])
        held.append(((predicted.low <= true) & (true <= predicted.high)).mean())
    assert 0.90 <= np.mean(held) <= 0.995


def test_predictions_are_in_the_objectives_own_units_and_sign() -> None:
    lower = Explanation(SMOOTH, observe(SMOOTH, lambda s: 1000.0 + smooth(s), 30))
    higher = Explanation(SMOOTH, observe(SMOOTH, lambda s: 1000.0 + smooth(s), 30), direction="higher")
    new = scattered(SMOOTH, 20, 5)
    a, b = lower.predict(new), higher.predict(new)
    np.testing.assert_allclose(a.mean, [1000.0 + smooth(s) for s in new], atol=0.3)
    np.testing.assert_allclose(b.mean, -a.mean)
    np.testing.assert_allclose(b.low, -a.high)
    assert lower.recommended == higher.recommended
    assert smooth(lower.recommended) <= sorted(smooth(o.setting) for o in lower.observations)[1]


def test_two_objectives_are_explained_one_by_one() -> None:
    observations = [
        Observation(o.setting, (o.values[0], 5.0 + float(o.setting["c"] or 0.0)))
        for o in observe(SMOOTH, smooth, 20)
        if o.values
    ]
    assert max(Explanation(SMOOTH, observations, 0).importance().total.items(), key=lambda i: i[1])[0] == "b"
    assert Explanation(SMOOTH, observations, 1).importance().total["c"] > 0.9
    with pytest.raises(ValueError, match="objective 2 is asked for; a trial has 2"):
        Explanation(SMOOTH, observations, 2)


@pytest.mark.parametrize(
    "values",
    [
        np.array([3.0, 1.0, 2.0, 2.0, 5.0]),
        np.exp(np.linspace(0.0, 12.0, 9)),
        np.array([10.0, 11.0, 12.0, 13.0, 1e9]),
        np.array([-1e308, 0.0, 1e308, 5.0]),
        np.array([7.0, 7.0, 7.0, 7.0]),
        np.array([1.0, 2.0, math.inf, 3.0]),
    ],
)
def test_the_way_back_meets_every_observation_and_never_turns(values: np.ndarray) -> None:
    y = standardise(values)
    invert = _inverse(values, y)
    finite = np.isfinite(values)
    np.testing.assert_allclose(invert(y)[finite], values[finite], rtol=1e-6, atol=1e-12 * np.abs(values[finite]).max())
    there = invert(np.linspace(-6.0, 6.0, 200))
    assert not np.isnan(there).any()
    assert (np.diff(there[np.isfinite(there)]) >= 0).all()


def test_distances_stay_positive_where_the_surrogate_works_on_logarithms() -> None:
    values = np.exp(np.linspace(0.0, 8.0, 12))
    assert (_inverse(values, standardise(values))(np.array([-9.0, -4.0])) > 0).all()


def test_where_trials_fail_success_is_improbable() -> None:
    observations = [Observation(s, None if float(s["a"] or 0.0) > 0.6 else (smooth(s),)) for s in scattered(SMOOTH, 40)]
    explanation = Explanation(SMOOTH, observations)
    cut = explanation.slice_1d("a", {"b": 0.5, "c": 0.5}, points=11)
    assert cut.success is not None
    assert (cut.success[:5] > 0.7).all() and (cut.success[-3:] < 0.3).all()
    found = explanation.predict([{"a": 0.1}, {"a": 0.95}]).success
    assert found is not None and found[0] > 0.8 > 0.2 > found[1]


# Importances


def test_total_indices_order_an_additive_function() -> None:
    importance = Explanation(SMOOTH, observe(SMOOTH, smooth, 60)).importance()
    total, first = importance.total, importance.first
    assert total["b"] > total["a"] > total["c"] > total["unused"]
    assert total["unused"] < 0.01
    a, b, c = (np.var([smooth({"a": 0.3, "b": 0.0, "c": 0.0, n: x}) for x in np.linspace(0, 1, 999)]) for n in "abc")
    for name, share in zip("abc", np.array([a, b, c]) / (a + b + c), strict=True):
        assert total[name] == pytest.approx(share, abs=0.05)
        assert first[name] == pytest.approx(share, abs=0.05)  # nothing interacts
    assert importance.known > 0.9


def test_an_interaction_shows_in_the_total_index_alone() -> None:
    def product(setting: Setting) -> float:
        return (float(setting["a"] or 0.0) - 0.5) * (float(setting["b"] or 0.0) - 0.5)

    importance = Explanation(SMOOTH, observe(SMOOTH, product, 80)).importance()
    assert importance.first["a"] < 0.1 and importance.first["b"] < 0.1
    assert importance.total["a"] > 0.8 and importance.total["b"] > 0.8


def test_a_single_parameter_answers_for_everything() -> None:
    space = SearchSpace((Parameter("only", "float", default=0.5, low=0.0, high=1.0),))
    observations = observe(space, lambda setting: (cast("float", setting["only"]) - 0.3) ** 2, 12)
    importance = Explanation(space, observations).importance()
    assert importance.total == importance.first == {"only": 1.0}
    assert ped_anova(space, observations) == {"only": 1.0}


def test_where_all_scores_are_equal_nothing_matters() -> None:
    explanation = Explanation(SMOOTH, observe(SMOOTH, lambda s: 3.0, 6))
    importance = explanation.importance()
    assert set(importance.total.values()) == set(importance.first.values()) == {0.0}
    assert explanation.predict([{}]).mean[0] == 3.0


def test_a_switch_answers_for_what_hangs_on_it() -> None:
    observations = observe(NESTED, nested, 60)
    importance = Explanation(NESTED, observations).importance()
    assert importance.total["rate"] > importance.total["norm"] > importance.total["layers"]
    assert importance.total["momentum"] > importance.total["layers"]
    assert importance.total["fixed"] == importance.first["fixed"] == 0.0


def test_ped_anova_names_what_tells_good_trials_from_others() -> None:
    shares = ped_anova(SMOOTH, observe(SMOOTH, lambda s: float(s["a"] or 0.0), 80))
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["a"] > 0.7
    assert set(ped_anova(SMOOTH, observe(SMOOTH, smooth, 1)).values()) == {0.0}
    failed = [Observation(s, None) for s in scattered(SMOOTH, 5)]
    assert set(ped_anova(SMOOTH, failed).values()) == {0.0}
    nested_shares = ped_anova(NESTED, observe(NESTED, nested, 30))
    assert list(nested_shares) == list(NESTED.names) and nested_shares["fixed"] == 0.0


# Slices


def test_bands_of_a_slice_hold_the_truth() -> None:
    explanation = Explanation(SMOOTH, observe(SMOOTH, smooth, 40, noise=0.05))
    held = []
    for name in SMOOTH.names:
        cut = explanation.slice_1d(name)
        true = np.array([smooth({**explanation.recommended, name: v}) for v in cut.values[0]])
        held.append(((cut.low <= true) & (true <= cut.high)).mean())
        assert cut.around == explanation.recommended
    assert np.mean(held) >= 0.9
    square = explanation.slice_2d("a", "b", points=7)
    true = np.array([[smooth({**square.around, "a": a, "b": b}) for b in square.values[1]] for a in square.values[0]])
    assert ((square.low <= true) & (true <= square.high)).mean() >= 0.9


def test_grids_follow_the_scale_of_the_parameter() -> None:
    rates = grid(NESTED["rate"], 5)
    np.testing.assert_allclose(np.log10(np.array(rates, dtype=float)), [-5, -4, -3, -2, -1])
    assert grid(NESTED["layers"], 33) == (1, 2, 3, 4)
    assert grid(NESTED["norm"], 2) == ("none", "batch")
    assert grid(Parameter("w", "int", 64, low=16, high=1024, log=True), 4) == (16, 64, 256, 1024)
    assert grid(Parameter("s", "float", 0.0, low=0.0, high=1.0, step=0.3), 33) == pytest.approx((0.0, 0.3, 0.6, 0.9))


def test_slices_of_conditional_parameters() -> None:
    explanation = Explanation(NESTED, observe(NESTED, nested, 40))
    off: dict[str, Value]
    on: dict[str, Value]
    off, on = {"norm": "none"}, {"norm": "batch", "momentum": 0.7}
    assert explanation.sliceable(off) == ("rate", "layers", "norm")
    assert explanation.sliceable(on) == ("rate", "layers", "norm", "momentum")
    with pytest.raises(ValueError, match=r"momentum cannot be sliced: inactive .*norm in \['batch'\]"):
        explanation.slice_1d("momentum", off)
    along = explanation.slice_1d("momentum", on, points=5)
    assert (np.diff(along.mean) > 0).all()
    across = explanation.slice_2d("norm", "momentum", off, points=5)
    assert np.isnan(across.mean[0]).all() and np.isfinite(across.mean[1]).all()
    with pytest.raises(ValueError, match="cannot be sliced"):
        explanation.slice_2d("rate", "momentum", off)


def test_wrong_questions_get_one_line() -> None:
    explanation = Explanation(NESTED, observe(NESTED, nested, 10))
    for ask, message in (
        (lambda: explanation.slice_1d("rat"), "unknown parameter 'rat'; did you mean 'rate'"),
        (lambda: explanation.slice_2d("rate", "rate"), "needs two parameters"),
        (lambda: explanation.predict([{"rate": 7.0}]), "wanted float from 1e-05 to 0.1"),
        (lambda: explanation.predict([{"depth": 7}]), "unknown parameter 'depth'"),
        (lambda: Explanation(NESTED, observe(NESTED, nested, 3)), "3 of 3 trials succeeded"),
    ):
        with pytest.raises(ValueError, match=message):
            ask()


# The artifact and the page


def test_an_explanation_is_plain_json_and_the_same_each_time() -> None:
    observations = [*observe(NESTED, nested, 12), Observation(NESTED.default(), None)]
    content = explain(NESTED, observations, ["fid"], around={"norm": "batch"})
    assert content == explain(NESTED, observations, ["fid"], around={"norm": "batch"})
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert (content["trials"], content["failed"]) == (13, 1)
    entry = content["objectives"]["fid"]
    assert {cut["parameters"][0] for cut in entry["slices"]} == {"rate", "layers", "norm", "momentum"}
    totals = [entry["importance"]["total"][cut["parameters"][0]] for cut in entry["slices"]]
    assert totals == sorted(totals, reverse=True)
    (pair,) = entry["pairs"]
    assert pair["parameters"] == [cut["parameters"][0] for cut in entry["slices"][:2]]
    assert len(pair["mean"]) == len(pair["values"][0]) and len(pair["mean"][0]) == len(pair["values"][1])


def test_odd_studies_are_explained_or_say_why_not() -> None:
    few = [*observe(NESTED, nested, 3), Observation(NESTED.default(), None)]
    assert explain(NESTED, few, ["fid"])["objectives"]["fid"] == {
        "direction": "lower",
        "undefined": "3 of 4 trials succeeded; 4 are needed",
    }
    single = SearchSpace((NESTED["fixed"],))
    for space in (SearchSpace(()), single):
        entry = explain(space, [Observation(space.default(), (v,)) for v in (1.0, 2.0, 3.0, 4.0)], ["fid"])
        assert entry["objectives"]["fid"]["slices"] == []
    for values in ((1e308, -1e308, 0.0, 1.0, 2.0), (1.0, 2.0, 3.0, 4.0, math.inf)):
        observations = [Observation(s, (v,)) for s, v in zip(scattered(NESTED, 5), values, strict=True)]
        json.dumps(explain(NESTED, observations, ["fid"]), allow_nan=False)


def _folder(path: Path, objective: str = "fid") -> RunFolder:
    families = ("ddpm", "wgan_gp", "gaussian_mixture")
    study = StudyFile(data=DataRef("digits"), families=families, trainings=4, objective=(objective,))
    folder = RunFolder.create_or_match(path, study)
    direction = "higher" if objective == "recall" else "lower"
    for family, count in zip(families, (20, 3, 0), strict=True):
        records, observations = [], []
        for number, setting in enumerate(scattered(NESTED, count)):
            failed = number % 5 == 4
            score = None if failed else (nested(setting) if direction == "lower" else 9.0 - nested(setting),)
            state: State = "failed" if failed else "complete"
            records.append(
                Record("trial", family, number, 0, "validation", state, setting, objectives=score, reason="diverged")
            )
            folder.write_record(records[-1])
            sign = 1.0 if direction == "lower" else -1.0
            observations.append(Observation(setting, None if score is None else (sign * score[0],)))
        if count:
            first = [records[0]]
            write_explanation(folder, family, NESTED, observations, (objective,), (direction,), first)
    return folder


def test_the_artifact_of_a_study_is_around_its_incumbent_in_the_objectives_own_direction(tmp_path: Path) -> None:
    lower, higher = _folder(tmp_path / "a"), _folder(tmp_path / "b", "recall")
    for folder, metric in ((lower, "fid"), (higher, "recall")):
        content = folder.read_json("explanations/ddpm.json")
        assert (content["trials"], content["failed"]) == (20, 4)
        around = content["objectives"][metric]["around"]
        assert around["params"] == dict(folder.records("trial")[0].params)
        assert around["low"] <= around["mean"] <= around["high"]
        assert 0.0 <= around["success"] <= 1.0
    a, b = (
        np.array(f.read_json("explanations/ddpm.json")["objectives"][m]["slices"][0]["mean"])
        for f, m in ((lower, "fid"), (higher, "recall"))
    )
    assert np.corrcoef(a, b)[0, 1] < -0.9


def test_the_page_shows_what_mattered(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "run")
    page = write_report(folder, ["html"]).read_text(encoding="utf-8")
    assert 'id="explanations"' in page and "What mattered" in page
    assert "3 of 3 trials succeeded; 4 are needed" in page
    assert page.count('data-figure="explanation-0-') == 1 + 3 + 1
    entries, figures = surrogate_plots(
        folder,
        ["ddpm", "wgan_gp", "gaussian_mixture"],
        dict.fromkeys(("ddpm", "wgan_gp", "gaussian_mixture"), ("#0072B2", "circle")),
    )
    assert [e["family"] for e in entries] == ["ddpm", "wgan_gp"]
    assert [key for key, _ in entries[0]["figures"]] == list(figures)
    bars = figures["explanation-0-0-0"]["data"]
    assert bars[0]["y"][0] == "rate"
    assert all(total >= 0.0 for total in bars[0]["x"])


def test_long_names_of_parameters_take_two_lines() -> None:
    indices = {"learning_rate_discriminator": 0.5, "learning_rate": 0.4, "incomprehensibilities": 0.1}
    plot = importance_plot({"first": indices, "total": indices, "ped_anova": indices}, "#000000")
    axis = plot["layout"]["yaxis"]
    assert axis["tickvals"] == list(indices)
    assert axis["ticktext"] == ["learning_rate_<br>discriminator", "learning_rate", "incomprehensibilities"]


def test_a_run_without_explanations_has_no_section(tmp_path: Path) -> None:
    study = StudyFile(data=DataRef("digits"), families=("ddpm",), trainings=4, objective=("fid",))
    page = write_report(RunFolder.create_or_match(tmp_path / "run", study), ["html"]).read_text(encoding="utf-8")
    assert "What mattered" not in page


@pytest.mark.slow
def test_a_comparison_explains_its_studies(tmp_path: Path, tiny_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SAMPLES", 200)
    monkeypatch.setattr(protocol, "MOST_FINAL_SAMPLES", 400)
    options = {"data": "two_moons", "families": ["tiny"], "plugins": [str(tiny_plugin)], "objective": ["nll"]}
    folder = RunFolder.create_or_match(
        tmp_path / "run",
        describe(None, {**options, "executor": "in_process", "seeds": 1, "choice_seeds": 1, "trainings": 7}),
    )
    ComparisonDriver(folder).run()
    content = folder.read_json("explanations/tiny.json")
    trials = folder.records("trial")
    assert content["trials"] == len(trials)
    assert content["failed"] == sum(r.state == "failed" for r in trials)
    entry = content["objectives"]["nll"]
    (incumbent,) = folder.read_json("incumbents.json")["tiny"]
    assert entry["around"]["params"] == incumbent["params"]
    assert "What mattered" in write_report(folder, ["html"]).read_text(encoding="utf-8")
