"""The simulation behind `make bench-standings`: boards as they are drawn, judged one by one and all at once."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def simulation(performance_script: Callable[[str], ModuleType]) -> ModuleType:
    return performance_script("standings")


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("families", [3, 6])
def test_boards_are_judged_as_reports_judge_one(simulation: ModuleType, families: int, seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    means = np.where(np.arange(families) == 0, -0.5, 0.0)
    finals, true = simulation.boards(rng, means, np.full(families, 0.2), seeds, 12)
    assert (true[:, 0] == -0.5).sum() >= 10, "the best family is named nearly always"
    assert simulation.better(finals, 1).any()
    simulation.agree(finals, 1)


def test_the_patterns_reach_the_ratios_that_they_are_named_for(simulation: ModuleType) -> None:
    for families in simulation.FAMILIES:
        found = {name: d.max() / d.min() for name, d in simulation.patterns(families).items()}
        wanted = [1.0 if name == "equal" else 3.0 if "3-fold" in name else 17.0 for name in found]
        assert list(found.values()) == pytest.approx(wanted) and len(found) == 6


def test_the_page_shows_every_cell(simulation: ModuleType) -> None:
    found = {key: 0.9 if key.startswith("power") else [0.011, 0.022] for key, _ in simulation.cells(simulation.CHUNK)}
    lines = list(simulation.section(found, simulation.CHUNK))
    text = "\n".join(lines)
    errors, intervals = 3 * 3 * 2, 3 * 3
    assert text.count(".011 / .022") == 6 * (errors + intervals)
    assert "the largest is .022" in text and ".900 at 5 seeds" in text
