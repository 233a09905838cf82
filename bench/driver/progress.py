"""Where a run stands: what is left of it, how long that takes, and whether its time is up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from ..runs.records import Record
from ..runs.study_file import StudyFile
from ..trial.jobs import FloorJob, Job, TrialJob
from .expectations import Expectations, kind_of_score
from .forecast import Forecast, StudyState
from .journal import Journal
from .plan import Plan
from .study import FamilyStudy

_MOST_SLOWDOWN = 2.0  # that the workers' waiting is taken to cause; more is a disturbance that will pass
_MARGIN = 1.25  # of time that is kept for retrainings, none of which may have been timed yet
_SLOWDOWN_FROM = 3  # finished jobs


class Progress:
    """Follows the jobs of one process that works on a run.

    records: those that were there before. final_samples: that a retraining draws. elapsed: seconds that the run has
    worked so far, earlier processes included.
    """

    def __init__(
        self,
        config: StudyFile,
        expected: Expectations,
        journal: Journal,
        records: Sequence[Record],
        *,
        final_samples: int,
        workers: int,
        elapsed: Callable[[], float],
    ) -> None:
        self._config, self._expected, self._journal = config, expected, journal
        self._final_samples, self._workers, self._elapsed = final_samples, workers, elapsed
        self._done: Counter[tuple[str, str, int]] = Counter((r.role, r.family, r.repeat) for r in records)
        self._began, self._overhead_before = elapsed(), journal.overhead()
        self._worked, self._finished, self._proposed = 0.0, 0, 0
        self.limit = math.inf if config.max_hours is None else 3_600.0 * config.max_hours
        self.cut = journal.cut  # studies whose tuning the limit has ended

    def take(self, record: Record, seconds: float) -> None:
        """Takes the record of a job that has ended, and the seconds from its start to its end."""
        self._done[record.role, record.family, record.repeat] += 1
        self._worked += seconds
        self._finished += 1
        self._proposed += record.role == "trial"

    @property
    def time_left(self) -> float:
        """Seconds until the run's limit; infinite without one."""
        return self.limit - self._elapsed()

    def fits(self, job: Job) -> bool:
        """Whether a job is expected to end within the run's limit."""
        return math.isinf(self.limit) or self._seconds(job) <= self.time_left

    def tuning_fits(self, studies: Sequence[FamilyStudy], waiting: Sequence[Job], running: Sequence[Job]) -> bool:
        """Whether the run's limit leaves time for one more trial, all retrainings and what waits and runs."""
        if math.isinf(self.limit):
            return True
        forecast = self._forecast()
        rest = sum(forecast.most_retrainings(self.state(study)).seconds for study in studies)
        rest += self._references(waiting) + sum(map(self._seconds, running))
        trials = [forecast.job(study.card.name, None, "trial", self._expected.samples) for study in studies]
        rest += max(work.seconds for work in trials)
        return _MARGIN * (rest * self._slowdown() / self._workers + self._concluding(studies)) <= self.time_left

    def choices_fit(self, studies: Sequence[FamilyStudy], running: Sequence[Job]) -> bool:
        """Whether the run's limit leaves time for the choice of studies that have been tuned, and a final of each."""
        forecast = self._forecast()
        rest = sum(map(self._seconds, running))
        for study in studies:
            rest += forecast.left(self.state(study))["choice"].seconds
            rest += forecast.job(study.card.name, None, "test", self._final_samples).seconds
        return rest * self._slowdown() / self._workers + self._concluding(studies) <= self.time_left

    def seconds_left(
        self, studies: Sequence[FamilyStudy], waiting: Sequence[Job], running: Sequence[tuple[Job, float]]
    ) -> float:
        """Wall time of all that is left, the choice, finals and scores included.

        waiting: jobs that are queued. running: those under way, with their seconds so far.
        """
        forecast = self._forecast()
        parts = {study.name: forecast.left(self.state(study)) for study in studies}
        done = sum(min(seconds, self._seconds(job)) for job, seconds in running)
        others = self._references([*waiting, *(job for job, _ in running)])
        whole = Plan(parts, self._workers, self._final_samples).seconds + (others - done) / self._workers
        # However many workers share the rest, one job takes its own time.
        each = [*((job, 0.0) for job in waiting), *running]
        longest = max((self._seconds(job) - seconds for job, seconds in each), default=0.0)
        rest = max(0.0, whole, longest) * self._slowdown() + self._concluding(studies) + self._expected.report
        return min(rest, max(0.0, self.time_left))

    def state(self, study: FamilyStudy) -> StudyState:
        """How far a study is."""
        family, repeat = study.card.name, study.repeat
        candidates = [study.records[c.trial].params for c in self._journal.candidates(family, repeat)]
        incumbents = [study.records[number].params for number in self._journal.incumbents(family, repeat)]
        return StudyState(
            family,
            repeat,
            spent=study.spent,
            trials=len(study.records),
            tuned=study.finished,
            candidates=candidates or None,
            choices=self._done["choice", family, repeat],
            incumbents=incumbents or None,
            finals=self._done["final", family, repeat] + self._done["default", family, repeat],
        )

    def _forecast(self) -> Forecast:
        proposing = self._overhead("propose") / self._proposed if self._proposed else None
        return Forecast(self._config, self._expected, self._final_samples, proposing)

    def _overhead(self, *parts: str) -> float:
        """Seconds of the driver's own work in this process."""
        now = self._journal.overhead()
        return sum(now.get(part, 0.0) - self._overhead_before.get(part, 0.0) for part in parts)

    def _slowdown(self) -> float:
        """Wall time by what jobs and the driver took: workers start, wait, and share the machine."""
        accounted = (self._worked + self._overhead("propose", "explain", "store")) / self._workers
        if self._finished < _SLOWDOWN_FROM or not accounted:
            return 1.0
        return min(_MOST_SLOWDOWN, max(1.0, (self._elapsed() - self._began) / accounted))

    def _concluding(self, studies: Sequence[FamilyStudy]) -> float:
        """Seconds of the driver for studies that have not chosen yet, by the trials that they have."""
        waiting = (s for s in studies if not self._journal.incumbents(s.card.name, s.repeat))
        return sum(self._expected.concluding(len(study.records)) for study in waiting)

    def _references(self, jobs: Sequence[Job]) -> float:
        """Seconds of the jobs that belong to no study."""
        return sum(self._seconds(job) for job in jobs if not isinstance(job, TrialJob) or job.role == "reference")

    def _seconds(self, job: Job) -> float:
        if isinstance(job, TrialJob):
            samples = self._expected.samples if job.samples is None else job.samples
            known = self._expected
            training = (known.training(job.family.name, job.params) or 0.0) * job.fidelity
            sampling = known.sampling(job.family.name, job.params, samples) or 0.0
            return training + sampling + known.scoring(job.family.name, kind_of_score(job.role, job.split), samples)
        if isinstance(job, FloorJob):
            samples = self._expected.samples if job.samples is None else job.samples
            return self._expected.scoring("", kind_of_score("reference", job.split), samples)
        return 0.0
