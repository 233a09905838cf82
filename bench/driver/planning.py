"""Plans the next trial of a study: gives the engine costs and kept trainings, and prices its proposal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...search_spaces import FamilyCard, SearchSpace
from ..budget.kinds import Budget, budget_of
from ..budget.setting_cost import SettingCosts
from ..proposal import Costs, Key, Observation, Proposal, StoppingRule, propose, stated
from ..protocol import shares_between
from ..runs.constraints import Constraint
from ..runs.records import Record
from ..runs.study_file import StoppingChoice, StudyFile
from ..seeds import derive
from .lineage import Lineage, training_seconds

_COUNTS = 12  # proposals that may be counted and found too expensive before a study ends
_FIDELITIES = (0.25, 0.5, 1.0)  # shares of a full training that a new one may have
# The most that a trial of the start may cost under two speeds, in costs of the default setting's shortest training:
# a random expensive setting, even partly trained, would cost as much as many samples of the default's training.
_START_COST = 2.0


@dataclass(frozen=True)
class TuningOptions:
    """How each study of a comparison is tuned.

    budget: of each study.
    directions: "lower" or "higher" for each objective; objectives: their metrics, whose intervals tell the engine how
        well a trial was measured.
    samples: how many samples a trial draws.
    seed: of the comparison.
    lag: how many of the latest trials a proposal ignores.
    start: length of the space-filling start. priors: whether what cards say of good values and of noise is used.
    two_speeds: whether trainings are kept, to be resampled and trained further; else each trial trains in full.
    constraints: what settings have to keep besides.
    stopping: the rule by which trainings are stopped early, in place of proposals to train in part; the default
        setting is trained in full.
    """

    budget: Budget
    directions: Sequence[str]
    samples: int
    objectives: Sequence[str] = ()
    seed: int = 0
    lag: int = 0
    start: int = 5  # budgets are often of a dozen trials
    priors: bool = True
    two_speeds: bool = False
    constraints: Sequence[Constraint] = ()
    stopping: StoppingChoice = "none"


def tuning_options(
    config: StudyFile, directions: Sequence[str], bounds: Sequence[Constraint], *, samples: int, lag: int
) -> TuningOptions:
    """How the studies of a comparison are tuned. bounds: the constraints in force; the others as in `TuningOptions`."""
    bayesian = config.sampler == "bayesian"
    options = TuningOptions(
        budget=budget_of(*config.budget),
        directions=directions,
        samples=samples,
        objectives=config.objective,
        seed=config.seed,
        lag=lag,
        two_speeds=config.two_speeds and bayesian,
        constraints=bounds,
        stopping=config.stopping,
    )
    # A start that never ends, and knows nothing, is a random search.
    return options if bayesian else replace(options, start=10**9, priors=False)


@dataclass(frozen=True)
class PlannedTrial:
    """A trial to carry out.

    cost: its price beforehand; 0 where that is only known afterwards. operations: as counted beforehand, by part.
    deadline: seconds that its training may take; None: as many as it needs.
    training_seed: of the training that it samples or continues; None for a new one. paid: measured seconds of
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


@dataclass(frozen=True)
class StudySoFar:
    """What the next proposal sees of a study.

    number: of the next trial. records, observations: of the trials that it learns from.
    pending: settings of the later ones, finished or not. remaining: what is left of the budget beyond them.
    """

    number: int
    records: Sequence[Record]
    observations: Sequence[Observation]
    pending: Sequence[Mapping[str, Any]]
    remaining: float


class TrialPlanner:
    """Plans the trials of one study.

    costs: of the family's settings, in the study's budget. lineage: the trainings behind its trials.
    usual_noise: of each objective, by the family's card.
    seed: of the study. earlier: trials of earlier studies of the family, each study's by itself.
    first: settings that are tried after the default, in full; then what the engine proposes.
    """

    def __init__(
        self,
        card: FamilyCard,
        options: TuningOptions,
        costs: SettingCosts,
        lineage: Lineage,
        *,
        seed: int,
        earlier: Sequence[Sequence[Observation]] = (),
        first: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._first = first
        self._options, self._costs, self._lineage = options, costs, lineage
        self._seed, self._earlier = seed, earlier
        self._beliefs = stated(card.space) if options.priors else {}
        self.usual_noise = [card.noise.get(name, 0.0) for name in options.objectives] if options.priors else []
        self._default = card.space.default()
        counted = costs.default
        self._stopping: StoppingChoice = options.stopping if counted.train else "none"
        # Where a later stage starts from averaged weights, another average is another training.
        self._space = _with_averages_trained(card.space) if counted.chained else card.space
        # Trainings by `fit`, and those that a rule may stop, are planned in full.
        in_parts = options.two_speeds and self._stopping == "none" and counted.train
        self._fidelities = _FIDELITIES if in_parts else (1.0,)

    def plan(self, so_far: StudySoFar) -> PlannedTrial | None:
        """The next trial; None where the rest of the budget pays for none."""
        budget = self._options.budget
        if budget.is_spent(so_far.remaining):
            return None
        if 1 <= so_far.number <= len(self._first):
            # It is asked for: the share of the budget that one proposal may take does not bind it.
            setting = self._first[so_far.number - 1]
            chosen, price = Proposal(dict(setting), origin="start"), self._costs.of(setting)
            if price is None or budget.allows(price, so_far.remaining):
                return self._planned(so_far, chosen, price or 0.0)
        limit = budget.limit(so_far.remaining, self._cost_of_default(so_far.observations))
        planned = None
        if 0 < so_far.number < self._options.start and len(self._fidelities) > 1:
            planned = self._within(min(limit, self._start_limit(so_far.records)), so_far)
        return planned or self._within(limit, so_far)

    def _within(self, limit: float, so_far: StudySoFar) -> PlannedTrial | None:
        """A trial that costs no more than a limit, as far as that is known beforehand; None where there is none."""
        # The engine learns costs from the trials before this one alone, so that a resumed study learns the same.
        tried = [self._default, *(o.setting for o in so_far.observations), *so_far.pending]
        for _ in range(_COUNTS):
            proposal = self._propose(so_far, self._known_costs(limit, tried, so_far))
            if proposal is None:
                return None
            share, scores = self._share(proposal), self._scores(proposal)
            price = self._costs.marginal(proposal.setting, share, scores)
            if price is None or self._options.budget.allows(price, limit):
                return self._planned(so_far, proposal, price or 0.0)
            tried.append(proposal.setting)
        return None

    def _known_costs(self, limit: float, tried: Sequence[Mapping[str, Any]], so_far: StudySoFar) -> Costs:
        """Costs for the engine: prices of the settings tried or, without prices, what trials were charged."""
        two_speeds, parts = self._options.two_speeds, []
        for setting in tried:
            price = self._costs.parts(setting)
            if price is None:
                measured = _measured_parts(so_far.records) if two_speeds else ()
                known = tuple((s, t + d) for s, t, d in measured)
                known = known or tuple((o.setting, o.cost) for o in so_far.observations)
                return Costs(limit, known, self._options.budget.amount, measured)
            parts.append((setting, *price))
        known = tuple((setting, train + sample) for setting, train, sample in parts)
        return Costs(limit, known, self._options.budget.amount, tuple(parts) if two_speeds else ())

    def _cost_of_default(self, observations: Sequence[Observation]) -> float:
        price = self._costs.of(self._default)
        if price is not None:
            return price
        return observations[0].cost if observations else self._options.budget.amount

    def _start_limit(self, records: Sequence[Record]) -> float:
        """The most that a trial of the start may cost where trainings may be partial."""
        parts = self._costs.parts(self._default)
        if parts is None:
            measured = _measured_parts(records[:1])
            if not measured:
                return math.inf
            parts = measured[0][1:]
        train, sample = parts
        return _START_COST * (self._fidelities[0] * train + sample)

    def _propose(self, so_far: StudySoFar, costs: Costs) -> Proposal | None:
        return propose(
            self._space,
            list(so_far.observations),
            list(so_far.pending),
            self._lineage.kept(so_far.records) if self._options.two_speeds else [],
            costs,
            Key(self._seed, so_far.number),
            start=self._options.start,
            earlier=self._earlier,
            fidelities=self._fidelities,
            beliefs=self._beliefs,
            usual_noise=self.usual_noise,
        )

    def _planned(self, so_far: StudySoFar, proposal: Proposal, price: float) -> PlannedTrial:
        planned = PlannedTrial(
            so_far.number,
            proposal,
            price,
            self._costs.operations(proposal.setting, self._share(proposal), self._scores(proposal)),
            derive(self._seed, "trial", so_far.number),
            self._options.budget.deadline(so_far.remaining),
            stopping=self._rule(so_far, proposal),
        )
        parent = self._lineage.parent_of(proposal)
        if parent is None:
            return planned
        return replace(planned, training_seed=self._lineage.root(parent).seed, paid=training_seconds(parent))

    def _rule(self, so_far: StudySoFar, proposal: Proposal) -> StoppingRule | None:
        """The rule that may stop a trial, by the curves of earlier trials; None for the default setting."""
        if self._stopping == "none":
            return None
        number = so_far.number
        curves = [self._lineage.curve(record) for record in so_far.records if record.curve] if number else []
        parent = self._lineage.parent_of(proposal)
        root = number if parent is None else self._lineage.root(parent).number
        return StoppingRule(self._stopping, self._space, tuple(curves), root, self._lineage.begun(proposal))

    def _share(self, proposal: Proposal) -> float:
        """The share of a full training that a proposal adds to its parent's."""
        return max(proposal.fidelity - self._lineage.begun(proposal), 0.0)

    def _scores(self, proposal: Proposal) -> int:
        """How many intermediate scores a proposal takes, its last one included."""
        if self._stopping == "none":
            return 0
        return len(shares_between(self._lineage.begun(proposal), proposal.fidelity)) + 1


def _measured_parts(records: Sequence[Record]) -> tuple[tuple[Mapping[str, Any], float, float], ...]:
    """Seconds of a full training, and of sampling, of the trials that gave scores."""
    return tuple(
        (record.params, training_seconds(record) / record.fidelity, record.seconds.get("sample", 0.0))
        for record in records
        if record.objectives is not None
    )


def _with_averages_trained(space: SearchSpace) -> SearchSpace:
    """The space with the choice of an average as a part of the training."""
    return SearchSpace(tuple(replace(p, role="loop") if p.role == "average" else p for p in space))
