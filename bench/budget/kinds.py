"""Kinds of budgets: what a trial will cost, what it may cost, and what it is charged. Free of torch.

No other module branches on the kind of a budget.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ..runs.study_file import BudgetKind
from ..runs.study_options import flag

LARGEST_SHARE = 0.5  # of what is left that one trial may take, where that is more than a default training
_NEGLIGIBLE = 1e-9  # share of a budget below which nothing is left of it


class UnpricedError(Exception):
    """A trial's cost is known neither beforehand nor afterwards; the message says why."""


@dataclass(frozen=True)
class Spent:
    """What a trial took.

    planned: floating-point operations by part, as counted before the trial. counted: those of what was done, by the
        same count; None for a trial that failed, which is charged in full.
    fitted: operations that its `fit` stages reported; 0 where they report none.
    training: seconds of all of the training that the trial sampled, whenever its parts were trained.
    paid: those of them that an earlier trial was charged.
    sampling, scoring: seconds of its samples and of its intermediate scores.
    """

    planned: Mapping[str, float] = field(default_factory=dict)
    counted: Mapping[str, float] | None = None
    fitted: float = 0.0
    training: float = 0.0
    paid: float = 0.0
    sampling: float = 0.0
    scoring: float = 0.0

    @property
    def operations(self) -> dict[str, float]:
        """Operations of what was done by part, those of `fit` stages included."""
        done = dict(self.planned if self.counted is None else self.counted)
        if self.fitted:
            done["train"] = done.get("train", 0.0) + self.fitted
        return done

    def share_of(self, price: float) -> float:
        """The part of a price that stands for what was done; all of it where nothing was counted beforehand."""
        planned = sum(self.planned.values())
        return price * sum(self.counted.values()) / planned if planned and self.counted is not None else price


@dataclass(frozen=True)
class Budget(ABC):
    """What each study of a comparison may spend: an amount in the unit of its kind.

    Class attributes: kind, its name in study files; unit, one of it and several in words; spent_label, the axis of what
    was spent; priced_beforehand, whether prices come from operations counted before a trial.
    """

    kind: ClassVar[BudgetKind]
    unit: ClassVar[tuple[str, str]]
    spent_label: ClassVar[str]
    priced_beforehand: ClassVar[bool]

    amount: float = math.inf

    @abstractmethod
    def price(self, operations: tuple[float, float] | None, default: float) -> tuple[float, float] | None:
        """What a full training and a trial's samples will cost; None where that is only known afterwards.

        operations: of the training and of the samples; None for a family that cannot be counted, which takes all of
            the budget. default: those of the default setting, both together; 0 where they are not known beforehand.
        """

    @abstractmethod
    def charge(self, price: float, spent: Spent) -> float:
        """What a finished trial is charged: a completed or stopped one for what it took, a failed one in full.

        price: as known beforehand; 0 where it was not known. Raises UnpricedError where it is not known now either.
        """

    @abstractmethod
    def training_cost(self, cost: float, operations: Mapping[str, float], seconds: Mapping[str, float]) -> float:
        """The part of a cost that went into training; operations and seconds by part, as a record has them."""

    def limit(self, remaining: float, default: float) -> float:
        """The most that one trial may cost: one expensive setting early on would leave no budget for others.

        remaining: what is left of the amount. default: the cost of a full training of the default setting.
        """
        return min(remaining, max(default, LARGEST_SHARE * remaining))

    def deadline(self, remaining: float) -> float | None:
        """Seconds that one trial's training may take; None where a budget does not count them."""
        return None

    def least(self, price: float, default: float) -> float:
        """The smallest amount whose first trial may cost `price`; `default` as for `limit`."""
        return price if self.allows(price, default) else price / LARGEST_SHARE

    def is_spent(self, remaining: float) -> bool:
        """Whether almost nothing is left."""
        return remaining <= _NEGLIGIBLE * self.amount

    @staticmethod
    def allows(cost: float, limit: float) -> bool:
        """Whether a trial keeps to a limit, but for rounding."""
        return cost <= limit * (1 + _NEGLIGIBLE)


@dataclass(frozen=True)
class _Counted(Budget):
    """A budget of counted operations."""

    priced_beforehand: ClassVar[bool] = True

    def charge(self, price: float, spent: Spent) -> float:
        """The price, or the part of it that stands for what was done."""
        return spent.share_of(price)

    def training_cost(self, cost: float, operations: Mapping[str, float], seconds: Mapping[str, float]) -> float:
        """By the share that training has of the operations; all where none are known."""
        train, total = operations.get("train", 0.0), sum(operations.values())
        return cost * train / total if total else cost


@dataclass(frozen=True)
class Trainings(_Counted):
    """Multiples of the operations of a full training of the family's default setting with its samples.

    A training by `fit`, whose operations nobody counts beforehand, costs 1.
    """

    kind: ClassVar[BudgetKind] = "trainings"
    unit: ClassVar[tuple[str, str]] = ("full training's worth", "full trainings' worth")
    spent_label: ClassVar[str] = "full trainings' worth spent"

    def price(self, operations: tuple[float, float] | None, default: float) -> tuple[float, float]:
        """Operations in units of the default setting's."""
        if operations is None:
            return self.amount, 0.0
        train, sample = operations
        return (train / default, sample / default) if default else (1.0, 0.0)


@dataclass(frozen=True)
class FloatingPointOperations(_Counted):
    """Floating-point operations. A training by `fit` is charged afterwards for what it reports."""

    kind: ClassVar[BudgetKind] = "flops"
    unit: ClassVar[tuple[str, str]] = ("floating-point operation", "floating-point operations")
    spent_label: ClassVar[str] = "operations spent"

    def price(self, operations: tuple[float, float] | None, default: float) -> tuple[float, float]:
        """Operations as they were counted; 0 for what trains by `fit`."""
        return (self.amount, 0.0) if operations is None else operations

    def charge(self, price: float, spent: Spent) -> float:
        """As counted beforehand, or by the operations that a `fit` has reported."""
        if price or spent.counted is None:
            return super().charge(price, spent)
        if not spent.fitted:
            raise UnpricedError("does not count the operations of its fit; use --trainings or --seconds")
        return sum(spent.operations.values())


@dataclass(frozen=True)
class Seconds(Budget):
    """Measured seconds of training, of sampling, and of intermediate scores."""

    kind: ClassVar[BudgetKind] = "seconds"
    unit: ClassVar[tuple[str, str]] = ("measured compute second", "measured compute seconds")
    spent_label: ClassVar[str] = "compute seconds spent"
    priced_beforehand: ClassVar[bool] = False

    def price(self, operations: tuple[float, float] | None, default: float) -> None:
        """Known afterwards only."""

    def deadline(self, remaining: float) -> float:
        """All that is left."""
        return remaining

    def charge(self, price: float, spent: Spent) -> float:
        """Seconds, even of a failed trial. A training's are charged once, also where it comes from the cache."""
        return max(0.0, spent.training - spent.paid) + (spent.sampling + spent.scoring)

    def training_cost(self, cost: float, operations: Mapping[str, float], seconds: Mapping[str, float]) -> float:
        """All but the seconds of sampling."""
        return max(cost - seconds.get("sample", 0.0), 0.0)


_KINDS: dict[str, type[Budget]] = {budget.kind: budget for budget in (Trainings, FloatingPointOperations, Seconds)}


def budget_of(kind: str, amount: float) -> Budget:
    """The budget that a study file names."""
    return _KINDS[kind](amount)


def too_little(names: str, kind: str, amount: float, least: float, *, stopping: str = "none") -> str:
    """The message about a budget in which default settings do not fit; `least` would do."""
    why = "; its intermediate scores cost extra, and no trial takes more than half" if stopping != "none" else ""
    return (
        f"{flag(kind)} {amount:g} does not pay for the default setting of {names}{why}; "
        f"wanted {flag(kind)} {_rounded_up(least):g} or more"
    )


def _rounded_up(amount: float, digits: int = 3) -> float:
    """The next higher number of so many digits."""
    unit = 10.0 ** (math.floor(math.log10(amount)) + 1 - digits)
    return float(f"{math.ceil(amount / unit * (1 - 1e-12)) * unit:.{digits}g}")
