"""Drives a comparison: studies of equal budgets, a choice among few retrained settings, then incumbents retrained with
new seeds and scored on the test split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import registry
from ..artifacts.pictures import write_samples
from ..data import DataSet, open_data
from ..errors import UsageError, WorkError
from ..evaluators import evaluators_for
from ..files import writable_cache
from ..runs.constraints import constraints_in_force, metrics_in_force
from ..runs.lock import RunLock
from ..runs.looks import seeds_of
from ..runs.optuna_store import OptunaStore
from ..runs.records import Record, Role
from ..runs.run_folder import RunFolder
from ..runs.spool import remove
from ..runs.study_file import StudyFile
from ..scheduling import IN_PROCESS, Executor, ExecutorSettings, executor
from ..scoring.references import reference_batch
from ..training.one_thread import one_thread
from ..trial.jobs import EvaluatorJob, FloorJob, Job
from .conclusions import Conclusions
from .dispatch import Dispatcher, Ticket
from .expectations import Expectations
from .job_factory import REFERENCE_FAMILIES, JobFactory
from .job_queue import JobQueue
from .journal import Journal
from .outlook import Outlook, look_ahead, paid_starts
from .plan import planned
from .planning import PlannedTrial, TuningOptions, tuning_options
from .preparation import decide_final_samples, describe_evaluators, family_facts
from .progress import Progress
from .study import FamilyStudy
from .warm_start import earlier_studies

Say = Callable[[str], None]


class ComparisonDriver:
    """Drives the comparison in a run folder from its current state to its end.

    config: the folder's study, but for workers, devices and seeds, which may differ from run to run. None: that study
        with the seeds that were asked for last.
    outlook: what its families cost and how long they take; None: it is found out here.
    say: called with a line of text when something happens. on_update: called often; what it raises ends the run.
    clock: seconds, from whenever.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: StudyFile | None = None,
        *,
        outlook: Outlook | None = None,
        say: Say = lambda line: None,
        on_update: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self._clock = folder, clock
        self.config = folder.study.model_copy(update={"seeds": seeds_of(folder)}) if config is None else config
        self._say, self._on_update = say, on_update
        registry.load_plugins(self.config.plugins)
        self.data: DataSet = open_data(self.config.data, again=True)
        self.families = list(self.config.families)
        self.cache = str(writable_cache(folder.path / "cache", say))
        self._journal = Journal(folder)
        spec, plugins = self.data.spec, self.config.plugins
        self._cards = registry.cards_of(self.families, spec, self.config.space, self.config.size)
        self._starts = registry.starts_of(self._cards, self.config.start)
        self._resolved = {name: registry.family(name).resolved(plugins, c.card) for name, c in self._cards.items()}
        references = registry.cards_of(REFERENCE_FAMILIES[spec.kind], spec)
        fixed = {name: registry.family(name).resolved(plugins, c.card) for name, c in references.items()}
        seen = registry.seen_through(spec, self.config.evaluators)
        measured = metrics_in_force(self.config.constraints, has_evaluators=seen.has_evaluators)
        self._jobs = JobFactory(folder, self.config, self.cache, self._resolved, references=fixed, measured=measured)
        self._earlier = earlier_studies(folder)
        self._directions = [registry.metric(name).direction for name in self.config.objective]
        self._outlook = outlook
        self._lag = 0
        self._workers = 1
        self._progress: Progress | None = None
        self._studies: list[FamilyStudy] = []
        self._queue = JobQueue()
        self._uncountable: dict[str, str] = {}  # families whose default setting cannot be counted, and why

    def run(self) -> None:
        """Runs to the end. KeyboardInterrupt passes through; everything that has finished is kept.

        A finished run changes only where more seeds are asked for, which are added. Raises UsageError for fewer.
        """
        # The engine's results are the same bit for bit on one thread alone.
        with RunLock(self.folder.path), one_thread():
            self._journal.look(self.config.seeds)
            if self._journal.finished:
                return
            self._refuse_changed_data()
            for note in self.data.notes:
                self._say(f"data: {note}")
            self._journal.reopen(self.config.max_hours)
            began = self._clock()
            before = float((self._journal.state() or {}).get("seconds", 0.0))
            self._elapsed = lambda: before + self._clock() - began
            state = "interrupted"
            workers = self._executor()
            try:
                self._lag = self._frozen_lag(workers)
                self._workers = workers.size
                self._journal.write_state("running", 0.0, self._facts())
                recorded = self.data.as_recorded(self.config.data)
                dispatcher = Dispatcher(workers, self.folder, self._journal, recorded, self._say, clock=self._clock)
                dispatcher.adopt_left_over()
                self._look_ahead()
                self._tell_plan()
                self._prepare(dispatcher)
                state = self._drive(dispatcher)
            finally:
                workers.close()
                if state == "finished":
                    remove(self._spool)
                self._journal.write_state(state, self._clock() - began, self._facts())

    # Preparing

    def _refuse_changed_data(self) -> None:
        began = (self._journal.state() or {}).get("fingerprint")
        if began not in (None, self.data.fingerprint):
            raise UsageError(
                f"{self.folder.path}: data {self.config.data} have changed since the run began (fingerprint {began}, "
                f"now {self.data.fingerprint}); put them back, or begin a new run with another --out"
            )

    def _look_ahead(self) -> None:
        """Finds out what the families cost and how long they take, and learns from the records that are there."""
        if self._outlook is None:
            self._outlook = look_ahead(self.config, self.data)
        known = Expectations.before(self.data, self._outlook)
        for record in self.folder.records():
            known.take(record)
        self._expected = self._jobs.expectations = known

    def _tell_plan(self) -> None:
        """Tells what a new run is about to do; one that goes on has its time left told when something has ended."""
        assert self._outlook is not None
        if self.folder.records():
            return
        plan = planned(self.config, self.data, self._outlook, self._workers)
        for line in plan.lines():
            self._say(line)
        self._journal.write_progress(plan.seconds - self._outlook.seconds)

    def _refuse_emptiness(self) -> None:
        """Raises WorkError where a study has come to its end without a trial."""
        empty = [study.name for study in self._studies if not study.records]
        if empty:
            raise WorkError(f"no trial of {', '.join(empty)} was begun: nothing fits into the budget")

    def _executor(self) -> Executor:
        config = self.config
        shared = (
            all(family.local is None for family in self._resolved.values())
            and registry.is_shared("data", config.data.reader, config.plugins)
            and registry.all_shared("metrics", config.plugins)
        )
        say, log = self._say, self.folder.log_path / "output.log"
        settings = ExecutorSettings(self._spool, config.plugins, config.devices, config.workers, say, log)
        # Objects that are registered in this process alone cannot be sent to another.
        return executor(config.executor if shared else IN_PROCESS).start(settings)

    @property
    def _spool(self) -> Path:
        """The folder in which this run's deliveries wait."""
        return Path(self.cache) / "spool" / self._journal.run_id

    def _frozen_lag(self, executor: Executor) -> int:
        """How many of the latest trials a proposal ignores, so that no worker is idle.

        Fixed when the run begins: a resumed run makes the same proposals, whatever its number of workers.
        """
        written = self._journal.state()
        if written is not None:
            return int(written["lag"])
        return math.ceil(executor.size / (len(self.families) * self.config.repeats)) - 1

    def _facts(self) -> dict[str, Any]:
        """Facts about the run for the journal."""
        return {
            "lag": self._lag,
            "workers": self._workers,
            "seeds": self.config.seeds,
            "data": asdict(self.data.spec),
            "data_notes": list(self.data.notes),
            "fingerprint": self.data.fingerprint,
            "families": family_facts(self._resolved, self._cards, self._starts, self.data.spec.kind),
            "cut": self._progress.cut if self._progress else self._journal.cut,
            "max_hours": self.config.max_hours,
            "skipped": registry.left_out(self.families, self.config.objective, self.data.spec, self.config.evaluators),
            "uncountable": self._uncountable,
        }

    def _prepare(self, dispatcher: Dispatcher) -> None:
        """Prepares evaluators, studies from their records, and the jobs of the references."""
        with self._journal.timing("prepare"):
            names = evaluators_for(self.data, self.config.evaluators)
            own = [name for name in names if not registry.chosen(name).card.pretrained]
            self._run_all(dispatcher, [EvaluatorJob(self.config.data, name, self.cache) for name in own])
            describe_evaluators(self.data, self.config.evaluators, self.cache, self._journal, self._say)
        write_samples(
            self.folder.artifact("samples"), "real", reference_batch(self.data, "test"), self.data.spec, maker=None
        )
        references = self._jobs.references(self.data.spec.kind, self._written("reference"))
        # Limits of constraints rest on this floor, and no trial may be judged before they are known.
        floors = [job for job in references if isinstance(job, FloorJob)]
        self._run_all(dispatcher, [job for job in floors if job.split == "validation"])
        self._open_studies()
        defaults = {study.card.name: study.costs.default for study in self._studies}
        self._jobs.final_samples = decide_final_samples(self.config, self.data, defaults, self._journal, self._say)
        self._conclusions = Conclusions(
            self.folder, self.config, self._jobs, self._journal, cache=self.cache, say=self._say
        )
        self._queue += self._jobs.references(self.data.spec.kind, self._written("reference"))
        self._progress = Progress(
            self.config,
            self._expected,
            self._journal,
            self.folder.records(),
            final_samples=self._jobs.final_samples,
            workers=self._workers,
            elapsed=self._elapsed,
        )
        self._write_progress(dispatcher)

    def _open_studies(self) -> None:
        """Restores the studies and their store from the records."""
        store = self._store = OptunaStore(self.folder.store_url())
        trials = self.folder.records("trial")
        options = self._tuning_options()
        for repeat in range(self.config.repeats):
            for name in self.families:
                study = self._study(name, repeat, options)
                store.open(study.name, self._directions)
                if study.costs.uncountable is not None and repeat == 0:
                    self._uncountable[name] = study.costs.uncountable
                    so = ", so its first trial takes the whole budget" if study.budget.priced_beforehand else ""
                    self._say(f"{name}: its default setting cannot be counted ({study.costs.uncountable}){so}")
                for record in trials:
                    if record.family == name and record.repeat == repeat:
                        study.tell(record)
                store.catch_up(study.name, study.records, study.card.space, options.constraints)
                if self._journal.candidates(name, repeat) or self._journal.incumbents(name, repeat):
                    study.end()
                self._studies.append(study)

    def _study(self, name: str, repeat: int, options: TuningOptions) -> FamilyStudy:
        assert self._outlook is not None
        earlier, start = self._earlier.get(name, ()), self._starts.get(name, ())
        count, card = self._outlook.costs[name].counted, self._resolved[name].card
        study = FamilyStudy(card, options, count, repeat=repeat, earlier=earlier, start=start)
        if repeat == 0:
            paid = paid_starts(study.costs, start, self.config.budget)
            capped = [f"the budget pays for {paid} of {len(start)} settings to start with"] if paid < len(start) else []
            for line in [*self._cards[name].told, *capped]:
                self._say(f"{name}: {line}")
        return study

    def _tuning_options(self) -> TuningOptions:
        measured = [name for name in (*self.config.objective, *self._jobs.measured) if registry.metric(name).measured]
        if measured:
            self._say(f"{', '.join(measured)}: measured, so that this run cannot be replayed from its seed")
        spec, known = self.data.spec, self.folder.records("reference")
        bounds = constraints_in_force(self.config.constraints, spec.kind, spec.levels, known)
        samples = len(reference_batch(self.data, "validation"))
        return tuning_options(self.config, self._directions, bounds, samples=samples, lag=self._lag)

    # Driving

    def _drive(self, dispatcher: Dispatcher) -> str:
        """Runs everything that is left; the state in which the run ends: "finished", or "time limit"."""
        progress = self._progress
        assert progress is not None
        while progress.time_left > 0:
            self._fill(dispatcher)
            if not dispatcher.busy:
                left = self._queue or not all(self._conclusions.reached(study) for study in self._studies)
                if left and math.isinf(progress.limit):
                    raise AssertionError("jobs are left, but none can be started")
                if left or progress.cut:
                    break
                self._refuse_emptiness()
                return "finished"
            self._collect(dispatcher)
        self._say(f"the time limit of {progress.limit / 3_600:g} h is reached; `gentune resume --max-hours` raises it")
        return "time limit"

    def _fill(self, dispatcher: Dispatcher) -> None:
        """Gives every free worker a job: tuning first, since its trials depend on one another."""
        while dispatcher.free:
            self._cut_tuning(dispatcher)
            if self._some_trial_worked() and (early := self._queue.first_on_test()):
                dispatcher.submit(early)  # it teaches how long finals are scored
                continue
            trial = self._next_trial()
            if trial is not None:
                study, asked = trial
                dispatcher.submit(self._jobs.trial(study, asked), study)
                continue
            for study in self._studies:
                if study.finished:
                    self._queue += self._conclusions.next_jobs(study)
            if all(study.fruitless for study in self._studies):
                self._queue.clear()  # references of the test, with which nothing is left to be compared
            job = self._queue.next(dispatcher.running, self._progress)
            if job is None:
                return
            dispatcher.submit(job)

    def _some_trial_worked(self) -> bool:
        return any(r.objectives is not None for study in self._studies for r in study.records.values())

    def _cut_tuning(self, dispatcher: Dispatcher) -> None:
        """Ends the tuning of all studies where the run's time limit leaves no more than the retrainings take.

        Each study has its first trial, without which there is nothing to retrain.
        """
        progress = self._progress
        assert progress is not None
        tuned = [study for study in self._studies if not study.ended]
        begun = all(study.records or study.running for study in tuned)
        if tuned and begun and not progress.tuning_fits(self._studies, self._queue, dispatcher.running):
            for study in tuned:
                study.end()
                progress.cut.append(study.name)
            self._say("no time is left for more trials: what they have found is retrained now")
            if not progress.choices_fit(tuned, dispatcher.running):
                self._conclusions.without_choices()

    def _next_trial(self) -> tuple[FamilyStudy, PlannedTrial] | None:
        # A study with nothing running comes first, then the one with the most work left: the longest chain of
        # trials decides when all is done.
        for study in sorted(self._studies, key=lambda s: (len(s.running), -s.work_left)):
            if len(study.running) > self._lag:
                continue
            with self._journal.timing("propose"):
                trial = study.ask()
            if trial is not None:
                return study, trial
        return None

    def _collect(self, dispatcher: Dispatcher) -> None:
        for ticket, record in dispatcher.wait(1.0):
            self._take(ticket, record)
            if record is not None:
                self._write_progress(dispatcher)
        self._on_update()

    def _write_progress(self, dispatcher: Dispatcher) -> None:
        if self._progress is not None:
            self._journal.write_progress(
                self._progress.seconds_left(self._studies, self._queue, dispatcher.under_way())
            )

    def _take(self, ticket: Ticket, record: Record | None) -> None:
        """Takes the record of a job that has ended; evaluators leave none."""
        if record is None:
            return
        self._expected.take(record, ticket.seconds)
        if self._progress is not None:
            self._progress.take(record, ticket.seconds)
        study = ticket.study
        if study is not None:
            study.tell(record)
            with self._journal.timing("store"):
                self._store.catch_up(study.name, study.records, study.card.space, study.options.constraints)
        elif record.role == "choice":
            self._conclusions.take(record)
        outcome = record.reason if record.state != "complete" else self._objective_text(record)
        self._say(f"{record.family} {record.role} {record.number} ({record.split}): {outcome}")

    def _run_all(self, dispatcher: Dispatcher, jobs: list[Job]) -> None:
        """Runs jobs that everything else waits for."""
        while jobs or dispatcher.busy:
            while jobs and dispatcher.free:
                dispatcher.submit(jobs.pop(0))
            self._collect(dispatcher)

    def _written(self, *roles: Role) -> set[str]:
        """Names of the existing records, which a resumed run does not make again."""
        return {record.name for record in self.folder.records(*roles)}

    def _objective_text(self, record: Record) -> str:
        values = [(name, record.metrics.get(name)) for name in self.config.objective]
        return ", ".join(f"{name} {figure['value']:.4g}" for name, figure in values if figure is not None)
