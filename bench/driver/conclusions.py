"""Concludes studies: from the end of a tuning to the candidates, the choice among them, and the jobs of the finals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from .. import registry
from ..artifacts.study_explanation import write_explanation
from ..runs.constraints import violation
from ..runs.records import Record
from ..runs.run_folder import RunFolder
from ..runs.study_file import StudyFile
from ..training.cache import LIMIT_VARIABLE, TrainingCache, cache_limit
from ..training.cache_upkeep import pin
from ..trial.jobs import TrialJob
from .choice import choose
from .job_factory import JobFactory
from .journal import Journal
from .study import FamilyStudy


class Conclusions:
    """What follows the tuning of each study of a run.

    A study's candidates are written down before they are retrained, and its incumbents before their finals: a resumed
    run goes on with both as they are. cache: the folder of kept trainings. say: called with a line of text.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: StudyFile,
        jobs: JobFactory,
        journal: Journal,
        *,
        cache: str,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._config, self._jobs, self._journal = folder, config, jobs, journal
        self._cache, self._say = TrainingCache(Path(cache)), say
        self._metric = registry.metric(config.objective[0])
        self._records = {record.name: record for record in folder.records("choice")}
        self._retrained: dict[str, list[TrialJob]] = {}  # by study, what its choice waits for
        self._briefly = False
        self._concluded: set[str] = set()  # studies whose finals are queued
        self._pinned: set[str] = set()  # kept trainings of incumbents

    def without_choices(self) -> None:
        """From now on studies choose by their trials alone: there is no time to retrain candidates and finals, too."""
        self._briefly = True
        self._say(
            "no time is left to retrain candidates on validation: trials alone decide what is retrained for the test"
        )

    def reached(self, study: FamilyStudy) -> bool:
        """Whether a study has asked for all its jobs."""
        return study.name in self._concluded

    def take(self, record: Record) -> None:
        """Takes the record of a retraining for a choice."""
        self._records[record.name] = record

    def next_jobs(self, study: FamilyStudy) -> list[TrialJob]:
        """The jobs that a finished study asks for now; empty while it waits for records, and after its last ones."""
        if study.name in self._concluded:
            return []
        known = self._journal.incumbents(study.card.name, study.repeat)
        if known:
            return self._finals(study, [study.records[number] for number in known])
        if study.name not in self._retrained:
            self._retrained[study.name] = self._retrainings(study)
            missing = [job for job in self._retrained[study.name] if job.name not in self._records]
            if missing:
                return missing
        if any(job.name not in self._records for job in self._retrained[study.name]):
            return []
        chosen = self._choose(study, self._retrained[study.name])
        self._write(study, chosen)
        return self._finals(study, chosen)

    def _retrainings(self, study: FamilyStudy) -> list[TrialJob]:
        """The retrainings of a study's candidates; none where the run has no seeds for them."""
        if not self._config.choice_seeds or self._briefly:
            return []
        found = self._journal.candidates(study.card.name, study.repeat)
        if not found:
            with self._journal.timing("explain"):
                found = study.candidates()
            self._journal.write_candidates(study.card.name, study.repeat, found)
        jobs = self._jobs.choices(study, [study.records[candidate.trial] for candidate in found])
        if not cache_limit() and any(a.shares_training(b) for a, b in combinations(jobs, 2)):
            self._say(
                f"{study.name}: candidates that differ in sampling alone train again each, "
                f"since no trainings are kept ({LIMIT_VARIABLE} is 0)"
            )
        return jobs

    def _choose(self, study: FamilyStudy, retrained: Sequence[TrialJob]) -> list[Record]:
        """The trials whose settings a study's finals have."""
        by_trial: dict[int, list[Record]] = {}
        for job in retrained:
            assert job.trial is not None
            by_trial.setdefault(job.trial, []).append(self._records[job.name])
        if not by_trial:
            return study.incumbents()
        trials = list(by_trial)
        chosen = choose(
            [[None if r.objectives is None else r.objectives[0] for r in records] for records in by_trial.values()],
            lower=self._metric.direction == "lower",
            log_scale=self._metric.log_scale,
            protected=trials[0] == 0,
            violations=[violation(study.options.constraints, records) for records in by_trial.values()],
        )
        return study.incumbents(study.records[trials[chosen]])

    def _write(self, study: FamilyStudy, chosen: Sequence[Record]) -> None:
        """Writes what a study has learned, and last what it has chosen; removes finals of what was chosen before."""
        for record in self._folder.records("final"):
            mine = (record.family, record.repeat) == (study.card.name, study.repeat)
            if mine and record.trial not in [r.number for r in chosen[record.incumbent : record.incumbent + 1]]:
                self._folder.remove_record(record)
        with self._journal.timing("explain"):
            objectives = self._config.objective
            directions = [registry.metric(name).direction for name in objectives]
            write_explanation(
                self._folder, study.name, study.card.space, study.observations(), objectives, directions, list(chosen)
            )
            self._journal.write_incumbents(study.card.name, study.repeat, chosen)

    def _finals(self, study: FamilyStudy, chosen: Sequence[Record]) -> list[TrialJob]:
        """The retrainings for the test that are not made yet."""
        self._pinned |= {record.training for record in chosen if record.training}
        pin(self._cache, self._folder.path, self._pinned)
        self._concluded.add(study.name)
        there = {record.name for record in self._folder.records("final", "default")}
        return self._jobs.retrainings(study, chosen, there)
