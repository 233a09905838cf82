"""How many samples finals draw."""

from __future__ import annotations

import pytest

from gentune.bench.budget.kinds import Trainings
from gentune.bench.budget.operations import Operations
from gentune.bench.budget.setting_cost import SettingCosts
from gentune.bench.driver.final_samples import FinalSamples, final_samples

CHEAP = Operations(1e9, 1.0)


@pytest.mark.parametrize(("real", "n"), [(100, 3_600), (360, 3_600), (500, 5_000), (2_000, 10_000), (5_000, 10_000)])
def test_ten_times_the_real_examples_within_bounds(real: int, n: int) -> None:
    assert final_samples(None, real, {"cheap": CHEAP}) == FinalSamples(n, n)


def test_one_family_that_samples_slowly_lowers_the_number_for_all() -> None:
    slow = Operations(2_345.0, 1.0)
    families = {"cheap": CHEAP, "slow": slow, "fitted": Operations(0.0, 0.0)}
    assert final_samples(None, 360, families) == FinalSamples(6 * 360, 3_600, "slow")
    slower = {"slower": Operations(10.0, 1.0)}
    assert final_samples(None, 360, slower) == FinalSamples(360, 3_600, "slower")  # never below the real side
    assert final_samples(500, 360, slower) == FinalSamples(500, 500)  # what is asked for is done


def test_more_samples_cost_more_in_the_same_unit() -> None:
    costs = SettingCosts(lambda _: Operations(80.0, 0.5), {}, 40, Trainings(5.0))
    assert costs.of({}) == pytest.approx(1.0)
    assert costs.drawing(240).of({}) == pytest.approx(2.0)
    assert costs.drawing(240).operations({}) == {"train": 80.0, "sample": 120.0}
    assert costs.of({}) == pytest.approx(1.0)
