"""One study: a family tuned on a data set under a budget. It asks the engine, and is told records.

A study's proposals are a function of its records alone: proposal n sees the trials numbered below n - lag, and
takes the later ones as pending, whether or not they have ended. So a resumed study goes on with the same
proposals, and under counted budgets timing changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...search_spaces import FamilyCard, SearchSpace
from ..budget.operations import Operations
from ..budget.setting_cost import SettingCosts
from ..proposal import (
    Costs,
    Curve,
    Kept,
    Key,
    Observation,
    Point,
    Proposal,
    StoppingRule,
    incumbents,
    probability_of_better,
    propose,
)
from ..protocol import SIGNS, rungs_between
from ..runs.records import Figure, Record
from ..runs.study_file import BudgetKind, StoppingChoice
from ..seeds import derive

_COUNTS = 12  # proposals that may be counted and found too dear before a study ends
_START = 5  # trials before the surrogate is asked: budgets are often of a dozen
_FIDELITIES = (0.25, 0.5, 1.0)  # shares of a full training that a new one may have
MOST_TRIALS = 500  # of a study; see `ask`
_PROOF = 0.95  # probability of being better that a setting must have to take the default's place
_LARGEST_SHARE = 0.5  # of what is left that one trial may take, where that is more than a default training
# Times what the least training of the default setting costs, which a trial of the start may take where there are two
# speeds: one dear setting, trained in part at random, would take what many samples of the default's training cost.
_START_COST = 2.0
_NEGLIGIBLE = 1e-9  # share of a budget below which nothing is left of it


@dataclass(frozen=True)
class PlannedTrial:
    """A trial to carry out.

    training_seed: of the training that it samples or goes on with; None for one of its own. paid: measured seconds of
    that training that an earlier trial was charged. stopping: the rule by which its training may be stopped.
    """

    number: int
    proposal: Proposal
    cost: float
    operations: Mapping[str, float]
    seed: int
    deadline: float | None
    training_seed: int | None = None
    paid: float = 0.0
    stopping: StoppingRule | None = None


class FamilyStudy:
    """The state of one study between the engine and the scheduler.

    count: counts the operations of a setting, as `SettingCosts` has it.
    directions: "lower" or "higher" for each objective; objectives: their metrics, whose intervals tell the engine how
        well a trial was measured.
    samples: how many samples a trial draws.
    start: length of the space-filling start; None: five trials.
    earlier: trials of earlier studies of the family that proposals learn from, each study's by itself.
    two_speeds: whether trainings are kept, to be sampled anew and trained further; else each trial trains in full.
    stopping: the rule by which trainings are stopped on their way, in place of proposals to train in part; the default
        setting is trained in full.
    """

    def __init__(
        self,
        card: FamilyCard,
        *,
        repeat: int,
        budget: tuple[BudgetKind, float],
        directions: Sequence[str],
        count: Callable[[Mapping[str, Any]], Operations],
        samples: int,
        seed: int,
        lag: int,
        start: int | None = None,
        objectives: Sequence[str] = (),
        earlier: Sequence[Sequence[Observation]] = (),
        two_speeds: bool = False,
        stopping: StoppingChoice = "none",
    ) -> None:
        self.card = card
        self.repeat = repeat
        self.budget_kind, self.budget = budget
        self.seed = derive(seed, card.name, repeat)
        self.lag = lag
        self.records: dict[int, Record] = {}
        self.running: dict[int, PlannedTrial] = {}
        self._objectives = objectives
        self._earlier = earlier
        self._signs = [SIGNS[direction] for direction in directions]
        self._start = _START if start is None else start
        self._ended = False
        self.costs = SettingCosts(count, card.space.default(), samples, budget)
        default = self.costs.default
        self._two_speeds = two_speeds
        self._stopping: StoppingChoice = stopping if default.train else "none"
        # Where a later stage starts from averaged weights, another average is another training.
        self._space = _with_averages_trained(card.space) if default.chained else card.space
        # What trains by `fit` is trained whole, and so is what a rule may stop.
        in_parts = two_speeds and self._stopping == "none" and default.train
        self._fidelities = _FIDELITIES if in_parts else (1.0,)

    @property
    def name(self) -> str:
        """The study's name in the store."""
        return self.card.name if self.repeat == 0 else f"{self.card.name}@{self.repeat}"

    @property
    def spent(self) -> float:
        """Cost of all records so far, failures included."""
        return sum(record.cost for record in self.records.values())

    @property
    def finished(self) -> bool:
        """Whether the budget is used up as far as it can be, and nothing is running."""
        return self._ended and not self.running

    @property
    def work_left(self) -> float:
        """Operations that the rest of the budget stands for: which study to serve first."""
        left = max(0.0, 1.0 - self.spent / self.budget)
        return 0.0 if self._ended else left * max(self.costs.unit, 1.0)

    def ask(self) -> PlannedTrial | None:
        """The next trial, or None when there is none now (see `finished`).

        A study ends after MOST_TRIALS whatever is left of its budget: under `--flops` or `--seconds` a family that
        trains in an instant could otherwise ask for many thousands, each with its overhead.
        """
        if self._ended:
            return None
        number = next(n for n in range(len(self.records) + len(self.running) + 1) if n not in self._known)
        if number >= MOST_TRIALS:
            self._ended = True
            return None
        seen = [self.records.get(n) for n in range(max(0, number - self.lag))]
        if any(record is None for record in seen):
            return None
        records = [record for record in seen if record is not None]
        observations = [self._observation(record) for record in records]
        later = [self._later(n) for n in range(len(seen), number)]
        remaining = self.budget - sum(o.cost for o in observations) - sum(cost for _, cost in later)
        asked = self._propose(number, records, observations, [params for params, _ in later], remaining)
        if asked is None:
            self._ended = True
            return None
        self.running[number] = asked
        return asked

    def tell(self, record: Record) -> None:
        """Takes the record of a trial; a trial that the machine lost is simply asked for again."""
        self.running.pop(record.number, None)
        self.records[record.number] = record

    def abandon(self, number: int) -> None:
        """Forgets a trial that was started and has left no record."""
        self.running.pop(number, None)

    def observations(self) -> list[Observation]:
        """All finished trials as the engine has them, in their order."""
        return [self._observation(self.records[n]) for n in sorted(self.records)]

    def incumbents(self) -> list[Record]:
        """The best settings by posterior mean among those tried: one, or at most three Pareto points.

        With one objective the default setting stands until another is better with a probability of 95%: a few
        trials with one training each often name a lucky setting that is worse.
        """
        complete = [self.records[n] for n in sorted(self.records) if self.records[n].state == "complete"]
        if not complete:
            return []
        observations = [self._observation(record) for record in complete]
        chosen = incumbents(self.card.space, observations)
        if len(self._signs) == 1 and complete[0].number == 0 and chosen != [0]:
            confidence = probability_of_better(self.card.space, observations, chosen[0], 0)
            if confidence < _PROOF:
                chosen = [0]
        return [complete[i] for i in chosen]

    @property
    def _known(self) -> set[int]:
        return self.records.keys() | self.running.keys()

    def _propose(
        self,
        number: int,
        records: list[Record],
        observations: list[Observation],
        pending: list[Mapping[str, Any]],
        remaining: float,
    ) -> PlannedTrial | None:
        if remaining <= _NEGLIGIBLE * self.budget:
            return None
        # One dear setting early on would leave nothing to learn from it with.
        limit = min(remaining, max(self._cost_of_default(observations), _LARGEST_SHARE * remaining))
        kept = self._kept(records) if self._two_speeds else []
        asked = None
        if 0 < number < self._start and len(self._fidelities) > 1:
            low = min(limit, self._start_limit(records))
            asked = self._within(low, number, records, observations, pending, kept, remaining)
        return asked or self._within(limit, number, records, observations, pending, kept, remaining)

    def _within(
        self,
        limit: float,
        number: int,
        records: Sequence[Record],
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Any]],
        kept: Sequence[Kept],
        remaining: float,
    ) -> PlannedTrial | None:
        """A trial that costs no more than a limit, as far as that is known beforehand; None where there is none."""
        if self.budget_kind == "seconds":
            parts = self._measured_parts(records) if self._two_speeds else ()
            counted = tuple((s, t + d) for s, t, d in parts) or tuple((o.setting, o.cost) for o in observations)
            costs = Costs(limit, counted, self.budget, parts)
            proposal = self._call_engine(number, observations, pending, kept, costs)
            return None if proposal is None else self._asked(number, proposal, 0.0, remaining, records)
        # The engine learns costs from the trials before this one alone, so that a resumed study learns the same.
        tried = [self.card.space.default(), *(o.setting for o in observations), *pending]
        for _ in range(_COUNTS):
            parts = tuple((setting, *self.costs.parts(setting)) for setting in tried)
            counted = tuple((setting, train + sample) for setting, train, sample in parts)
            costs = Costs(limit, counted, self.budget, parts if self._two_speeds else ())
            proposal = self._call_engine(number, observations, pending, kept, costs)
            if proposal is None:
                return None
            cost = self.costs.marginal(proposal.setting, self._share(proposal), self._scores(proposal))
            if cost <= limit * (1 + _NEGLIGIBLE):
                return self._asked(number, proposal, cost, None, records)
            tried.append(proposal.setting)
        return None

    def _cost_of_default(self, observations: Sequence[Observation]) -> float:
        if self.budget_kind == "seconds":
            return observations[0].cost if observations else self.budget
        return self.costs.of(self.card.space.default())

    def _start_limit(self, records: Sequence[Record]) -> float:
        """The most that a trial of the start may cost where trainings may be partial."""
        if self.budget_kind != "seconds":
            train, sample = self.costs.parts(self.card.space.default())
        elif parts := self._measured_parts(records[:1]):
            _, train, sample = parts[0]
        else:
            return math.inf
        return _START_COST * (self._fidelities[0] * train + sample)

    def _call_engine(
        self,
        number: int,
        observations: Iterable[Observation],
        pending: Iterable[Mapping[str, Any]],
        kept: Sequence[Kept],
        costs: Costs,
    ) -> Proposal | None:
        return propose(
            self._space,
            list(observations),
            list(pending),
            kept,
            costs,
            Key(self.seed, number),
            start=self._start,
            earlier=self._earlier,
            fidelities=self._fidelities,
        )

    def _kept(self, records: Sequence[Record]) -> list[Kept]:
        """The trainings of these trials that a proposal may start from, each as its furthest trial left it."""
        furthest: dict[int, Record] = {}
        failed_at: dict[int, float] = {}
        for record in records:
            root = self._root(record)
            if record.objectives is None and record.move == "continue":
                failed_at[root] = min(record.fidelity, failed_at.get(root, math.inf))
            if record.objectives is not None and (root not in furthest or record.fidelity >= furthest[root].fidelity):
                furthest[root] = record
        return [
            Kept(record.params, root, record.number, record.fidelity, failed_at.get(root, math.inf))
            for root, record in furthest.items()
        ]

    def _root(self, record: Record) -> int:
        """The number of the trial that began the training that a trial sampled."""
        while record.parent is not None:
            record = self.records[record.parent]
        return record.number

    def _measured_parts(self, records: Sequence[Record]) -> tuple[tuple[Mapping[str, Any], float, float], ...]:
        """Seconds of a full training, and of sampling, of the trials that gave scores."""
        return tuple(
            (record.params, _training_seconds(record) / record.fidelity, record.seconds.get("sample", 0.0))
            for record in records
            if record.objectives is not None
        )

    def _asked(
        self, number: int, proposal: Proposal, cost: float, deadline: float | None, records: Sequence[Record]
    ) -> PlannedTrial:
        asked = PlannedTrial(
            number,
            proposal,
            cost,
            self.costs.operations(proposal.setting, self._share(proposal), self._scores(proposal)),
            derive(self.seed, "trial", number),
            deadline,
            stopping=self._rule(number, proposal, records),
        )
        if proposal.parent is None:
            return asked
        parent = self.records[proposal.parent]
        root = self.records[self._root(parent)]
        return replace(asked, training_seed=root.seed, paid=_training_seconds(parent))

    def _rule(self, number: int, proposal: Proposal, records: Sequence[Record]) -> StoppingRule | None:
        """What may stop a trial, by the curves of those that its proposal has seen; nothing stops the default one."""
        if self._stopping == "none":
            return None
        curves = [self._curve(record) for record in records if record.curve] if number else []
        root = number if proposal.parent is None else self._root(self.records[proposal.parent])
        return StoppingRule(self._stopping, self._space, tuple(curves), root, self._begun(proposal))

    def _curve(self, record: Record) -> Curve:
        points = tuple(Point(p["fidelity"], p["objectives"]) for p in record.curve)
        return Curve(dict(record.params), self._root(record), points)

    def _begun(self, proposal: Proposal) -> float:
        """The share of a full training that is kept of what a proposal starts from."""
        return 0.0 if proposal.parent is None else self.records[proposal.parent].fidelity

    def _share(self, proposal: Proposal) -> float:
        """The share of a full training that a proposal adds to what is kept."""
        return max(proposal.fidelity - self._begun(proposal), 0.0)

    def _scores(self, proposal: Proposal) -> int:
        """How many intermediate scores a proposal takes, its last one included."""
        if self._stopping == "none":
            return 0
        return len(rungs_between(self._begun(proposal), proposal.fidelity)) + 1

    def _observation(self, record: Record) -> Observation:
        values = errors = None
        if record.objectives is not None:
            values = tuple(sign * value for sign, value in zip(self._signs, record.objectives, strict=True))
            errors = tuple(_standard_error(record.metrics.get(name, {})) for name in self._objectives) or None
        return Observation(
            dict(record.params),
            values,
            cost=record.cost,
            errors=errors,
            training=self._root(record) if self._two_speeds else None,
            fidelity=record.fidelity,
        )

    def _later(self, number: int) -> tuple[Mapping[str, Any], float]:
        """Setting and cost of a trial that the next proposal may not look at."""
        if number in self.running:
            asked = self.running[number]
            return asked.proposal.setting, asked.cost
        record = self.records[number]
        return record.params, record.cost


def _with_averages_trained(space: SearchSpace) -> SearchSpace:
    """The space with the choice of an average as a part of the training."""
    return SearchSpace(tuple(replace(p, role="loop") if p.role == "average" else p for p in space))


def _training_seconds(record: Record) -> float:
    """Seconds of all of the training that a trial sampled, whoever was charged for them."""
    return record.seconds.get("train", 0.0) + record.seconds.get("kept", 0.0)


def _standard_error(figure: Figure) -> float:
    """The standard error behind a metric's 95% interval; 0 where it has none."""
    low, high = figure.get("low"), figure.get("high")
    return 0.0 if low is None or high is None else (high - low) / (2 * 1.96)
