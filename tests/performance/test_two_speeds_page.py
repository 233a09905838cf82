"""The figures of the benchmark of two speeds, worked out by hand, and their section."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def two_speeds(performance_script: Callable[[str], ModuleType]) -> ModuleType:
    return performance_script("two_speeds")


def _run(settings: int, tried: list[tuple[float, str, float, float | None]], *test: float) -> dict[str, Any]:
    return {"budget": 4.0, "settings": settings, "tried": tried, "test": list(test)}


def _runs() -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """Two speeds and the control with two seeds."""
    mine = {
        # What was lowest in the first place was trained by a half alone, which counts for nothing.
        0: _run(6, [(1.0, "train", 1.0, 5.0), (0.5, "train", 0.5, 1.0), (0.5, "continue", 1.0, 2.0)], 3.0, 5.0),
        1: _run(4, [(1.0, "train", 1.0, 5.0), (0.5, "resample", 1.0, 3.0), (0.5, "train", 1.0, None)], 1.0),
    }
    control = {
        0: _run(4, [(1.0, "train", 1.0, 5.0), (2.0, "train", 1.0, 2.0), (1.0, "train", 1.0, 9.0)], 4.0),
        1: _run(4, [(1.0, "train", 1.0, 5.0), (3.0, "train", 1.0, 2.5)], 4.0),
    }
    return mine, control


def test_the_comparison_is_paired_by_seed(two_speeds: ModuleType) -> None:
    mine, control = _runs()
    found = two_speeds._compare(mine, control)
    assert found["runs"] == 2
    assert found["settings_per_cost"] == pytest.approx((3 + 2) / 2)
    assert found["settings_ratio"] == pytest.approx((3 / 1 + 2 / 1) / 2)
    assert found["reached_by"] == 1
    assert found["reached_at"] == float("inf")
    assert found["test_ratio"] == pytest.approx((4.0 + 1.0) / (4.0 + 4.0))
    assert found["test_ratio_interval"] == pytest.approx([0.25, 1.0])
    assert two_speeds._compare({0: mine[0]}, control)["reached_at"] == pytest.approx(2.0 / 4.0)
    itself = two_speeds._compare(control, control)
    assert (itself["settings_ratio"], itself["test_ratio"], itself["reached_by"]) == (1.0, 1.0, 2)


def test_the_section_has_a_row_for_each_method(two_speeds: ModuleType) -> None:
    mine, control = _runs()
    figures = {"two_speeds": two_speeds._compare(mine, control), "one_speed": two_speeds._compare(control, control)}
    lines = list(two_speeds.two_speeds_page.section({"ddpm": figures, "beta_vae": {}}, 4, 2))
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4 and len({line.count("|") for line in table}) == 1
    assert "| – (1 of 2) |" in table[2] and "| 0.88 (2 of 2) |" in table[3]
    assert not any("beta_vae" in line for line in lines)
