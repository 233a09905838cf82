"""The jobs of workers: small frozen descriptions that travel between processes. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...search_spaces.space import Value
from ..budget.kinds import Budget, Trainings
from ..data import DataRef
from ..registry import ResolvedFamily
from ..runs.records import Record, Role

if TYPE_CHECKING:
    from ..proposal import StoppingRule


@dataclass(frozen=True)
class Limits:
    """Seconds after which a family's code is taken to hang: in ten steps of a training or a whole `fit`, in drawing the
    samples, in scoring them."""

    training: float = math.inf
    sampling: float = math.inf
    scoring: float = math.inf

    def of(self, part: str) -> float:
        """The limit of a part of a trial, as `Record.seconds` names it; "score" draws few samples and scores them."""
        limits = {"train": self.training, "sample": self.sampling, "measure": self.scoring}
        return limits.get(part, self.sampling + self.scoring)


@dataclass(frozen=True)
class TrialJob:
    """One training, sampling and scoring, which gives one record.

    family: what is trained, with all that the study changes in it; label: the name on the record, where that differs.
    params: the setting; what it leaves out stays at the family's defaults.
    measured: metrics that are measured next to the objectives, whatever they cost.
    split: what is scored on. seed: of initial weights, training and samples, each derived from it.
    move, parent: how the trial gets its trained model, and the trial whose training it starts from.
    training_seed: of weights and training, where they are those of an earlier trial; None: `seed`.
    fidelity: the share of a full training, in (0, 1].
    cost: the price before the start; 0 where it is only known afterwards. operations: as counted before the start.
    budget: charges for what the trial took; by default an unlimited one.
    deadline: seconds that the training may take under a measured budget, next to `paid`: those for which an earlier
        trial has been charged.
    limits: of what may hang.
    stopping: decides at intermediate scores whether the training goes on; None: it goes on, and none are taken.
    samples: how many are drawn, for labels drawn at random, and compared with all real examples; None: as many as the
        real examples that trials see, for always the same labels.
    thorough: whether a first final is also trained without one class, to detect it.
    keep_model, keep_samples: whether weights and a picture or points of samples are kept as artifacts.
    evaluators: through which samples are scored, as the study names them; None: the data's default ones.
    lean: whether only the objectives are measured, for studies of tuning itself, which need nothing else.
    """

    role: Role
    family: ResolvedFamily
    number: int
    seed: int
    split: str
    data: DataRef
    params: Mapping[str, Value]
    objective: tuple[str, ...]
    measured: tuple[str, ...] = ()
    label: str | None = None
    repeat: int = 0
    incumbent: int = 0
    trial: int | None = None
    move: str = "train"
    parent: int | None = None
    training_seed: int | None = None
    fidelity: float = 1.0
    origin: str = ""
    cost: float = 0.0
    operations: Mapping[str, float] = field(default_factory=dict)
    budget: Budget = field(default_factory=Trainings)
    deadline: float | None = None
    paid: float = 0.0
    limits: Limits = Limits()
    stopping: StoppingRule | None = None
    samples: int | None = None
    thorough: bool = False
    keep_model: bool = False
    keep_samples: bool = False
    second_evaluator: bool = False
    evaluators: tuple[str, ...] | None = None
    lean: bool = False
    cache: str = ""
    attempts: int = 1
    device: str = "cpu"  # set by the scheduler

    @property
    def name(self) -> str:
        """The job's name in its run: that of its record."""
        return self.record().name

    def shares_training(self, other: TrialJob) -> bool:
        """Whether both train one and the same model, as far as their settings tell: they differ in sampling alone."""
        seeds = [job.seed if job.training_seed is None else job.training_seed for job in (self, other)]
        return self.family == other.family and seeds[0] == seeds[1] and self._trained() == other._trained()

    def _trained(self) -> dict[str, Value]:
        """The part of the setting that its training depends on."""
        space = self.family.card.space
        return {name: value for name, value in self.params.items() if space[name].role in ("train", "loop")}

    @property
    def family_name(self) -> str:
        """The family's name on the record."""
        return self.label or self.family.name

    def record(self, **outcome: Any) -> Record:
        """The record of this job, failed unless `outcome` says otherwise."""
        known = {
            "role": self.role,
            "family": self.family_name,
            "number": self.number,
            "seed": self.seed,
            "training_seed": self.training_seed,
            "fidelity": self.fidelity,
            "split": self.split,
            "state": "failed",
            "params": self.params,
            "repeat": self.repeat,
            "incumbent": self.incumbent,
            "trial": self.trial,
            "move": self.move,
            "parent": self.parent,
            "origin": self.origin,
            "cost": self.cost,
            "operations": self.operations,
            "attempts": self.attempts,
        }
        return Record(**{**known, **outcome})


@dataclass(frozen=True)
class FloorJob:
    """Real examples of one split scored against those of another, and what a perfect model would score: the floors.

    measured: metrics that are measured whatever they cost.
    samples: how many the perfect model draws, as finals do; None: it is left out.
    evaluators: as for a trial.
    """

    data: DataRef
    split: str
    against: str
    cache: str
    measured: tuple[str, ...] = ()
    samples: int | None = None
    evaluators: tuple[str, ...] | None = None
    number: int = 0
    attempts: int = 1
    device: str = "cpu"

    @property
    def name(self) -> str:
        """The job's name in its run: that of its last record."""
        return f"reference-floor-{self.split}-{self.number:03d}"


@dataclass(frozen=True)
class EvaluatorJob:
    """Training of an evaluator, unless the cache holds it."""

    data: DataRef
    evaluator: str
    cache: str
    attempts: int = 1
    device: str = "cpu"


Job = TrialJob | FloorJob | EvaluatorJob
