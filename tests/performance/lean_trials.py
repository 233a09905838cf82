"""Trials of benchmarks: only the objective is measured, and what an earlier run of the command wrote is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RecordFolder
from gentune.bench.trial.execution import run_trial
from gentune.bench.trial.jobs import TrialJob


def lean_record(job: TrialJob, folder: RecordFolder, there: Mapping[str, Record]) -> Record:
    """The job's record, from an earlier run of the command or now; only the objective is measured.

    folder: takes the record. there: records that exist, by name.
    """
    lean = replace(job, lean=True, second_evaluator=False, keep_model=False, keep_samples=False)
    return there.get(job.name) or run_trial(lean, folder)
