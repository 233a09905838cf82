"""One family's study: its tuning on a data set under a budget, from the engine's proposals and the trials' records.

A study's proposals are a function of its records alone: proposal n sees the trials numbered below n - lag, and
takes the later ones as pending, whether or not they have ended. So a resumed study makes the same
proposals, and under counted budgets timing changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...search_spaces import FamilyCard
from ..budget.operations import Operations
from ..budget.setting_cost import SettingCosts
from ..metrics import MetricValue
from ..proposal import Observation, best_settings, incumbents, probabilities_of_better
from ..protocol import SIGNS
from ..runs.constraints import excesses
from ..runs.records import Record
from ..seeds import derive
from .choice import CHALLENGERS, LEAST_PROBABILITY
from .lineage import Lineage
from .planning import PlannedTrial, StudySoFar, TrialPlanner, TuningOptions

MOST_TRIALS = 500  # of a study; see `ask`
# Probability of being better that a setting must have to take the default's place where nothing else decides it.
PROOF = 0.95
_POINTS = 3  # of a Pareto front, at most, that reach the finals


@dataclass(frozen=True)
class Candidate:
    """A trial whose setting is retrained for the choice, and its probability of beating the first candidate's.

    The first is the default's trial where that succeeded; it has no probability.
    """

    trial: int
    probability: float | None = None


class FamilyStudy:
    """One study: asks the engine for trials and takes their records.

    options: as for every study of the comparison. repeat: which repetition of the whole tuning it belongs to.
    count: counts the operations of a setting, as `SettingCosts` has it.
    earlier: trials of earlier studies of the family that proposals learn from, each study's by itself.
    start: settings that are tried after the default, in their order.
    """

    def __init__(
        self,
        card: FamilyCard,
        options: TuningOptions,
        count: Callable[[Mapping[str, Any]], Operations],
        *,
        repeat: int = 0,
        earlier: Sequence[Sequence[Observation]] = (),
        start: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.card = card
        self.repeat = repeat
        self.options = options
        self.budget = options.budget
        self.seed = derive(options.seed, card.name, repeat)
        self.records: dict[int, Record] = {}
        self.running: dict[int, PlannedTrial] = {}
        self.costs = SettingCosts(count, card.space.default(), options.samples, options.budget)
        self._signs = [SIGNS[direction] for direction in options.directions]
        self._ended = False
        self._lineage = Lineage(self.records)
        self._planner = TrialPlanner(
            card, options, self.costs, self._lineage, seed=self.seed, earlier=earlier, first=start
        )

    @property
    def name(self) -> str:
        """The study's name in the store."""
        return self.card.name if self.repeat == 0 else f"{self.card.name}@{self.repeat}"

    @property
    def spent(self) -> float:
        """Cost of all records so far, failures included."""
        return sum(record.cost for record in self.records.values())

    @property
    def ended(self) -> bool:
        """Whether it asks for no more trials."""
        return self._ended

    @property
    def finished(self) -> bool:
        """Whether the rest of the budget pays for no trial, and nothing is running."""
        return self._ended and not self.running

    @property
    def fruitless(self) -> bool:
        """Whether it has finished, and none of its trials has worked."""
        return self.finished and all(record.state != "complete" for record in self.records.values())

    @property
    def work_left(self) -> float:
        """Operations that the rest of the budget stands for: which study to serve first."""
        left = max(0.0, 1.0 - self.spent / self.budget.amount)
        return 0.0 if self._ended else left * max(self.costs.unit, 1.0)

    def ask(self) -> PlannedTrial | None:
        """The next trial, or None when there is none now (see `finished`).

        A study ends after MOST_TRIALS whatever is left of its budget: under `--flops` or `--seconds` a family that
        trains in an instant could otherwise ask for many thousands, each with its overhead.
        """
        if self._ended:
            return None
        known = self.records.keys() | self.running.keys()
        number = next(n for n in range(len(known) + 1) if n not in known)
        if number >= MOST_TRIALS:
            self._ended = True
            return None
        learned_from = range(max(0, number - self.options.lag))
        if any(n not in self.records for n in learned_from):
            return None
        records = [self.records[n] for n in learned_from]
        observations = [self.observation(record) for record in records]
        later = [self._later(n) for n in range(len(records), number)]
        remaining = self.budget.amount - sum(o.cost for o in observations) - sum(cost for _, cost in later)
        so_far = StudySoFar(number, records, observations, [params for params, _ in later], remaining)
        planned = self._planner.plan(so_far)
        if planned is None:
            self._ended = True
            return None
        self.running[number] = planned
        return planned

    def tell(self, record: Record) -> None:
        """Takes the record of a trial; a trial that the machine lost is asked for again."""
        self.running.pop(record.number, None)
        self.records[record.number] = record

    def observations(self) -> list[Observation]:
        """All finished trials as the engine takes them, in their order."""
        return [self.observation(self.records[n]) for n in sorted(self.records)]

    def end(self) -> None:
        """Ends the study whatever is left of its budget."""
        self._ended = True

    def candidates(self) -> list[Candidate]:
        """The settings among which retrainings choose: the default, and those that may well be better.

        At most `CHALLENGERS` of the best others by posterior mean, each with a probability of at least
        `LEAST_PROBABILITY` of beating the default. Where the default's trial failed or breaks a constraint, the best by
        posterior mean stands in its place; where all trials break one, the one that does so least is alone. Empty where
        no trial succeeded.
        """
        complete, observations = self._complete()
        if not complete:
            return []
        space, noise = self.card.space, self._planner.usual_noise
        ranked = best_settings(space, observations, at_most=CHALLENGERS + 1, usual_noise=noise)
        if not ranked:
            return [Candidate(complete[_least_violating(observations)].number)]
        first = 0 if complete[0].number == 0 and not observations[0].violates else ranked[0]
        others = [i for i in ranked if complete[i].params != complete[first].params][:CHALLENGERS]
        chances = probabilities_of_better(space, observations, others, first, usual_noise=noise) if others else []
        found = zip(others, chances, strict=True)
        return [Candidate(complete[first].number)] + [
            Candidate(complete[i].number, chance) for i, chance in found if chance >= LEAST_PROBABILITY
        ]

    def incumbents(self, first: Record | None = None) -> list[Record]:
        """The best settings by posterior mean among those tried: one, or at most three Pareto points.

        Settings that break a constraint are passed over; where all do, it is the one that breaks them least.

        first: the trial whose setting retrainings have chosen by the first objective, which comes first. None: they
            were not asked; then, with one objective, the default setting remains until another is better with a
            probability of 95%, since a few trials with one training each often favour a lucky setting that is worse.
        """
        complete, observations = self._complete()
        if not complete or (first is not None and len(self._signs) == 1):
            return [] if first is None else [first]
        noise = self._planner.usual_noise
        chosen = incumbents(self.card.space, observations, usual_noise=noise)
        if first is not None:
            others = [complete[i] for i in chosen if complete[i].params != first.params]
            return [first, *others[: _POINTS - 1]]
        if not chosen:
            return [complete[_least_violating(observations)]]
        stands = complete[0].number == 0 and not observations[0].violates
        if len(self._signs) == 1 and stands and chosen != [0]:
            (confidence,) = probabilities_of_better(self.card.space, observations, chosen, 0, usual_noise=noise)
            if confidence < PROOF:
                chosen = [0]
        return [complete[i] for i in chosen]

    def _complete(self) -> tuple[list[Record], list[Observation]]:
        """The trials that trained in full and gave scores, in their order, and as the engine takes them."""
        complete = [self.records[n] for n in sorted(self.records) if self.records[n].state == "complete"]
        return complete, [self.observation(record) for record in complete]

    def observation(self, record: Record) -> Observation:
        """A finished trial as the engine takes it: all objectives to be minimised, with their standard errors."""
        values = errors = None
        if record.objectives is not None:
            values = tuple(sign * value for sign, value in zip(self._signs, record.objectives, strict=True))
            errors = record.errors or self._errors_of_intervals(record)
        return Observation(
            dict(record.params),
            values,
            cost=record.cost,
            errors=errors,
            constraints=excesses(self.options.constraints, [record]),
            training=self._lineage.root(record).number if self.options.two_speeds else None,
            fidelity=record.fidelity,
        )

    def _errors_of_intervals(self, record: Record) -> tuple[float, ...] | None:
        """Standard errors of both sides together, as records of before 2026-12 have them."""
        figures = [record.metrics.get(name, {}) for name in self.options.objectives]
        return tuple(MetricValue(0.0, f.get("low"), f.get("high")).standard_error for f in figures) or None

    def _later(self, number: int) -> tuple[Mapping[str, Any], float]:
        """Setting and cost of a trial that the next proposal may not look at."""
        if number in self.running:
            planned = self.running[number]
            return planned.proposal.setting, planned.cost
        record = self.records[number]
        return record.params, record.cost


def _least_violating(observations: Sequence[Observation]) -> int:
    """The index of the trial that is least far beyond its constraints."""
    return min(range(len(observations)), key=lambda i: observations[i].violation)
