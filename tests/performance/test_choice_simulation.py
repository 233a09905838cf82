"""The simulated studies behind what docs/benchmarks.md says of the choice."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def script(performance_script: Callable[[str], ModuleType]) -> Any:
    return performance_script("choice")


def test_a_default_is_worse_than_the_best_by_the_gap_and_random_settings_by_the_spread(script: Any) -> None:
    chance = np.random.default_rng(0)
    for gap in (0.0, 0.3, 1.0):
        truth = script.bowl(gap, chance)
        assert truth.loss({f"x{j}": value for j, value in enumerate(truth.default)}) == pytest.approx(gap)
        assert truth.loss({f"x{j}": value for j, value in enumerate(truth.optimum)}) == 0.0
        random = ((chance.random((20_000, script.DIMENSIONS)) - truth.optimum) ** 2 @ truth.weights).mean()
        assert random == pytest.approx(script.SPREAD, rel=0.03)


def test_a_cell_counts_what_both_rules_choose(script: Any) -> None:
    def study(losses: list[float], scores: list[float], *chances: float) -> dict[str, Any]:
        rows = [[score, 1.01 * score, 0.99 * score] for score in scores]
        return {"losses": losses, "scores": rows, "probabilities": [None, *chances], "best_tried": min(losses)}

    found = script.cell(
        [
            study([0.3, 0.1], [13.0, 11.0], 0.9),  # chosen, and not by the rule
            study([0.3, 0.4], [13.0, 12.0], 0.97),  # harmed by luck, both
            study([0.3, 0.2], [13.0, 12.99], 0.5),  # too close
            study([0.3], [13.0]),
        ]
    )
    assert (found["left"], found["harmed"], found["loss"]) == (0.5, 0.25, pytest.approx(0.275))
    assert (found["rule_left"], found["rule_harmed"], found["rule_loss"]) == (0.25, 0.25, pytest.approx(0.325))
    assert found["candidates"] == 1.75 and found["best_tried"] == pytest.approx(0.225)


def test_a_study_is_simulated_the_same_each_time(script: Any) -> None:
    first = script.simulate(0.3, 7)
    assert first == script.simulate(0.3, 7)
    assert first["losses"][0] == pytest.approx(0.3)
    assert len(first["scores"]) == len(first["losses"]) == len(first["probabilities"])
    assert all(len(row) == script.CHOICE_SEEDS for row in first["scores"])
