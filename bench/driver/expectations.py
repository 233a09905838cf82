"""How long jobs will take on this machine: first from measured steps and samples, then from what has finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import protocol
from ..budget.operations import UncountableError
from ..budget.pace import Pace
from ..budget.setting_cost import SettingCosts
from ..data import DataSet
from ..runs.records import Record
from ..trial.jobs import Limits
from .outlook import Outlook

# A part of a trial hangs where it takes this many times what is expected, and at least so many seconds.
TIMES, LEAST = 20.0, 60.0
# Seconds to score a thousand samples of a job, before any of its kind has been scored.
_SCORING = {"trial": 2.0, "retraining": 1.5, "reference": 1.5}


@dataclass
class _Learned:
    """Seconds that parts took, and those that the measured pace had said, summed over finished jobs."""

    taken: dict[str, float] = field(default_factory=dict)
    said: dict[str, float] = field(default_factory=dict)

    def add(self, part: str, taken: float, said: float) -> None:
        self.taken[part] = self.taken.get(part, 0.0) + taken
        self.said[part] = self.said.get(part, 0.0) + said

    def ratio(self, part: str) -> float | None:
        """What was taken for each second that was said; None before anything was."""
        return self.taken[part] / self.said[part] if self.said.get(part) else None


class Expectations:
    """Predicts the seconds of jobs.

    paces: of each family's default setting, as measured when the run began. costs: counts of settings; other settings
    are taken to need as much longer than the default as they have more operations. samples: that a trial draws.
    looking: seconds of each evaluator to look at a sample, the primary one first.
    """

    def __init__(
        self,
        paces: Mapping[str, Pace],
        costs: Mapping[str, SettingCosts],
        samples: int,
        looking: Sequence[float] = (),
    ) -> None:
        self.paces, self._costs, self.samples, self._looking = paces, costs, samples, tuple(looking)
        self._learned: dict[str, _Learned] = {}  # by family; "" for all together

    @classmethod
    def before(cls, data: DataSet, outlook: Outlook) -> Expectations:
        """What is expected of a comparison before anything has finished."""
        looking = [evaluator.example for evaluator in outlook.evaluators]
        return cls(outlook.paces, outlook.costs, min(protocol.SAMPLES, len(data.splits["validation"])), looking)

    def take(self, record: Record) -> None:
        """Learns from a finished job; what failed has ended early and teaches nothing."""
        if record.objectives is None and record.role != "reference":
            return
        seconds, family = record.seconds, record.family
        own, shared = (self._learned.setdefault(name, _Learned()) for name in (family, ""))
        if family in self.paces:
            own.add("train", (seconds.get("train", 0.0) + seconds.get("kept", 0.0)), self._said_training(record))
            own.add("sample", seconds.get("sample", 0.0), self._said_sampling(family, record.params, record.samples))
        if "measure" in seconds:
            kind = _kind(record.role)
            for learned in (own, shared):
                learned.add(kind, seconds["measure"], record.samples / 1_000)

    def training(self, family: str, params: Mapping[str, Any] | None = None) -> float | None:
        """Seconds of a full training; `params` None: of the default setting. None where nothing is known."""
        known = self._unit(family, "train")
        return None if known is None else known * self._relative(family, params, "train")

    def sampling(self, family: str, params: Mapping[str, Any] | None, n: int) -> float | None:
        """Seconds of n samples."""
        known = self._unit(family, "sample")
        return None if known is None else known * n * self._relative(family, params, "sample")

    def scoring(self, family: str, role: str, n: int) -> float:
        """Seconds of scoring n samples of a job of a role."""
        kind = _kind(role)
        for name in (family, ""):
            ratio = self._learned[name].ratio(kind) if name in self._learned else None
            if ratio is not None:
                return ratio * n / 1_000
        looking = self._looking[:1] if kind == "trial" else self._looking
        return (_SCORING[kind] / 1_000 + sum(looking)) * n

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

    def limits(self, family: str, params: Mapping[str, Any], role: str, n: int) -> Limits:
        """When the parts of a job hang: where nothing is known of a training, it may take as long as it likes.

        Likelihoods are a part of scoring, and unlike samples they are measured nowhere beforehand: they are taken to
        cost no more than a training.
        """
        pace = self.paces.get(family, Pace())
        sampling, training = self.sampling(family, params, n), self.training(family, params)
        longest = None if pace.longest is None else 10 * pace.longest * self._relative(family, params, "train")
        scoring = self.scoring(family, role, n) + (training or 0.0)
        return Limits(
            training=Limits.training if longest is None else _limit(longest),
            sampling=_limit(sampling or 0.0),
            scoring=_limit(scoring),
        )

    def _unit(self, family: str, part: str) -> float | None:
        """Seconds of the default setting's training, or of one of its samples."""
        pace = self.paces.get(family, Pace())
        measured = pace.training if part == "train" else pace.sample
        learned = self._learned[family].ratio(part) if family in self._learned else None
        if learned is None:
            return measured
        return learned if measured is None else learned * measured

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


def _kind(role: str) -> str:
    return role if role in _SCORING else "retraining"


def _limit(expected: float) -> float:
    return max(LEAST, TIMES * expected)
