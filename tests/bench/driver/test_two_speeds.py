"""A study that keeps its trainings: what its trials start from, what they are charged, and what a report says of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest

from gentune.bench.budget.kinds import budget_of
from gentune.bench.budget.operations import Operations
from gentune.bench.driver.planning import PlannedTrial, TuningOptions
from gentune.bench.driver.study import FamilyStudy
from gentune.bench.runs.records import Record
from gentune.reports.moves import moves
from gentune.search_spaces import Parameter, SearchSpace
from gentune.search_spaces.card import parse_card

CARD = parse_card(
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
[train.width]
type = "int"
low = 8
high = 64
scale = "log"
default = 16
[sample.scale]
type = "float"
low = 0.0
high = 4.0
default = 1.0
""",
    "toy.toml",
)


def count(setting: Mapping[str, Any]) -> Operations:
    return Operations(train=950.0 * setting["width"] / 16, per_sample=0.5 * setting["width"] / 16)


def study(budget: float = 5.0, kind: str = "trainings", **options: Any) -> FamilyStudy:
    card, counting = options.pop("card", CARD), options.pop("count", count)
    known: dict[str, Any] = {"two_speeds": True, **options}
    return FamilyStudy(card, TuningOptions(budget_of(kind, budget), ["lower"], 100, **known), counting)


def carry_out(asked: PlannedTrial, *, kind: str = "trainings") -> Record:
    """A score that the setting and the share of a training determine; high rates diverge."""
    proposal = asked.proposal
    rate, width, scale = (proposal.setting[name] for name in ("rate", "width", "scale"))
    assert isinstance(rate, float)
    assert isinstance(width, int)
    assert isinstance(scale, float)
    failed = rate > 0.3
    value = (math.log10(rate) + 2.5) ** 2 + 10 / width + (scale - 2) ** 2 + 0.5 / proposal.fidelity
    seconds = {"train": 9.0 * width / 16 * proposal.fidelity - asked.paid, "kept": asked.paid, "sample": 0.5}
    cost = asked.cost if kind != "seconds" else seconds["train"] + seconds["sample"]
    return Record(
        role="trial",
        family="toy",
        number=asked.number,
        seed=asked.seed,
        training_seed=asked.training_seed,
        split="validation",
        state="failed" if failed else "complete",
        params=proposal.setting,
        move=proposal.move,
        parent=proposal.parent,
        fidelity=proposal.fidelity,
        objectives=None if failed else (value,),
        cost=cost,
        operations=asked.operations,
        seconds=seconds,
    )


def run(study: FamilyStudy, *, stop_after: int | None = None, kind: str = "trainings") -> dict[int, Record]:
    while (stop_after is None or len(study.records) < stop_after) and (asked := study.ask()) is not None:
        study.tell(carry_out(asked, kind=kind))
    return dict(study.records)


@pytest.fixture(scope="module")
def records() -> dict[int, Record]:
    return run(study())


def root(record: Record, records: Mapping[int, Record]) -> Record:
    return record if record.parent is None else root(records[record.parent], records)


def test_more_settings_are_tried_at_the_same_cost(records: dict[int, Record]) -> None:
    alone = run(study(two_speeds=False))
    assert {r.move for r in alone.values()} == {"train"}
    assert {r.fidelity for r in alone.values()} == {1.0}
    assert {"resample", "continue"} <= {r.move for r in records.values()}
    assert len(records) >= 2 * len(alone)
    for made in (records, alone):
        assert sum(r.cost for r in made.values()) <= 5.0 + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_the_start_stays_with_cheap_settings(seed: int) -> None:
    def expensive(setting: Mapping[str, Any]) -> Operations:
        return Operations(train=float(setting["width"]) ** 4, per_sample=1.0)

    made = run(study(seed=seed, count=expensive), stop_after=5)
    assert len({tuple(record.params.values()) for record in made.values()}) == 5
    for number in range(1, 5):
        assert (made[number].move, made[number].fidelity) == ("train", 0.25)
        assert made[number].cost <= 2.0 * 0.26, "twice a quarter of the default's training and its samples"


def test_seconds_limit_the_start_by_what_the_default_took() -> None:
    made = run(study(budget=100.0, kind="seconds"), stop_after=5, kind="seconds")
    assert [(made[n].move, made[n].fidelity) for n in range(5)] == [("train", 1.0), *[("train", 0.25)] * 4]


@pytest.mark.parametrize("budget", [1.1, 1.4, 2.0])
def test_what_is_left_of_a_small_budget_is_spent(budget: float) -> None:
    made = run(study(budget=budget))
    assert len(made) >= 3
    assert budget - sum(r.cost for r in made.values()) < 0.05 + 1e-9, "a sample of the default's model would still fit"


def test_what_starts_from_a_training_has_its_setting_and_its_seed(records: dict[int, Record]) -> None:
    for record in records.values():
        first = root(record, records)
        assert (record.params["rate"], record.params["width"]) == (first.params["rate"], first.params["width"])
        assert record.training_seed == (None if record is first else first.seed)
        assert record.seed != first.seed or record is first


def test_trials_are_charged_for_what_they_add(records: dict[int, Record]) -> None:
    for record in records.values():
        done = 0.0 if record.parent is None else records[record.parent].fidelity
        share = max(record.fidelity - done, 0.0)
        width = record.params["width"]
        assert isinstance(width, int)
        train, sample = 950.0 * width / 16, 50.0 * width / 16
        assert record.operations == pytest.approx({"train": share * train, "sample": sample})
        assert record.cost == pytest.approx((share * train + sample) / 1000.0)


@pytest.mark.parametrize("chained", [False, True])
def test_another_average_is_another_training_where_later_stages_start_from_it(chained: bool) -> None:
    half_life = Parameter("ema_half_life", "float", 0.05, low=0.0, high=0.2, role="average")
    card = dataclasses.replace(CARD, space=SearchSpace((*CARD.space, half_life)))
    made = run(study(card=card, count=lambda setting: dataclasses.replace(count(setting), chained=chained)))
    later = [r for r in made.values() if r.parent is not None]
    assert len(later) > 3
    changed = [r.params["ema_half_life"] != root(r, made).params["ema_half_life"] for r in later]
    assert any(changed) != chained


@pytest.mark.slow
def test_what_fails_when_it_goes_on_is_not_tried_again() -> None:
    tuned = study(budget=8.0)
    made: list[Record] = []
    while (asked := tuned.ask()) is not None:
        record = carry_out(asked)
        if asked.proposal.move == "continue":
            record = dataclasses.replace(record, state="failed", objectives=None)
        tuned.tell(record)
        made.append(record)
    by_number = {r.number: r for r in made}
    tried: dict[int, list[float]] = {}
    for record in made:
        if record.move == "continue":
            tried.setdefault(root(record, by_number).number, []).append(record.fidelity)
    assert tried
    assert all(shares == sorted(set(shares), reverse=True) for shares in tried.values()), "nor at a higher share"


@pytest.mark.parametrize("stop_after", [2, 7, 12])
def test_a_resumed_study_goes_on_with_the_same_moves(stop_after: int, records: dict[int, Record]) -> None:
    resumed = study()
    for record in run(study(), stop_after=stop_after).values():
        resumed.tell(record)
    assert run(resumed) == records


def test_measured_seconds_are_charged_once() -> None:
    made = run(study(budget=40.0, kind="seconds"), kind="seconds")
    assert {"resample", "continue"} <= {r.move for r in made.values()}
    for record in made.values():
        if record.parent is not None:
            parent = made[record.parent]
            assert record.seconds["kept"] == pytest.approx(parent.seconds["train"] + parent.seconds["kept"])


def test_what_trains_by_fit_is_trained_whole() -> None:
    fitted = study(count=lambda setting: Operations(0.0, 0.0))
    made = run(fitted, stop_after=12)
    assert {r.fidelity for r in made.values()} == {1.0}


def test_the_report_tells_what_was_saved(records: dict[int, Record]) -> None:
    content = {"rows": [{"family": "toy"}], "budget": {"kind": "trainings", "amount": 5.0}}
    (row,) = moves(list(records.values()), content)
    assert row["trials"] == len(records) == row["train"] + row["continue"] + row["resample"]
    assert row["without_reuse"] == pytest.approx(sum(map(cost_from_the_beginning, records.values())))
    assert row["spent"] == pytest.approx(sum(r.cost for r in records.values()))
    assert row["spent"] < 0.8 * row["without_reuse"]
    alone = [dataclasses.replace(r, move="train", parent=None, fidelity=1.0) for r in records.values()]
    assert moves(alone, content) == []


def cost_from_the_beginning(record: Record) -> float:
    """Of a trial that trains from the beginning to where this one's model is, and samples it."""
    width = record.params["width"]
    assert isinstance(width, int)
    return (record.fidelity * 950.0 + 50.0) * width / 16 / 1000.0
