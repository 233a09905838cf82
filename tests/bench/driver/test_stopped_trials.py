"""Trials whose training is stopped on the way: what they record and cost, and what a study makes of them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from gentune.bench import registry
from gentune.bench.budget.kinds import Seconds, Trainings
from gentune.bench.budget.operations import Operations
from gentune.bench.commands.cli import main
from gentune.bench.data import DataRef
from gentune.bench.driver.planning import PlannedTrial, TuningOptions
from gentune.bench.driver.study import FamilyStudy
from gentune.bench.proposal import Curve, Point, Proposal, StoppingRule
from gentune.bench.protocol import FEW, INTERMEDIATE_SHARES, shares_between
from gentune.bench.runs.constraints import parse_constraint
from gentune.bench.runs.optuna_store import OptunaStore
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RecordFolder
from gentune.bench.trial.execution import run_trial
from gentune.bench.trial.jobs import TrialJob
from gentune.search_spaces import load_card, shipped_cards
from gentune.search_spaces.card import parse_card

# --- trials ----------------------------------------------------------------------------------------------

CARD = next(load_card(p) for p in shipped_cards() if p.stem == "beta_vae")
SMALL = {"width": 8, "depth": 1, "latent_dim": 2}


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are no matter here."""
    monkeypatch.setattr("gentune.bench.protocol.SAMPLES", 100)
    monkeypatch.setattr("gentune.bench.protocol.MOST_FINAL_SAMPLES", 200)


def rule(value: float, begun: float = 0.0) -> StoppingRule:
    """Halving among three trainings that had this score at every share."""
    points = tuple(Point(f, (value,)) for f in INTERMEDIATE_SHARES)
    curves = tuple(Curve({}, f"other {i}", points) for i in range(3))
    return StoppingRule("halving", CARD.space, curves, "own", begun)


def trial(tmp_path: Path, number: int, cache: str = "cache", **options: Any) -> Record:
    known: dict[str, Any] = {
        "role": "trial",
        "family": registry.family("beta_vae").resolved(),
        "number": number,
        "seed": 7,
        "split": "validation",
        "data": DataRef("two_moons"),
        "params": SMALL,
        "objective": ("mmd",),
        "cache": str(tmp_path / cache),
        "cost": 1.0,
        "operations": {"train": 900.0, "sample": 60.0, "score": 40.0},
    }
    return run_trial(TrialJob(**{**known, **options}), RecordFolder(tmp_path / "run"))


def told(record: Record) -> dict[str, Any]:
    """All of a record but its number and times."""
    found = json.loads(record.to_json())
    for key in ("number", "seconds", "started", "finished", "provenance"):
        del found[key]
    for name in ("train_seconds", "sample_seconds", "samples_per_second"):
        found["metrics"].pop(name, None)
    return found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full training of 16 steps."""
    monkeypatch.setattr("gentune.search_spaces.FamilyCard.full_steps", lambda *_: 16)


@pytest.mark.usefixtures("short")
def test_a_trial_that_no_rule_stops_is_what_it_is_without_one(tmp_path: Path) -> None:
    plain = trial(tmp_path, 0, "one", operations={"train": 900.0, "sample": 60.0})
    scored = trial(tmp_path, 1, "two", stopping=rule(value=1e9))
    assert (plain.state, scored.state) == ("complete", "complete"), (plain.reason, scored.reason)
    assert plain.curve == ()
    assert [point["fidelity"] for point in scored.curve] == [*INTERMEDIATE_SHARES, 1.0]
    assert all(len(point["objectives"]) == 1 for point in scored.curve)
    assert scored.metrics["mmd"] == plain.metrics["mmd"]
    assert scored.training == plain.training
    assert (scored.cost, scored.operations["score"]) == (1.0, 40.0)
    assert scored.metrics["flops"] == plain.metrics["flops"], "intermediate scores are no part of the model's cost"
    assert scored.seconds["score"] > 0.0


@pytest.mark.usefixtures("short")
def test_a_stopped_trial_is_measured_where_it_was_stopped_and_charged_what_it_took(tmp_path: Path) -> None:
    stopped = trial(tmp_path, 0, "one", stopping=rule(value=-1e9))
    assert (stopped.state, stopped.fidelity, len(stopped.curve)) == ("stopped", 0.125, 1)
    assert stopped.reason == ("stopped at .125 of a training: 3 of 4 trainings were better at this point, and 2 go on")
    assert stopped.operations == {"train": 900.0 / 8, "sample": 60.0, "score": 10.0}
    assert stopped.cost == pytest.approx((900 / 8 + 60 + 10) / 1000)
    short = trial(tmp_path, 1, "two", fidelity=0.125)
    assert stopped.objectives == short.objectives
    assert stopped.training == short.training
    assert Record.from_json(stopped.to_json()) == stopped


@pytest.mark.usefixtures("short")
def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    unbroken = trial(tmp_path, 0, "one", stopping=rule(value=1e9))
    stopped = trial(tmp_path, 1, stopping=rule(value=-1e9))
    begun = stopped.fidelity
    operations = {"train": 900.0 * (1.0 - begun), "sample": 60.0, "score": 30.0}
    on = trial(tmp_path, 2, stopping=rule(value=1e9, begun=begun), operations=operations)
    assert on.objectives == unbroken.objectives
    assert on.curve == unbroken.curve[1:]
    assert on.seconds["kept"] > 0.0


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("value", [1e9, -1e9])
def test_what_another_run_has_trained_whole_is_scored_at_the_same_points(tmp_path: Path, value: float) -> None:
    fresh = trial(tmp_path, 0, "fresh", stopping=rule(value))
    trial(tmp_path, 1, "full")
    assert told(trial(tmp_path, 2, "full", stopping=rule(value))) == told(fresh)
    assert told(trial(tmp_path, 3, cache="", stopping=rule(value))) == told(fresh), "nor does it take a cache"


@pytest.mark.usefixtures("short")
def test_scores_on_the_way_take_of_the_seconds_that_a_training_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = itertools.count(step=1000.0)
    monkeypatch.setattr("gentune.bench.trial.model_training.Clock._now", lambda _: next(moments))
    late = trial(tmp_path, 0, budget=Seconds(), deadline=900.0, stopping=rule(value=1e9))
    assert (late.state, late.seconds["score"]) == ("stopped", 1000.0)
    assert "the budget ended" in str(late.reason)
    within = trial(tmp_path, 1, "other", budget=Seconds(), deadline=1e5, stopping=rule(value=1e9))
    assert within.state == "complete"


# --- studies ----------------------------------------------------------------------------------------------

TOY = parse_card(
    """
[family]
name = "toy"
group = "test"
summary = "a toy"
class = "toy:Toy"
kinds = ["vector"]
[family.steps]
vector = 10
[train.rate]
type = "float"
low = 1e-4
high = 1.0
scale = "log"
default = 0.01
[sample.scale]
type = "float"
low = 0.0
high = 4.0
default = 1.0
""",
    "toy.toml",
)
TRAIN, SAMPLE, SAMPLES = 900.0, 100.0, 128  # operations of a full training and of a trial's samples


def count(setting: Mapping[str, Any]) -> Operations:
    return Operations(train=TRAIN, per_sample=SAMPLE / SAMPLES)


def study(stopping: Any, budget: float = 7.0, operations: Any = count) -> FamilyStudy:
    options = TuningOptions(Trainings(budget), ["higher"], SAMPLES, two_speeds=True, stopping=stopping)
    return FamilyStudy(TOY, options, operations)


def score(setting: Mapping[str, Any], share: float) -> float:
    return -((math.log10(setting["rate"]) + 2.5) ** 2) - (setting["scale"] - 2) ** 2 - 0.5 / share


def carry_out(asked: PlannedTrial) -> Record:
    """As `run_trial` does, with a score by formula; higher is better."""
    proposal, rule = asked.proposal, asked.stopping
    points: list[Point] = []
    reason, reached, operations = None, proposal.fidelity, dict(asked.operations)
    if rule is not None:
        shares = (*shares_between(rule.begun, proposal.fidelity), proposal.fidelity)
        assert operations["score"] == pytest.approx(len(shares) * SAMPLE * FEW / SAMPLES)
        for reached in shares:
            points.append(Point(reached, (-score(proposal.setting, reached) + 1.0,)))
            reason = rule.reason_to_stop(proposal.setting, points, 0) if reached < proposal.fidelity else None
            if reason is not None:
                operations["train"] *= (reached - rule.begun) / (proposal.fidelity - rule.begun)
                operations["score"] *= len(points) / len(shares)
                break
    return Record(
        role="trial",
        family="toy",
        number=asked.number,
        seed=asked.seed,
        training_seed=asked.training_seed,
        split="validation",
        state="complete" if reason is None else "stopped",
        reason=reason,
        params=proposal.setting,
        move=proposal.move,
        parent=proposal.parent,
        fidelity=reached,
        objectives=(score(proposal.setting, reached),),
        curve=tuple({"fidelity": p.fidelity, "objectives": p.values} for p in points),
        cost=sum(operations.values()) / (TRAIN + SAMPLE),
        operations=operations,
    )


def run(tuned: FamilyStudy) -> list[Record]:
    while (asked := tuned.ask()) is not None:
        assert asked.cost == pytest.approx(sum(asked.operations.values()) / (TRAIN + SAMPLE))
        tuned.tell(carry_out(asked))
    return [tuned.records[n] for n in sorted(tuned.records)]


@pytest.mark.parametrize("kind", ["curves", "halving"])
def test_a_study_stops_trainings_and_goes_on_with_some(kind: str) -> None:
    tuned = study(kind)
    records = run(tuned)
    stopped = [r for r in records if r.state == "stopped"]
    assert stopped
    assert all(r.number != 0 and r.reason and r.fidelity < 1.0 for r in stopped)
    assert sum(r.cost for r in records) <= 7.0 + 1e-9
    (best,) = tuned.incumbents()
    assert best.state == "complete", "a stopped trial is no result"
    again = study(kind)
    for record in records[:7]:
        again.tell(Record.from_json(record.to_json()))  # as a resumed run reads it
    assert run(again) == records


def test_without_a_rule_no_scores_are_taken() -> None:
    records = run(study("none", budget=3.0))
    assert all(r.curve == () and "score" not in r.operations for r in records)


def test_a_promising_training_that_was_stopped_is_trained_further() -> None:
    tuned = study("halving", budget=40.0)
    first = tuned.ask()
    assert first is not None
    tuned.tell(carry_out(first))
    # The rule had stopped what is best by far, as halving may where few came before.
    stopped = replace(
        carry_out(replace(first, number=1)),
        params={"rate": 0.003, "scale": 2.0},
        state="stopped",
        fidelity=0.5,
        objectives=(score({"rate": 0.003, "scale": 2.0}, 0.5),),
        seed=99,
    )
    tuned.tell(stopped)
    asked = first
    for _ in range(20):
        following = tuned.ask()
        assert following is not None
        asked = following
        if asked.proposal.move == "continue" and asked.training_seed == stopped.seed:
            break
        tuned.tell(carry_out(asked))
    assert (asked.proposal.move, asked.training_seed, asked.proposal.fidelity) == ("continue", stopped.seed, 1.0)
    assert asked.stopping is not None
    assert asked.stopping.begun == 0.5


def test_what_trains_by_fit_has_no_curve() -> None:
    asked = study("curves", operations=lambda setting: Operations(0.0, 0.0)).ask()
    assert asked is not None
    assert asked.stopping is None


# --- the command line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stopping", "curves"], "two speeds"),
        (["--stopping", "curves", "--two-speeds", "--sampler", "random"], "two speeds"),
        (["--stopping", "curve", "--two-speeds"], "stopping"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as end:
        main(["tune", "beta_vae", "--data", "two_moons", "--trainings", "2", *arguments, *out])
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert words in printed.err
    assert printed.err.count("\n") == 1


# --- the store -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objectives", [1, 2])
def test_the_store_has_stopped_trials_as_pruned_ones(objectives: int, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = OptunaStore(url)
    store.open("toy", ["higher"] * objectives)
    record = carry_out(
        PlannedTrial(0, Proposal({"rate": 0.01, "scale": 1.0}), 1.0, {"train": TRAIN, "sample": SAMPLE}, 1, None)
    )
    scores = tuple(range(2, 2 + objectives))
    points = tuple({"fidelity": f, "objectives": tuple(-v * f for v in scores)} for f in (0.125, 0.25))
    stopped = replace(record, state="stopped", fidelity=0.25, objectives=tuple(map(float, scores)), curve=points)
    late = replace(record, number=1, state="stopped", objectives=None)
    store.catch_up("toy", {0: stopped, 1: late}, TOY.space)
    by_rule, by_deadline = optuna.load_study(study_name="toy", storage=url).trials
    assert (by_rule.state, by_deadline.state) == (TrialState.PRUNED, TrialState.FAIL)
    assert by_rule.intermediate_values == ({12: 0.25, 25: 0.5} if objectives == 1 else {})
    assert by_rule.user_attrs["record"] == stopped.name


def test_the_best_trial_of_the_store_keeps_the_constraints(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = OptunaStore(url)
    store.open("toy", ["lower"])
    planned = PlannedTrial(0, Proposal({"rate": 0.01, "scale": 1.0}), 1.0, {"train": TRAIN, "sample": SAMPLE}, 1, None)
    records = {
        number: replace(
            carry_out(planned), number=number, state="complete", objectives=(value,), metrics={"nll": {"value": nll}}
        )
        for number, (value, nll) in enumerate([(1.0, 9.0), (2.0, 1.0), (3.0, 1.0)])
    }
    store.catch_up("toy", records, TOY.space, [parse_constraint("nll <= 2")])
    assert optuna.load_study(study_name="toy", storage=url).best_trial.number == 1
