"""A study's proposals depend on its records alone: not on timing, workers, or where it was interrupted."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import pytest

from gentune.bench.budget.kinds import budget_of
from gentune.bench.budget.operations import Operations, UncountableError
from gentune.bench.driver.planning import PlannedTrial, TuningOptions
from gentune.bench.driver.study import FamilyStudy
from gentune.bench.runs.constraints import Constraint
from gentune.bench.runs.records import Record
from gentune.search_spaces.card import parse_card

CARD_TEXT = """
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
[train.width]
type = "int"
low = 8
high = 64
scale = "log"
default = 16
"""
CARD = parse_card(CARD_TEXT, "toy.toml")


def count(setting: Mapping[str, Any]) -> Operations:
    return Operations(train=100.0 * setting["width"] / 16, per_sample=1.0)


def study(lag: int = 0, budget: float = 8.0, kind: str = "trainings", **options: Any) -> FamilyStudy:
    counting, start = options.pop("count", count), options.pop("start", ())
    tuning = TuningOptions(budget_of(kind, budget), ["lower"], 100, lag=lag, **options)
    return FamilyStudy(CARD, tuning, counting, start=start)


def carry_out(asked: PlannedTrial) -> Record:
    """A score that the setting determines; wide networks at high rates diverge."""
    rate, width = asked.proposal.setting["rate"], asked.proposal.setting["width"]
    assert isinstance(rate, float)
    assert isinstance(width, int)
    failed = rate > 0.3
    value = (rate - 0.05) ** 2 * 100 + 10 / width + 1
    return Record(
        role="trial",
        family="toy",
        number=asked.number,
        seed=asked.seed,
        split="validation",
        state="failed" if failed else "complete",
        params=asked.proposal.setting,
        objectives=None if failed else (value,),
        cost=asked.cost,
    )


def run(study: FamilyStudy, workers: int, seed: int, *, stop_after: int | None = None) -> dict[int, Record]:
    """Carries trials out in an order that chance decides, as unequal workers would."""
    chance = random.Random(seed)
    under_way: list[PlannedTrial] = []
    while stop_after is None or len(study.records) < stop_after:
        while len(under_way) < workers:
            asked = study.ask()
            if asked is None:
                break
            under_way.append(asked)
        if not under_way:
            break
        study.tell(carry_out(under_way.pop(chance.randrange(len(under_way)))))
    return dict(study.records)


@pytest.mark.parametrize("two_speeds", [False, True])
def test_a_given_setting_is_tried_after_the_default(two_speeds: bool) -> None:
    given = {"rate": 0.05, "width": 60}
    other = {"rate": 0.07, "width": 20}
    begun = study(start=[given, other], two_speeds=two_speeds)
    records = run(begun, workers=1, seed=0, stop_after=4)
    assert [records[number].params for number in (1, 2)] == [given, other]
    first, second = (dataclasses.replace(r, number=n) for n, r in list(records.items())[:2])
    again = study(start=[given, other], two_speeds=two_speeds)
    again.tell(first)
    resumed = again.ask()
    assert resumed is not None
    assert (resumed.proposal.setting, resumed.proposal.origin, resumed.proposal.fidelity) == (given, "start", 1.0)
    assert resumed.cost == second.cost > 2.0
    assert records[3].params not in (records[0].params, given, other)


def test_a_given_setting_that_the_budget_does_not_pay_for_gives_way_to_a_proposal() -> None:
    small = study(budget=2.5, start=[{"rate": 0.05, "width": 60}])
    small.tell(carry_out(small.ask()))  # type: ignore[arg-type]
    asked = small.ask()
    assert asked is not None
    assert asked.proposal.origin != "start"
    assert asked.cost <= 1.5


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_proposals_do_not_depend_on_which_worker_is_faster(lag: int) -> None:
    first = run(study(lag), workers=lag + 1, seed=1)
    assert len(first) > 5
    for seed in (2, 3):
        assert run(study(lag), workers=lag + 1, seed=seed) == first
    assert run(study(lag), workers=1, seed=1) == first


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_a_resumed_study_goes_on_with_the_same_proposals(stop_after: int) -> None:
    whole = run(study(2), workers=3, seed=1)
    kept = run(study(2), workers=3, seed=5, stop_after=stop_after)
    resumed = study(2)
    for record in kept.values():
        resumed.tell(record)
    assert run(resumed, workers=2, seed=9) == whole


def test_the_budget_is_never_overspent_and_no_trial_takes_most_of_it() -> None:
    records = run(study(budget=5.0), workers=1, seed=0)
    spent = 0.0
    for record in records.values():
        assert record.cost <= max(1.0, 0.5 * (5.0 - spent)) + 1e-9
        spent += record.cost
    assert spent <= 5.0 + 1e-9
    assert records[0].cost == pytest.approx(1.0)
    assert records[0].params == CARD.space.default()


def test_cost_is_counted_in_the_budgets_unit() -> None:
    wide = {"rate": 0.01, "width": 32}
    assert study().costs.of(wide) == pytest.approx(300 / 200)
    assert study(budget=1e4, kind="flops").costs.of(wide) == pytest.approx(300.0)


def test_a_family_that_cannot_take_a_step_ends_after_one_trial() -> None:
    def fail(setting: Mapping[str, Any]) -> Operations:
        raise UncountableError("RuntimeError: no step")

    broken = study(count=fail)
    assert broken.costs.uncountable == "RuntimeError: no step"
    asked = broken.ask()
    assert asked is not None
    assert asked.cost == 8.0
    broken.tell(carry_out(asked))
    assert broken.ask() is None
    assert broken.finished


def test_one_setting_that_cannot_take_a_step_is_charged_like_the_default() -> None:
    def picky(setting: Mapping[str, Any]) -> Operations:
        if setting["width"] > 40:
            raise UncountableError("RuntimeError: too wide")
        return count(setting)

    made = study(count=picky)
    assert made.costs.of({"rate": 0.01, "width": 64}) == pytest.approx(1.0)
    assert made.costs.uncountable is None


def judged(number: int, value: float | None, objectives: int = 1, **metrics: float) -> Record:
    """A trial with figures that constraints look at; its setting has no equal."""
    width = (16, 10, 24, 40, 30, 12, 50, 20)[number]
    rate = (0.01, 0.2, 0.003, 0.001, 0.1, 0.0005, 0.03, 0.25)[number]
    return Record(
        role="trial",
        family="toy",
        number=number,
        seed=0,
        split="validation",
        state="failed" if value is None else "complete",
        params={"rate": rate, "width": width},
        objectives=None if value is None else (value,) * objectives,
        metrics={name: {"value": figure, "low": None, "high": None} for name, figure in metrics.items()},
    )


def told(study: FamilyStudy, *records: Record) -> FamilyStudy:
    for record in records:
        study.tell(record)
    return study


def test_the_default_stands_until_something_is_clearly_better() -> None:
    def finished_with(values: list[float]) -> FamilyStudy:
        return told(study(), *(judged(number, value) for number, value in enumerate(values)))

    level = finished_with([9.0, 8.4, 12.0, 30.0, 15.0, 11.0, 340.0, 18.0])
    assert [r.number for r in level.incumbents()] == [0]
    better = finished_with([9.0, 2.0, 12.0, 30.0, 15.0, 11.0, 340.0, 18.0])
    assert [r.number for r in better.incumbents()] == [1]


def test_a_study_is_fruitless_where_it_has_ended_and_nothing_worked() -> None:
    failed = told(study(), judged(0, None))
    assert not failed.fruitless
    failed.end()
    assert failed.fruitless
    worked = told(study(), judged(0, None), judged(1, 3.0))
    worked.end()
    assert not worked.fruitless


def test_the_engine_is_told_how_well_a_trial_was_measured() -> None:
    toy = study(objectives=("fid",))
    asked = toy.ask()
    assert asked is not None
    record = dataclasses.replace(carry_out(asked), metrics={"fid": {"value": 3.0, "low": 2.0, "high": 3.96}})
    assert toy.observation(record).errors == pytest.approx((0.5,), rel=1e-4)
    bare = dataclasses.replace(record, metrics={"fid": {"value": 3.0, "low": None, "high": None}})
    assert toy.observation(bare).errors == (0.0,)
    own = dataclasses.replace(record, errors=(0.3,))  # the samples' alone; the interval has the real examples' too
    assert toy.observation(own).errors == (0.3,)


def test_what_a_card_says_shapes_the_start_but_not_a_random_search() -> None:
    text = CARD_TEXT.replace("default = 0.01\n", "default = 0.01\nlikely = [0.008, 0.012]\n")
    card = parse_card(text.replace("[family.steps]", "[family.noise]\nfid = 0.2\n[family.steps]"), "toy.toml")

    def rates(priors: bool) -> list[float]:
        options = TuningOptions(budget_of("trainings", 12.0), ["lower"], 100, ["fid"], start=10**9, priors=priors)
        records = run(FamilyStudy(card, options, count), workers=1, seed=0)
        return [float(str(records[number].params["rate"])) for number in range(1, len(records))]

    assert sum(0.005 < rate < 0.02 for rate in rates(True)) >= 5
    assert sum(0.005 < rate < 0.02 for rate in rates(False)) <= 3


GUARD = Constraint("bits_per_dim", "<=", 4.09)


def guarded(*records: Record) -> FamilyStudy:
    return told(study(constraints=(GUARD,)), *records)


def test_a_score_bought_with_a_collapsed_density_is_not_chosen() -> None:
    """A mixture tuned for FID alone gives single examples densities that no other example has."""
    values = [9.0, 2.0, 12.0, 30.0, 15.0, 11.0, 340.0, 18.0]
    trials = [judged(n, value, bits_per_dim=3521.0 if n == 1 else 3.0) for n, value in enumerate(values)]
    assert [r.number for r in told(study(), *trials).incumbents()] == [1]
    assert [r.number for r in guarded(*trials).incumbents()] == [0]
    several = judged(1, 4.0, 2, bits_per_dim=3521.0), judged(2, 30.0, 2, bits_per_dim=3.6)
    two = TuningOptions(budget_of("trainings", 8.0), ["lower", "lower"], 100, constraints=(GUARD,))
    front = told(FamilyStudy(CARD, two, count), *several)
    assert [r.number for r in front.incumbents()] == [2]


def test_a_default_that_breaks_a_constraint_does_not_stand() -> None:
    trials = [judged(0, 4.0, bits_per_dim=900.0), judged(1, 40.0, bits_per_dim=3.0)]
    assert [r.number for r in guarded(*trials).incumbents()] == [1]


def test_where_nothing_keeps_the_constraints_the_least_violating_is_chosen() -> None:
    trials = [
        judged(0, 4.0, bits_per_dim=900.0),
        judged(1, None),
        judged(2, 9.0, bits_per_dim=4.2),
        judged(3, 1.0, bits_per_dim=40.0),
    ]
    assert [r.number for r in guarded(*trials).incumbents()] == [2]
    assert guarded(judged(0, None)).incumbents() == []


def test_a_metric_that_a_family_lacks_binds_it_to_nothing() -> None:
    bare = guarded(judged(0, 4.0))
    assert bare.observation(bare.records[0]).constraints == {}
    found = guarded(judged(0, 4.0, bits_per_dim=8.18))
    assert found.observation(found.records[0]).constraints == {"bits_per_dim <= 4.09": pytest.approx(1 / 3)}
