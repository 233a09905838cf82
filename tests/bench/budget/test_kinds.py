"""What trials are priced, allowed and charged under each kind of budget, by figures worked by hand."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from gentune.bench.budget.kinds import (
    Budget,
    FloatingPointOperations,
    Seconds,
    Spent,
    Trainings,
    UnpricedError,
    budget_of,
)
from gentune.bench.budget.operations import Operations, UncountableError
from gentune.bench.budget.setting_cost import SettingCosts
from gentune.bench.protocol import FEW
from gentune.bench.runs.study_file import BUDGETS

DEFAULT = 1000.0  # operations of the default setting: 800 to train, 200 to sample


def test_every_kind_that_a_study_file_may_name_is_there() -> None:
    assert [budget_of(kind, 3.0).kind for kind in BUDGETS] == list(BUDGETS)
    assert budget_of("seconds", 3.0) == Seconds(3.0)
    assert pickle.loads(pickle.dumps(Trainings(6.0))) == Trainings(6.0)


@pytest.mark.parametrize(
    ("budget", "price", "of_fit", "uncountable"),
    [
        (Trainings(6.0), (1.6, 0.2), (1.0, 0.0), (6.0, 0.0)),
        (FloatingPointOperations(5e4), (1600.0, 200.0), (0.0, 0.0), (5e4, 0.0)),
        (Seconds(60.0), None, None, None),
    ],
)
def test_prices(
    budget: Budget,
    price: tuple[float, float] | None,
    of_fit: tuple[float, float] | None,
    uncountable: tuple[float, float] | None,
) -> None:
    assert budget.price((1600.0, 200.0), DEFAULT) == price
    assert budget.price((0.0, 0.0), 0.0) == of_fit
    assert budget.price(None, 0.0) == uncountable
    assert budget.priced_beforehand == (price is not None)


@pytest.mark.parametrize("budget", [Trainings(8.0), FloatingPointOperations(8.0), Seconds(8.0)])
def test_limits(budget: Budget) -> None:
    assert budget.limit(8.0, 1.0) == 4.0, "half of what is left"
    assert budget.limit(1.5, 1.0) == 1.0, "a default training where half is less"
    assert budget.limit(0.5, 1.0) == 0.5, "never more than is left"
    assert budget.deadline(3.0) == (3.0 if isinstance(budget, Seconds) else None)
    assert budget.is_spent(7e-9)
    assert not budget.is_spent(1e-6)
    assert budget.allows(4.0 + 1e-9, 4.0)
    assert not budget.allows(4.001, 4.0)


PLANNED = {"train": 800.0, "sample": 200.0}


@pytest.mark.parametrize(("budget", "price"), [(Trainings(6.0), 1.25), (FloatingPointOperations(5e4), 1000.0)])
def test_a_counted_budget_charges_for_what_was_done(budget: Budget, price: float) -> None:
    assert budget.charge(price, Spent(PLANNED, PLANNED, training=9.0)) == price
    stopped = Spent(PLANNED, {"train": 200.0, "sample": 200.0})
    assert budget.charge(price, stopped) == price * 400.0 / 1000.0
    assert budget.charge(price, Spent(PLANNED)) == price, "failed: in full"


def test_a_fit_costs_one_training_whatever_it_takes() -> None:
    assert Trainings(6.0).charge(1.0, Spent({"train": 0.0, "sample": 0.0}, {"train": 0.0, "sample": 0.0}, 7e3)) == 1.0


def test_operations_of_a_fit_are_charged_afterwards() -> None:
    nothing = {"train": 0.0, "sample": 0.0}
    budget = FloatingPointOperations(5e4)
    spent = Spent(nothing, nothing, fitted=7e3)
    assert spent.operations == {"train": 7e3, "sample": 0.0}
    assert budget.charge(0.0, spent) == 7e3
    assert Spent({}, {}, fitted=7e3).operations == {"train": 7e3}
    with pytest.raises(UnpricedError, match="does not count the operations of its fit"):
        budget.charge(0.0, Spent(nothing, nothing))
    assert budget.charge(0.0, Spent(nothing)) == 0.0, "it failed before anything was counted"


def test_each_second_is_charged_once_whatever_came_of_the_trial() -> None:
    budget = Seconds(60.0)
    assert budget.charge(0.0, Spent(training=9.0, sampling=0.5, scoring=0.25)) == 9.75
    assert budget.charge(0.0, Spent(PLANNED, PLANNED, training=9.0, paid=6.0, sampling=0.5)) == 3.5
    assert budget.charge(0.0, Spent(training=9.0, paid=9.5, sampling=0.5)) == 0.5, "a resample pays for its samples"


def test_the_part_of_a_cost_that_went_into_training() -> None:
    operations, seconds = {"train": 300.0, "sample": 100.0}, {"train": 2.0, "sample": 0.5}
    assert Trainings(6.0).training_cost(1.0, operations, seconds) == 0.75
    assert Trainings(6.0).training_cost(1.0, {}, seconds) == 1.0
    assert FloatingPointOperations(5e4).training_cost(400.0, operations, seconds) == 300.0
    assert Seconds(60.0).training_cost(2.5, operations, seconds) == 2.0


def costs(budget: Budget, samples: int = 2 * FEW) -> SettingCosts:
    def count(setting: Mapping[str, Any]) -> Operations:
        if setting["width"] > 40:
            raise UncountableError("RuntimeError: too wide")
        return Operations(train=50.0 * setting["width"], per_sample=200.0 / samples)

    return SettingCosts(count, {"width": 16}, samples, budget)


def test_the_price_of_a_part_of_a_training_with_intermediate_scores() -> None:
    wide = {"width": 32}
    assert costs(Trainings(6.0)).of(wide) == pytest.approx(1.8)
    # Half of the training's 1600; the samples' 200, and half as many operations for each of three scores.
    assert costs(FloatingPointOperations(5e4)).marginal(wide, 0.5, 3) == pytest.approx(800.0 + 200.0 + 3 * 100.0)
    assert costs(FloatingPointOperations(5e4)).operations(wide, 0.5, 3) == pytest.approx(
        {"train": 800.0, "sample": 200.0, "score": 300.0}
    )
    assert costs(Seconds(60.0)).of(wide) is None
    assert costs(Trainings(6.0)).of({"width": 64}) == pytest.approx(1.0), "uncountable: charged like the default"
