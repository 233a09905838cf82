"""A comparison: equal-budget studies, then their incumbents trained anew, then held-out scores."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import registry
from ..artifacts.pictures import write_samples
from ..artifacts.study_explanation import write_explanation
from ..budget.counting import count_setting
from ..data import DataSet
from ..data import load as load_data
from ..errors import UsageError, WorkError
from ..evaluators import default_cache, evaluators_for
from ..runs.lock import RunLock
from ..runs.optuna_store import OptunaStore
from ..runs.records import Record, Role
from ..runs.run_folder import RunFolder
from ..runs.study_file import StudyFile
from ..scheduling import Died, Done, InProcessPool, LocalPool, Pool, Progressed, place
from ..scoring.measurement import evaluator_pair, reference_batch
from ..training.cache import TrainingCache
from ..training.cache_upkeep import pin
from ..trial.jobs import EvaluatorJob, Job, TrialJob
from .job_factory import Work
from .study import Asked, Study
from .warm_start import earlier_studies

_ATTEMPTS = 3  # of a job whose worker dies; then the setting is taken to be the cause

Say = Callable[[str], None]


@dataclass
class _Ticket:
    """A job that is running, and what to do with its record."""

    job: Job
    study: Study | None = None
    number: int = 0
    share: float = 0.0


class Comparison:
    """Drives one run folder from wherever it stands to its end.

    config: the folder's study, but for workers and devices, which may differ from run to run.
    say: told a line of text when something happens. on_update: called often, for live displays.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: StudyFile | None = None,
        *,
        say: Say = lambda line: None,
        on_update: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self.config = folder.study if config is None else config
        self.running: dict[int, _Ticket] = {}
        self._say, self._on_update = say, on_update
        for plugin in self.config.plugins:
            registry.load_plugin(plugin)
        self.data: DataSet = load_data(self.config.data)
        self.families = list(self.config.families)
        self.cache = str(default_cache())
        self._work = Work(folder, self.config, self.cache)
        self._earlier = earlier_studies(folder)
        self._directions = [registry.metric(name).direction for name in self.config.objective]
        self._tickets = 0
        self._lag = 0
        self._workers = 1
        self._studies: list[Study] = []
        self._queue: list[Job] = []
        self._prepared: set[str] = set()  # studies whose finals are queued
        self._uncountable: dict[str, str] = {}  # families whose default setting cannot be counted, and why
        self._pinned: set[str] = set()  # kept trainings of their incumbents
        before = folder.read_json("comparison.json") or {}
        self._overhead: dict[str, float] = dict(before.get("overhead", {}))  # the driver's own seconds, by part

    def run(self) -> None:
        """Runs to the end. KeyboardInterrupt passes through, with everything that had finished kept."""
        with RunLock(self.folder.path):
            if self.is_finished():
                return
            began = time.monotonic()
            state = "interrupted"
            threads = torch.get_num_threads()
            torch.set_num_threads(1)  # the engine's results are the same bit for bit on one thread alone
            pool = self._pool()
            try:
                self._lag = self._frozen_lag(pool)
                self._workers = pool.size
                self._write_state("running", 0.0)
                self._prepare(pool)
                self._drive(pool)
                state = "finished"
            finally:
                pool.close()
                torch.set_num_threads(threads)
                self._write_state(state, time.monotonic() - began)

    def is_finished(self) -> bool:
        """Whether the run had come to its end."""
        content = self.folder.read_json("comparison.json")
        return content is not None and content["state"] == "finished"

    # Preparing

    def _pool(self) -> Pool:
        in_this_process = any(
            family.given is not None and family.where not in self.config.plugins
            for family in map(registry.family, self.families)
        )
        if in_this_process:  # registered by the program that runs: worker processes could not know it
            return InProcessPool()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        devices = place(self.config.devices, self.config.workers, cuda_devices=torch.cuda.device_count(), cores=cores)
        return LocalPool(devices)

    def _frozen_lag(self, pool: Pool) -> int:
        """How many of a study's latest trials its next proposal does without, so that no worker is idle.

        Fixed when the run begins: a resumed run goes on with the same proposals, whatever its workers.
        """
        written = self.folder.read_json("comparison.json")
        if written is not None:
            return int(written["lag"])
        return math.ceil(pool.size / (len(self.families) * self.config.repeats)) - 1

    def _prepare(self, pool: Pool) -> None:
        """Evaluators, studies as their records stand, and the yardsticks' jobs."""
        names = evaluators_for(self.data)
        with self._timing("prepare"):
            self._run_all(pool, [EvaluatorJob(self.data.spec.name, name, self.cache) for name in names])
            self._describe_evaluators()
        write_samples(
            self.folder.artifact("samples"), "real", reference_batch(self.data, "test"), self.data.spec, maker=None
        )
        self._open_studies()
        self._queue += self._work.references(self._there("reference"))

    def _describe_evaluators(self) -> None:
        """Tells of the evaluators; scores through different ones never share a table."""
        pair = evaluator_pair(self.data.spec.name, self.cache)
        described = []
        for role, evaluator in zip(("primary", "second"), pair, strict=True):
            accuracy = "" if evaluator.accuracy is None else f", accuracy {evaluator.accuracy:.1%} on validation"
            self._say(f"{role} evaluator {evaluator.name} ({evaluator.fingerprint}){accuracy}")
            described.append(
                {
                    "role": role,
                    "name": evaluator.name,
                    "fingerprint": evaluator.fingerprint,
                    "accuracy": evaluator.accuracy,
                }
            )
        before = self.folder.read_json("evaluators.json")
        if before is not None and [e["fingerprint"] for e in before] != [e["fingerprint"] for e in described]:
            raise UsageError(
                f"{self.folder.path} was scored through evaluators {', '.join(e['fingerprint'] for e in before)}, "
                f"which this version or machine would train otherwise; begin a new run"
            )
        self.folder.write_json("evaluators.json", described)

    def _open_studies(self) -> None:
        """Studies and their store as the records stand."""
        store = self._store = OptunaStore(self.folder.store_url())
        trials = self.folder.records("trial")
        for repeat in range(self.config.repeats):
            for name in self.families:
                study = self._study(name, repeat)
                store.open(study.name, self._directions)
                if study.costs.uncountable is not None and repeat == 0:
                    self._uncountable[name] = study.costs.uncountable
                    so = "" if self.config.budget[0] == "seconds" else ", so its first trial takes the whole budget"
                    self._say(f"{name}: its default setting cannot be counted ({study.costs.uncountable}){so}")
                for record in trials:
                    if record.family == name and record.repeat == repeat:
                        study.tell(record)
                store.catch_up(study.name, study.records, study.card.space)
                self._studies.append(study)

    def _study(self, name: str, repeat: int) -> Study:
        card = registry.family(name).require_card()
        return Study(
            card,
            repeat=repeat,
            budget=self.config.budget,
            directions=self._directions,
            objectives=self.config.objective,
            count=partial(count_setting, name, self.data),
            samples=len(reference_batch(self.data, "validation")),
            seed=self.config.seed,
            lag=self._lag,
            start=None if self.config.sampler == "bayesian" else 10**9,
            earlier=self._earlier.get(name, ()),
            two_speeds=self.config.two_speeds and self.config.sampler == "bayesian",
            stopping=self.config.stopping,
        )

    # Driving

    def _drive(self, pool: Pool) -> None:
        while True:
            self._fill(pool)
            if not self.running:
                if self._queue or not all(study.finished for study in self._studies):
                    raise AssertionError("work is left, but nothing can be started")
                return
            self._handle(pool, pool.wait(1.0))
            self._on_update()

    def _fill(self, pool: Pool) -> None:
        """Gives every free worker something to do: tuning first, since its trials wait for one another."""
        while pool.free:
            asked = self._ask()
            if asked is not None:
                study, trial = asked
                self._submit(pool, _Ticket(self._work.trial(study, trial), study, trial.number))
                continue
            for study in self._studies:
                if study.finished and study.name not in self._prepared:
                    with self._timing("explain"):
                        chosen = study.incumbents()
                        self._write_incumbents(study, chosen)
                        self._pin(chosen)
                        self._write_explanation(study, chosen)
                    self._queue += self._work.finals(study, chosen, self._there("final", "default"))
                    self._prepared.add(study.name)
            if not self._queue:
                return
            self._submit(pool, _Ticket(self._queue.pop(0)))

    def _ask(self) -> tuple[Study, Asked] | None:
        # A study with nothing running comes first, then the one with the most work left: the longest chain of
        # trials decides when all is done.
        for study in sorted(self._studies, key=lambda s: (len(s.running), -s.work_left)):
            if len(study.running) > self._lag:
                continue
            with self._timing("propose"):
                asked = study.ask()
            if asked is not None:
                return study, asked
        return None

    def _submit(self, pool: Pool, ticket: _Ticket) -> None:
        self._tickets += 1
        self.running[self._tickets] = ticket
        self._log("start", ticket)
        pool.submit(self._tickets, ticket.job)

    def _handle(self, pool: Pool, events: list[Any]) -> None:
        for event in events:
            ticket = self.running[event.ticket]
            if isinstance(event, Progressed):
                ticket.share = event.share
                continue
            del self.running[event.ticket]
            if isinstance(event, Done):
                self._log("end", ticket)
                self._take(ticket, event.record)
            elif isinstance(event, Died):
                self._log("lost", ticket, reason=event.reason)
                self._retry(pool, ticket, event.reason)

    def _take(self, ticket: _Ticket, record: Record | None) -> None:
        if record is None:
            return
        if ticket.study is not None:
            ticket.study.tell(record)
            with self._timing("store"):
                self._store.catch_up(ticket.study.name, ticket.study.records, ticket.study.card.space)
        outcome = record.reason if record.state != "complete" else self._objective_text(record)
        what = {"trial": f"trial {record.number}", "final": f"final {record.number}"}.get(
            record.role, f"{record.role} {record.number}"
        )
        self._say(f"{record.family} {what} ({record.split}): {outcome}")

    def _retry(self, pool: Pool, ticket: _Ticket, reason: str) -> None:
        """Starts a lost job again; a trial that loses its worker every time is a failure of its setting."""
        job = ticket.job
        self._say(f"{reason}; attempt {job.attempts} of {_ATTEMPTS}")
        if job.attempts < _ATTEMPTS:
            self._submit(pool, replace(ticket, job=replace(job, attempts=job.attempts + 1), share=0.0))
            return
        if not isinstance(job, TrialJob):
            # No setting can be blamed for this.
            raise WorkError(f"{type(job).__name__} failed {_ATTEMPTS} times: {reason}")
        record = job.record(
            reason=f"{reason}, {_ATTEMPTS} times (out of memory?)",
            data={"name": self.data.spec.name, "fingerprint": self.data.fingerprint},
        )
        self.folder.write_record(record)
        self._take(ticket, record)

    def _run_all(self, pool: Pool, jobs: list[Job]) -> None:
        """Runs jobs that everything else waits for."""
        while jobs or self.running:
            while jobs and pool.free:
                self._submit(pool, _Ticket(jobs.pop(0)))
            self._handle(pool, pool.wait(1.0))
            self._on_update()

    # Writing down

    def _write_incumbents(self, study: Study, chosen: list[Record]) -> None:
        content = self.folder.read_json("incumbents.json") or {}
        others = [entry for entry in content.get(study.card.name, []) if entry["repeat"] != study.repeat]
        mine = [
            {"repeat": study.repeat, "incumbent": i, "trial": record.number, "params": dict(record.params)}
            for i, record in enumerate(chosen)
        ]
        content[study.card.name] = sorted(others + mine, key=lambda e: (e["repeat"], e["incumbent"]))
        self.folder.write_json("incumbents.json", dict(sorted(content.items())))

    def _pin(self, chosen: list[Record]) -> None:
        """Has the trainings of incumbents spared when kept trainings are evicted."""
        self._pinned |= {record.training for record in chosen if record.training}
        pin(TrainingCache(Path(self.cache)), self.folder.path, self._pinned)

    def _write_explanation(self, study: Study, chosen: list[Record]) -> None:
        objectives = self.config.objective
        write_explanation(
            self.folder, study.name, study.card.space, study.observations(), objectives, self._directions, chosen
        )

    def _write_state(self, state: str, seconds: float) -> None:
        before = self.folder.read_json("comparison.json") or {"started": _now(), "seconds": 0.0}
        cards = {name: registry.family(name).require_card() for name in self.families}
        content = before | {
            "state": state,
            "lag": self._lag,
            "workers": self._workers,
            "finished": _now() if state == "finished" else None,
            "seconds": before["seconds"] + seconds,
            "overhead": self._overhead,
            "data": asdict(self.data.spec),
            "families": {
                name: {
                    "group": card.group,
                    "summary": card.summary,
                    "likelihood": card.likelihood[self.data.spec.kind],
                    "conditional": card.conditional,
                    "papers": list(card.papers),
                }
                for name, card in cards.items()
            },
            "skipped": registry.families_for(["all"], self.data.spec)[1],
            "uncountable": self._uncountable,
        }
        self.folder.write_json("comparison.json", content)

    @contextlib.contextmanager
    def _timing(self, part: str) -> Iterator[None]:
        """Counts seconds of the driver's own work, which no budget counts."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._overhead[part] = self._overhead.get(part, 0.0) + time.monotonic() - began

    def _there(self, *roles: Role) -> set[str]:
        return {record.name for record in self.folder.records(*roles)}

    def _log(self, event: str, ticket: _Ticket, **more: Any) -> None:
        """The log of events, one JSON object a line: what was started and what ended, in which order."""
        job = ticket.job
        entry = {"time": _now(), "event": event, "job": type(job).__name__, "attempts": job.attempts, **more}
        if isinstance(job, TrialJob):
            entry |= {"role": job.role, "family": job.label or job.family, "number": job.number, "repeat": job.repeat}
        with (self.folder.log_path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _objective_text(self, record: Record) -> str:
        values = [(name, record.metrics.get(name)) for name in self.config.objective]
        return ", ".join(f"{name} {figure['value']:.4g}" for name, figure in values if figure is not None)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Turns a polite end (SIGTERM) into the same clean stop as Ctrl-C."""
    import signal

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends it twice; the end is under way
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
