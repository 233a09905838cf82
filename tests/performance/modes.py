"""Modes of `eight_gaussians` that a tuned family covers, over seeds.

    python tests/performance/modes.py                    # wgan_gp: 4 trainings, then its incumbent with 10 seeds
    python tests/performance/modes.py --family gan --out runs/modes_gan

Tunes the family, trains its incumbent with fresh seeds and counts the modes among 2,000 samples (`modes_covered`).
Every trial and every seed is a record in the run folder: Ctrl-C ends a run, the same command goes on with it.
Fails where fewer than nine seeds of ten cover all eight.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import torch  # noqa: E402 - after the threads are set

from gentune.bench import registry  # noqa: E402
from gentune.bench.budget.counting import count_setting  # noqa: E402
from gentune.bench.budget.kinds import Trainings  # noqa: E402
from gentune.bench.data import load as load_data  # noqa: E402
from gentune.bench.driver.job_factory import JobFactory  # noqa: E402
from gentune.bench.driver.planning import TuningOptions  # noqa: E402
from gentune.bench.driver.run_setup import describe  # noqa: E402
from gentune.bench.driver.study import FamilyStudy  # noqa: E402
from gentune.bench.evaluators import default_cache  # noqa: E402
from gentune.bench.runs.records import Record  # noqa: E402
from gentune.bench.runs.run_folder import RunFolder  # noqa: E402
from gentune.bench.scoring.references import reference_batch  # noqa: E402
from gentune.bench.trial.execution import run_trial  # noqa: E402
from gentune.bench.trial.jobs import TrialJob  # noqa: E402

ROOT = Path(__file__).parents[2]
DATA, MODES, OBJECTIVE = "eight_gaussians", 8, "mmd"
SHARE = 0.9  # of the seeds that cover all modes


def modes_by_seed(family: str, out: Path, *, trainings: float, seeds: int) -> dict[int, float]:
    """Modes covered by each fresh training of the incumbent; 0 where one failed."""
    options = {"data": DATA, "families": [family], "trainings": trainings, "objective": [OBJECTIVE], "seeds": seeds}
    config = describe(None, options)
    folder = RunFolder.create_or_match(out, config)
    data = load_data(DATA)
    families = {name: registry.family(name).resolved() for name in {family, "gaussian"}}
    study = FamilyStudy(
        families[family].card,
        TuningOptions(Trainings(trainings), ["lower"], len(reference_batch(data, "validation")), [OBJECTIVE]),
        functools.partial(count_setting, families[family], data),
    )
    factory = JobFactory(folder, config, str(default_cache()), families)
    there = {record.name: record for record in folder.records()}

    def done(job: TrialJob) -> Record:
        record = there.get(job.record().name) or run_trial(job, folder)
        print(f"{record.name}: {record.reason or record.metrics['modes_covered']['value']}", file=sys.stderr)
        return record

    while (asked := study.ask()) is not None:
        study.tell(done(factory.trial(study, asked)))
    finals = factory.retrainings(study, study.incumbents(), ())
    # On the validation split: the slow metrics of finals are of no use here.
    quick = [replace(job, split="validation", second_evaluator=False) for job in finals if job.role == "final"]
    records = [done(job) for job in quick]
    return {r.seed: r.metrics["modes_covered"]["value"] or 0.0 if r.state == "complete" else 0.0 for r in records}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="wgan_gp")
    parser.add_argument("--trainings", type=float, default=4.0, help="full trainings' worth of the tuning")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=None, help="run folder; default: runs/modes_FAMILY")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    out = options.out or ROOT / "runs" / f"modes_{options.family}"
    found = modes_by_seed(options.family, out, trainings=options.trainings, seeds=options.seeds)
    whole = sum(modes == MODES for modes in found.values())
    print(f"{options.family} covers {MODES} of {MODES} modes in {whole} of {len(found)} seeds")
    return 0 if whole >= SHARE * len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
