"""What the engine is told and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ...search_spaces.space import Setting, Value

Origin = Literal["default", "sobol", "surrogate", "random"]


@dataclass(frozen=True)
class Observation:
    """A setting that was tried.

    values: the objectives, all to be minimised; None when the trial failed.
    cost: what the trial took, in the study's unit of budget.
    """

    setting: Setting
    values: tuple[float, ...] | None
    cost: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the trial gave no figure to learn from (NaN is none)."""
        return self.values is None or any(math.isnan(v) for v in self.values)


@dataclass(frozen=True)
class Costs:
    """What is left to spend, and what settings are known to cost, in one unit.

    remaining: a setting predicted dearer than this is not proposed.
    counted: settings with their counted costs; the others are predicted from them.
    """

    remaining: float = math.inf
    counted: tuple[tuple[Setting, float], ...] = ()


@dataclass(frozen=True)
class Key:
    """All the randomness of a proposal: the study's seed and the trial's number."""

    seed: int
    number: int


@dataclass(frozen=True)
class Proposal:
    """A setting to try next.

    move: "train" for a training from the beginning; parent: the trial whose training another move starts from.
    fidelity: the share of a full training.
    origin: where the setting comes from.
    """

    setting: dict[str, Value]
    move: str = "train"
    parent: int | None = None
    fidelity: float = 1.0
    origin: Origin = "surrogate"
