"""The inputs and outputs of the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...search_spaces.space import Setting, Value

Origin = Literal["default", "start", "sobol", "earlier", "surrogate", "random"]


@dataclass(frozen=True)
class Observation:
    """A setting that was tried.

    values: the objectives, all to be minimised; None when the trial failed.
    errors: the standard error of each value, where the measurement gives one.
    constraints: figures that must not exceed zero, by name.
    training: what trials that sampled one and the same trained model have in common; None: a new training.
    cost: what the trial took, in the study's unit of budget.
    fidelity: the share of a full training that the sampled model had had.
    """

    setting: Setting
    values: tuple[float, ...] | None
    cost: float = 0.0
    errors: tuple[float, ...] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    training: object = None
    fidelity: float = 1.0

    @property
    def failed(self) -> bool:
        """Whether the trial gave no figure to learn from (NaN is none)."""
        return self.values is None or any(math.isnan(v) for v in self.values)

    @property
    def violates(self) -> bool:
        """Whether a constraint is known to be broken."""
        return self.violation > 0

    @property
    def violation(self) -> float:
        """By how much constraints are known to be broken together; 0 where none is."""
        return math.fsum(v for v in self.constraints.values() if v > 0)


@dataclass(frozen=True)
class Costs:
    """What is left to spend, and what settings are known to cost, in one unit.

    remaining: a setting predicted to cost more than this is not proposed.
    counted: settings with their counted costs; the others are predicted from them.
    budget: what there was to spend at first.
    parts: settings with the costs of a full training and of sampling, where these are charged apart (`moves`).
    """

    remaining: float = math.inf
    counted: tuple[tuple[Setting, float], ...] = ()
    budget: float = math.inf
    parts: tuple[tuple[Setting, float, float], ...] = ()


@dataclass(frozen=True)
class Kept:
    """A trained model that is kept: a proposal may sample it again, or train it further.

    setting: of its latest trial. training: as the observations of its trials name it. trial: the number of the latest
    of them, which is the parent of what starts from it. fidelity: the share of a full training that it has had.
    failed_at: the least share at which going on with it has failed; it is not tried again.
    """

    setting: Setting
    training: object
    trial: int
    fidelity: float = 1.0
    failed_at: float = math.inf


@dataclass(frozen=True)
class Key:
    """All the randomness of a proposal: the study's seed and the trial's number."""

    seed: int
    number: int


@dataclass(frozen=True)
class Proposal:
    """A setting to try next.

    move: "train" for a training from the beginning, "continue" for more of a kept one, "resample" for none; parent: the
    trial whose training the latter two start from. fidelity: the share of a full training that the model then has had.
    origin: where the setting comes from.
    """

    setting: dict[str, Value]
    move: str = "train"
    parent: int | None = None
    fidelity: float = 1.0
    origin: Origin = "surrogate"
