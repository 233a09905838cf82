"""Retrainings and references that wait for a worker, and which of them comes next."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..training.cache import cache_limit
from ..trial.jobs import Job, TrialJob
from .progress import Progress


class JobQueue(list[Job]):
    """Jobs that no trial depends on."""

    def next(self, running: Sequence[Job], progress: Progress | None) -> Job | None:
        """Takes the next one that need not wait; retrainings for a choice first.

        One waits while another trains the same model: then it finds the kept training, and samples that.
        """
        trained = [job for job in running if isinstance(job, TrialJob)] if cache_limit() else []
        ready = [
            job
            for job in self
            if not (isinstance(job, TrialJob) and any(job.shares_training(other) for other in trained))
        ]
        if progress is not None and not math.isinf(progress.limit):
            # Each family has its first final before any has its second.
            ready = [job for job in ready if progress.fits(job)]
            ready.sort(key=lambda job: job.number if isinstance(job, TrialJob) else 0)
        if not ready:
            return None
        first = next((job for job in ready if isinstance(job, TrialJob) and job.role == "choice"), ready[0])
        self.remove(first)
        return first

    def first_on_test(self) -> Job | None:
        """Takes the first model that is scored on test as finals are, so that it tells how long that takes.

        None where there is no such reference, or one has been scored.
        """
        on_test = [job for job in self if isinstance(job, TrialJob) and (job.role, job.split) == ("reference", "test")]
        if not on_test or on_test[0].number != 0:
            return None
        self.remove(on_test[0])
        return on_test[0]
