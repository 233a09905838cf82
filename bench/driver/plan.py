"""The plan of a comparison: what each family would train, and how long all of it would take on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .. import registry
from ..budget.kinds import too_little
from ..data import DataSet, open_data
from ..evaluators import EvaluatorPace
from ..runs.status import duration_text
from ..runs.study_file import StudyFile
from ..scheduling import place
from ..scoring.references import real_examples
from .expectations import Expectations
from .final_samples import final_samples
from .forecast import Forecast, StudyState, Work
from .job_factory import REFERENCE_FAMILIES
from .objectives import check_metrics
from .outlook import Outlook, least_amounts, look_ahead


@dataclass(frozen=True)
class Plan:
    """What a comparison has to do.

    families: each family's work by part: "tuning", "choice", "finals". workers: that share it. final_samples: that a
    retraining draws. refused: families whose trials would fail, or do not fit into the budget, and why.
    steps: of each family's full training; 0 for a `fit`. size: the study's. evaluators: what they have before them.
    references: seconds of one worker for what families are compared with. around: seconds before the first job, and
    after the last one.
    """

    families: Mapping[str, Mapping[str, Work]]
    workers: int
    final_samples: int
    refused: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    size: float = 1.0
    evaluators: Sequence[EvaluatorPace] = ()
    references: float = 0.0
    around: float = 0.0

    def total(self, family: str) -> Work:
        """All work of a family."""
        return sum(self.families[family].values(), Work())

    @property
    def seconds(self) -> float:
        """Wall time of everything. Where workers are not more than studies, the trials of each follow one another."""
        longest = max((e.preparing for e in self.evaluators), default=0.0)
        before = self.around + max(longest, sum(e.preparing for e in self.evaluators) / self.workers)
        together = (self.references + sum(self.total(name).seconds for name in self.families)) / self.workers
        if self.workers > len(self.families):
            return before + together
        chains = (
            work["tuning"].seconds + (self.total(name).seconds - work["tuning"].seconds) / self.workers
            for name, work in self.families.items()
        )
        return before + max(together, *chains)

    def as_json(self) -> dict[str, Any]:
        """The plan as `gentune plan --json` prints it."""
        rows = [(name, self.total(name)) for name in self.families]
        return {
            "families": [
                {
                    "family": name,
                    "steps": self.steps[name],
                    "trainings": w.trainings,
                    "operations": w.operations,
                    "seconds": w.seconds,
                }
                for name, w in rows
            ],
            "seconds": self.seconds,
            "evaluators": [evaluator.as_json() for evaluator in self.evaluators],
            "refused": dict(self.refused),
        }

    def lines(self) -> list[str]:
        """The plan in words, one line a family and one for all."""
        told = [f"plan: {evaluator}" for evaluator in self.evaluators if evaluator.steps]
        for name, parts in self.families.items():
            shares = ", ".join(
                f"{part} {work.trainings:.3g} ({duration_text(work.seconds)})" for part, work in parts.items()
            )
            steps = f" of {self.steps[name]:,} steps" if self.steps.get(name) else ""
            told.append(f"plan: {name} trains {shares}{steps}: {self.total(name).operations:.2g} operations")
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        others = f"references {duration_text(self.references)}, start and report {duration_text(self.around)}"
        return [*told, f"plan: about {duration_text(self.seconds)} in all with {workers}: scores included, {others}"]


def plan_of(config: StudyFile) -> Plan:
    """Measures the default settings and plans the comparison; nothing is written."""
    registry.load_plugins(config.plugins)
    check_metrics(config)
    data = open_data(config.data)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = place(config.devices, config.workers, cuda_devices=torch.cuda.device_count(), cores=cores)
    return planned(config, data, look_ahead(config, data), len(devices))


def planned(config: StudyFile, data: DataSet, outlook: Outlook, workers: int) -> Plan:
    """The plan by what the families cost and how long they take."""
    kind, amount = config.budget
    expected = Expectations.before(data, outlook)
    real = max(real_examples(data, "validation"), real_examples(data, "test"))
    draws = final_samples(config.final_samples, real, {name: cost.default for name, cost in outlook.costs.items()})
    forecast = Forecast(config, expected, draws.n)
    families: dict[str, dict[str, Work]] = {}
    for name in config.families:
        first = forecast.left(StudyState(name))
        for repeat in range(1, config.repeats):
            again = forecast.left(StudyState(name, repeat))
            first = {part: work + again[part] for part, work in first.items()}
        families[name] = first
    refused = {name: pace.unmeasured for name, pace in outlook.paces.items() if pace.unmeasured}
    for name, least in least_amounts(config, outlook).items():
        refused[name] = too_little(name, kind, amount, least, stopping=config.stopping)
    return Plan(
        families,
        workers,
        draws.n,
        refused,
        _steps(config, data),
        config.size,
        outlook.evaluators,
        references=expected.references(len(REFERENCE_FAMILIES[data.spec.kind]), config.seeds, draws.n),
        around=outlook.seconds + expected.start + expected.report,
    )


def _steps(config: StudyFile, data: DataSet) -> dict[str, int]:
    """Steps of each family's full training; 0 for a `fit`."""
    cards = {name: c.card for name, c in registry.cards_of(config.families, data.spec, scale=config.size).items()}
    return {n: card.full_steps(registry.size_of(data.spec)) if card.trains else 0 for n, card in cards.items()}
