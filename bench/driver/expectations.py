"""How long jobs will take on this machine: first from measured steps and samples, then from what has finished."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any

from .. import protocol
from ..budget.operations import UncountableError
from ..budget.pace import Pace
from ..budget.setting_cost import SettingCosts
from ..data import DataSet
from ..runs.records import Record
from ..scoring.held_out import held_out_examples
from ..trial.jobs import Limits
from .outlook import Outlook

# A part of a trial hangs where it takes this many times what is expected, and at least so many seconds.
TIMES, LEAST = 20.0, 60.0
# Seconds to score, and to score each thousand samples, by kind of score, before any of its kind has been taken: of a
# trial, of a retraining on validation (all samples, the same metrics), and on test (every metric).
_SCORING = {"trial": (0.1, 0.55), "choice": (0.1, 0.55), "test": (1.0, 1.6)}
# The first score of a worker waits for libraries: alone, it may lengthen what is expected so many times at most.
_FIRST, _RECENT = 3.0, 7  # and only so many of the latest scores count, since other programs come and go
_TYPICALITY = 4  # likelihoods on test for each held-out example, besides its own: of outliers, and without labels
# Seconds from what is measured beforehand to the first job, and from the last one to the report.
_START, _REPORT = 8.0, 5.0
_CONCLUDING = 0.01  # seconds of the driver to conclude a study, for each of its trials
# Seconds of a job outside its parts, its data and its way to a worker and back, until so many jobs have ended: the
# first one of each worker takes far longer.
_REST, _REST_FROM = 0.2, 4


def kind_of_score(role: str, split: str) -> str:
    """What a job's scores are like: "trial", also for references on validation, "choice" or "test"."""
    return "test" if split == "test" else "choice" if role == "choice" else "trial"


@dataclass
class _Learned:
    """Seconds that parts took, and those that the measured pace had said, summed over finished jobs."""

    taken: dict[str, float] = field(default_factory=dict)
    said: dict[str, float] = field(default_factory=dict)
    each: dict[str, list[float]] = field(default_factory=dict)  # ratios of single jobs, in the order of their ends

    def add(self, part: str, taken: float, said: float) -> None:
        if said:
            self.each.setdefault(part, []).append(taken / said)
        self.taken[part] = self.taken.get(part, 0.0) + taken
        self.said[part] = self.said.get(part, 0.0) + said

    def ratio(self, part: str) -> float | None:
        """What was taken for each second that was said; None before anything was."""
        return self.taken[part] / self.said[part] if self.said.get(part) else None

    def usual(self, part: str, least: int = 1) -> float | None:
        """The lower median of the latest jobs, which a single slow one does not move; None before `least` of them."""
        ratios = self.each.get(part, [])[-_RECENT:]
        if len(ratios) < least:
            return None
        return min(ratios[0], _FIRST) if len(ratios) == 1 else median_low(ratios)


class Expectations:
    """Predicts the seconds of jobs.

    paces: of each family's default setting, as measured when the run began. costs: counts of settings; other settings
    are taken to need as much longer than the default as they have more operations. samples: that a trial draws.
    held_out: by kind of score, how many examples have their likelihood computed, for each label. machine: how much
    slower this machine scores than that of the first guesses. looking: seconds of each evaluator to look at a sample,
    the primary one first.
    """

    def __init__(
        self,
        paces: Mapping[str, Pace],
        costs: Mapping[str, SettingCosts],
        samples: int,
        *,
        held_out: Mapping[str, int] | None = None,
        machine: float = 1.0,
        looking: Sequence[float] = (),
    ) -> None:
        self.paces, self._costs, self.samples = paces, costs, samples
        self._held_out, self._machine, self._looking = held_out or {}, machine, tuple(looking)
        self._learned: dict[str, _Learned] = {}  # by family; "" for all together

    @classmethod
    def before(cls, data: DataSet, outlook: Outlook) -> Expectations:
        """What is expected of a comparison before anything has finished."""
        on_validation, on_test = len(held_out_examples(data, "validation")), len(held_out_examples(data, "test"))
        held_out = {"trial": on_validation, "choice": on_validation, "test": on_test}
        samples = min(protocol.SAMPLES, len(data.splits["validation"]))
        looking = [evaluator.example for evaluator in outlook.evaluators]
        return cls(outlook.paces, outlook.costs, samples, held_out=held_out, machine=outlook.machine, looking=looking)

    def take(self, record: Record, seconds: float | None = None) -> None:
        """Learns from a finished job; what failed has ended early and teaches nothing.

        seconds: from its start to its end, as the driver saw it; None: not known.
        """
        if record.objectives is None and record.role != "reference":
            return
        parts, family = record.seconds, record.family
        own, shared = (self._learned.setdefault(name, _Learned()) for name in (family, ""))
        if family in self.paces:
            own.add("train", (parts.get("train", 0.0) + parts.get("kept", 0.0)), self._said_training(record))
            own.add("sample", parts.get("sample", 0.0), self._said_sampling(family, record.params, record.samples))
        if "measure" in parts:
            kind = kind_of_score(record.role, record.split)
            said = self._said_scoring(family, kind, record.samples)
            for learned in (own, shared):
                learned.add(kind, parts["measure"], said)
                learned.add("measure", parts["measure"], said)
            if seconds is not None:
                shared.add("rest", max(0.0, seconds - record.seconds_spent), 1.0)

    def training(self, family: str, params: Mapping[str, Any] | None = None) -> float | None:
        """Seconds of a full training; `params` None: of the default setting. None where nothing is known."""
        known = self._unit(family, "train")
        return None if known is None else known * self._relative(family, params, "train")

    def sampling(self, family: str, params: Mapping[str, Any] | None, n: int) -> float | None:
        """Seconds of n samples."""
        known = self._unit(family, "sample")
        return None if known is None else known * n * self._relative(family, params, "sample")

    def scoring(self, family: str, kind: str, n: int) -> float:
        """Seconds of scoring n samples, by kind of score, and of what a job takes besides its parts.

        As jobs of the family's own took that were scored so, else those of others, else scores of other kinds. What
        these took more may lie in their fixed part, which a score of ten times the samples does not pay ten times: half
        of it is believed, on a log scale.
        """
        said, rest = self._said_scoring(family, kind, n), self._usual("", "rest", _REST_FROM)
        ratios = (self._usual(family, kind), self._usual("", kind), math.sqrt(self._usual("", "measure") or 1.0))
        known = next(ratio for ratio in ratios if ratio is not None)
        return known * said + (_REST * self._machine if rest is None else rest)

    @property
    def start(self) -> float:
        """Seconds until the first job: imports, and workers that start."""
        return _START * self._machine

    @property
    def report(self) -> float:
        """Seconds from the last job to the end of the command."""
        return _REPORT * self._machine

    def concluding(self, trials: int) -> float:
        """Seconds of the driver between a tuning of so many trials and its finals: candidates, and what mattered."""
        return _CONCLUDING * trials * self._machine

    def references(self, families: int, seeds: int, final_samples: int) -> float:
        """Seconds of a run's references: real examples against real ones, and so many families with each seed."""
        both = self.scoring("", "trial", self.samples) + self.scoring("", "test", final_samples)
        return (1 + families * seeds) * both

    def operations(self, family: str, params: Mapping[str, Any] | None, n: int) -> float:
        """Counted operations of a full training with n samples; 0 where they cannot be counted."""
        costs = self._costs[family]
        return sum(costs.drawing(n).operations(costs.setting if params is None else params).values())

    def price(self, family: str) -> float | None:
        """What the default setting costs in a trial; None where it is only known afterwards."""
        return self._costs[family].of(self.default(family))

    def default(self, family: str) -> dict[str, Any]:
        """The default setting."""
        return dict(self._costs[family].setting)

    def limits(self, family: str, params: Mapping[str, Any], kind: str, n: int) -> Limits:
        """When the parts of a job hang: where nothing is known of a training, it may take as long as it likes.

        Likelihoods are a part of scoring, and could not be measured for every family: they may cost a training more.
        """
        pace = self.paces.get(family, Pace())
        sampling, training = self.sampling(family, params, n), self.training(family, params)
        longest = None if pace.longest is None else 10 * pace.longest * self._relative(family, params, "train")
        scoring = self.scoring(family, kind, n) + (training or 0.0)
        return Limits(
            training=Limits.training if longest is None else _limit(longest),
            sampling=_limit(sampling or 0.0),
            scoring=_limit(scoring),
        )

    def _unit(self, family: str, part: str) -> float | None:
        """Seconds of the default setting's training, or of one of its samples."""
        pace = self.paces.get(family, Pace())
        measured = pace.training if part == "train" else pace.sample
        learned = self._ratio(family, part)
        if learned is None:
            return measured
        return learned if measured is None else learned * measured

    def _ratio(self, family: str, part: str) -> float | None:
        return self._learned[family].ratio(part) if family in self._learned else None

    def _usual(self, family: str, part: str, least: int = 1) -> float | None:
        return self._learned[family].usual(part, least) if family in self._learned else None

    def _said_scoring(self, family: str, kind: str, n: int) -> float:
        pace, examples = self.paces.get(family, Pace()), self._held_out.get(kind, 0)
        likelihoods = examples * (pace.labels + _TYPICALITY if kind == "test" else 1)
        looking = sum(self._looking if kind == "test" else self._looking[:1]) * n
        fixed, each = _SCORING[kind]
        return (fixed + each * n / 1_000) * self._machine + looking + pace.likelihood * likelihoods

    def _said_training(self, record: Record) -> float:
        return (
            (self.paces[record.family].training or 1.0)
            * record.fidelity
            * self._relative(record.family, record.params, "train")
        )

    def _said_sampling(self, family: str, params: Mapping[str, Any], n: int) -> float:
        return (self.paces[family].sample or 1.0) * n * self._relative(family, params, "sample")

    def _relative(self, family: str, params: Mapping[str, Any] | None, part: str) -> float:
        """Operations of a setting's part in those of the default setting; 1 where they are not counted."""
        costs = self._costs.get(family)
        if params is None or costs is None:
            return 1.0
        try:
            counted, default = costs.counted(params), costs.default
        except UncountableError:
            return 1.0
        own, whole = (counted.train, default.train) if part == "train" else (counted.per_sample, default.per_sample)
        return own / whole if whole else 1.0


def _limit(expected: float) -> float:
    return max(LEAST, TIMES * expected)
