"""The jobs of a comparison: trials, candidates, incumbents and defaults retrained with new seeds, references."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from ...models.data_spec import DataKind
from ..budget.kinds import Trainings, budget_of
from ..registry import ResolvedFamily
from ..runs.records import TOO_SLOW, Record
from ..runs.run_folder import RunFolder
from ..runs.study_file import StudyFile
from ..seeds import derive
from ..trial.jobs import FloorJob, Job, Limits, TrialJob
from .expectations import Expectations, kind_of_score
from .planning import PlannedTrial
from .study import FamilyStudy

# Families that every table shows next to those that are compared, each at its default.
REFERENCE_FAMILIES: Mapping[DataKind, tuple[str, ...]] = {
    "image": ("gaussian",),
    "vector": ("gaussian",),
    "sequence": ("ngram",),
}


class JobFactory:
    """Makes the jobs of one run folder.

    families: those of the study, by name, as jobs carry them. references: the reference families, unchanged.
    measured: metrics that constraints need of every trial and of the floor.
    final_samples: how many samples are drawn by all that is no trial; None: as many as by trials.
    expectations: of how long jobs take, which limit them; None: nothing does.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: StudyFile,
        cache: str,
        families: Mapping[str, ResolvedFamily],
        *,
        references: Mapping[str, ResolvedFamily] | None = None,
        measured: tuple[str, ...] = (),
    ) -> None:
        self._folder, self._config, self._cache = folder, config, cache
        self._families, self._references = families, references or {}
        self.measured = measured
        self._budget = budget_of(*config.budget)
        self.final_samples: int | None = None
        self.expectations: Expectations | None = None

    def trial(self, study: FamilyStudy, asked: PlannedTrial) -> TrialJob:
        """A proposal carried out, scored on the validation split."""
        return self._job(
            study.card.name,
            asked.proposal.setting,
            role="trial",
            number=asked.number,
            repeat=study.repeat,
            seed=asked.seed,
            split="validation",
            origin=asked.proposal.origin,
            move=asked.proposal.move,
            parent=asked.proposal.parent,
            fidelity=asked.proposal.fidelity,
            training_seed=asked.training_seed,
            paid=asked.paid,
            stopping=asked.stopping,
            cost=asked.cost,
            operations=asked.operations,
            deadline=asked.deadline,
        )

    def choices(self, study: FamilyStudy, candidates: Sequence[Record]) -> list[TrialJob]:
        """The settings of trials retrained for the choice on validation, with the same new seeds for all."""
        return [
            replace(
                self._retraining(study, record.params, number, "validation", role="choice", origin="candidate"),
                trial=record.number,
            )
            for number in range(self._config.choice_seeds)
            for record in candidates
        ]

    def retrainings(self, study: FamilyStudy, incumbents: Sequence[Record], there: Collection[str]) -> list[TrialJob]:
        """The incumbents, and the default setting as well, retrained with seeds that no trial had.

        Where the default won the tuning, its finals serve for both; where its trial was ended at a time limit, it is
        not tried again. `there`: names of records not to make again.
        """
        default, first = study.card.space.default(), study.records.get(0)
        too_slow = first is not None and (first.reason or "").startswith(TOO_SLOW)
        default_too = study.repeat == 0 and all(record.number != 0 for record in incumbents) and not too_slow
        jobs: list[TrialJob] = []
        for number in range(self._config.seeds):
            for index, record in enumerate(incumbents):
                if f"final-{study.card.name}-{study.repeat}-{index}-{number:03d}" not in there:
                    job = self._retraining(study, record.params, number, "test", role="final", origin="incumbent")
                    jobs.append(replace(job, incumbent=index, trial=record.number, keep_model=True))
            if default_too and f"default-{study.card.name}-{number:03d}" not in there:
                jobs.append(self._retraining(study, default, number, "test", role="default", origin="default"))
        return jobs

    def references(self, kind: DataKind, there: Collection[str]) -> list[Job]:
        """Real examples against real ones, and the reference families of a kind of data, on both held-out splits."""
        jobs: list[Job] = []
        for split, against in (("validation", "test"), ("test", "validation")):
            if f"reference-floor-{split}-000" not in there:
                samples = self.final_samples if split == "test" else None
                data, named = self._config.data, self._config.evaluators
                jobs.append(FloorJob(data, split, against, self._cache, self.measured, samples, named))
            for family, number in product(self._references, range(self._config.seeds)):
                if f"reference-{family}-{split}-{number:03d}" not in there:
                    job = self._job(
                        family,
                        {},
                        role="reference",
                        number=number,
                        split=split,
                        seed=derive(self._config.seed, family, number),
                    )
                    # No objective: a metric that a reference family lacks does not make it fail.
                    jobs.append(replace(job, label=family, objective=(), measured=(), budget=Trainings()))
        return jobs

    def _retraining(
        self, study: FamilyStudy, params: Mapping[str, Any], number: int, split: str, **fields: Any
    ) -> TrialJob:
        costs = study.costs if self.final_samples is None else study.costs.drawing(self.final_samples)
        return self._job(
            study.card.name,
            params,
            number=number,
            seed=derive(study.seed, "final" if split == "test" else "choice", number),
            split=split,
            repeat=study.repeat,
            cost=costs.of(params) or 0.0,
            operations=costs.operations(params),
            **fields,
        )

    def _job(self, family: str, params: Mapping[str, Any], **fields: Any) -> TrialJob:
        held_out = fields["split"] == "test"
        resolved = (self._references if fields["role"] == "reference" else self._families)[family]
        setting = resolved.card.space.activate(params)
        # References on validation are shown next to trials.
        samples = self.final_samples if held_out or fields["role"] not in ("trial", "reference") else None
        known, kind = self.expectations, kind_of_score(fields["role"], fields["split"])
        return TrialJob(
            family=resolved,
            data=self._config.data,
            params=setting,
            objective=self._config.objective,
            measured=self.measured,
            budget=self._budget,
            cache=self._cache,
            samples=samples,
            limits=Limits()
            if known is None
            else known.limits(family, setting, kind, known.samples if samples is None else samples),
            thorough=self._config.thorough,
            keep_samples=held_out and fields["number"] == 0,
            second_evaluator=held_out,
            evaluators=self._config.evaluators,
            **fields,
        )
