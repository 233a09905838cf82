"""A plug-in for tests: an executor of one's own, which counts what it is given."""

from __future__ import annotations

import os
from pathlib import Path

import gentune
from gentune.bench.scheduling import ExecutorSettings
from gentune.bench.scheduling.in_process import InProcessExecutor
from gentune.bench.trial.jobs import Job


class Counting(InProcessExecutor):
    """One job at a time, each a line in the file that COUNTING_LOG names."""

    def submit(self, ticket: int, job: Job) -> None:
        with Path(os.environ["COUNTING_LOG"]).open("a", encoding="utf-8") as file:
            file.write(f"{ticket}\n")
        super().submit(ticket, job)


def start(settings: ExecutorSettings) -> Counting:
    """Counts its jobs."""
    return Counting(settings)


gentune.register_executor("counting", start)
