"""What tuning is worth: settings tuned by Gentune and by its rivals, over the default setting, on held-out data.

    python tests/performance/tuning/run.py --workers 2
    python tests/performance/tuning/run.py --report

Methods: `ours` and `two_speeds`, Gentune with one speed and with two; `random`, its random search; `tpe` and `gp`,
Optuna's TPESampler and GPSampler; `priorband`, PriorBand of neural-pipeline-search, with what our cards expect as its
priors, on trainings in quarters. The first trial of each is the default. Each spends the same counted budget, and what
follows is the same for all and is a study's own: candidates by posterior mean and default are retrained on validation,
one is chosen, and it and the default are retrained for the test. The figure of a run is the log of the chosen setting's
mean test score over the default's; 0 where the default is chosen.

Defaults are the cards' own (`shipped`), or in the middle of every range (`neutral`). `--priors` takes what
`learn.py` wrote: what cards expect on a pair is then replaced by what was learned without the pair's data set.
Each trial is a record in the results' folder: Ctrl-C ends a run, the same command goes on with it.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "proposals"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import pool
import store
from lean_trials import lean_record
from priorband_method import Asked, PriorBand
from tuning.learn import with_likely
from tuning.pairs import Pair, by_name, neutral, parse_pair
from tuning.ratios import report, write_page
from tuning.rivals import OptunaRival, Rival

from gentune.bench.budget.counting import count_setting
from gentune.bench.budget.kinds import Trainings
from gentune.bench.data import load as load_data
from gentune.bench.driver.conclusions import Conclusions
from gentune.bench.driver.final_samples import final_samples
from gentune.bench.driver.job_factory import JobFactory
from gentune.bench.driver.journal import Journal
from gentune.bench.driver.planning import PlannedTrial, TuningOptions
from gentune.bench.driver.run_setup import describe
from gentune.bench.driver.study import FamilyStudy
from gentune.bench.proposal import Proposal
from gentune.bench.registry import ResolvedFamily
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scoring.references import real_examples, reference_batch
from gentune.bench.seeds import derive
from gentune.bench.trial.jobs import TrialJob

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "runs" / "tuning"
OURS = ("ours", "two_speeds")
RIVALS = ("random", "tpe", "gp", "priorband")
DEFAULTS = ("shipped", "neutral")
TRAININGS, REPEATS = 10, 5
CURVE = (3, 6, 20)  # further budgets of ours
FINALS, CHOICE_SEEDS = 5, 3
_ASKS = 20  # of a rival in a row for settings that it cannot pay for, after which its tuning ends
# Trainings are shortened where the default would take more than some 3 seconds on an idle core, so that all the runs
# take at most 12 hours of one.
PAIRS = by_name(
    *(Pair("gaussian_mixture", data) for data in ("digits", "two_moons", "eight_gaussians")),
    *(Pair("naive_bayes", data) for data in ("digits", "eight_gaussians")),
    Pair("pca", "digits"),
    Pair("kernel_density", "digits"),
    Pair("vae", "digits", share=0.5),
    Pair("vae", "two_moons", share=0.1),
    Pair("autoencoder", "digits", share=0.5),
    Pair("wgan_gp", "eight_gaussians", share=0.1),
    Pair("realnvp", "two_moons", share=0.1),
)


class Run:
    """One method on one pair from one default, with one seed, in a folder of its own."""

    def __init__(self, folder: Path, cache: Path, method: str, pair: Pair, family: ResolvedFamily, seed: int) -> None:
        self.method, self.seed, self._cache = method, seed, cache
        self._pair, self._family, self._path = pair, family, folder

    def carry_out(self, budget: float, python: Path) -> dict[str, Any]:
        """Tunes, chooses and retrains; what is kept of it. python: of PriorBand's environment."""
        self._open(budget)
        if self.method in ("ours", "two_speeds", "random"):
            while (asked := self.study.ask()) is not None:
                self._trial(asked)
        else:
            self._ask(self._rival(python))
        finals = self._conclude()
        trials = [self.study.records[n] for n in sorted(self.study.records)]
        chosen = finals["final"]
        # The finals of a default that was chosen serve for both.
        return {
            "budget": budget,
            "tried": [[r.cost, r.move, r.fidelity, r.objectives[0] if r.objectives else None] for r in trials],
            "chosen": {"trial": chosen[0].trial, "params": dict(chosen[0].params)} if chosen else None,
            "test": [_score(r) for r in chosen],
            "default": [_score(r) for r in finals["default"] or chosen],
        }

    def _open(self, budget: float) -> None:
        objective = self._pair.objective
        self.config = describe(
            None,
            {
                "data": self._pair.data,
                "families": [self._pair.family],
                "trainings": budget,
                "objective": [objective],
                "seed": self.seed,
                "seeds": FINALS,
                "choice_seeds": CHOICE_SEEDS,
                "two_speeds": self.method == "two_speeds",
                "constraints": [],
            },
        )
        self.folder = RunFolder.create_or_match(self._path, self.config)
        data = load_data(self._pair.data)
        options = TuningOptions(
            Trainings(budget),
            ["lower"],
            len(reference_batch(data, "validation")),
            [objective],
            seed=self.seed,
            two_speeds=self.method == "two_speeds",
        )
        if self.method == "random":
            options = replace(options, start=10**9, priors=False)
        self.study = FamilyStudy(self._family.card, options, functools.partial(count_setting, self._family, data))
        self.jobs = JobFactory(self.folder, self.config, str(self._cache), {self._pair.family: self._family})
        real = max(real_examples(data, "validation"), real_examples(data, "test"))
        self.jobs.final_samples = final_samples(None, real, {self._pair.family: self.study.costs.default}).n
        self.there = {record.name: record for record in self.folder.records()}

    def _rival(self, python: Path) -> Rival:
        space = self._family.card.space
        if self.method == "priorband":
            return PriorBand(space, self.study.seed, python)
        return OptunaRival(self.method, space, self.study.seed % 2**32)

    def _ask(self, rival: Rival) -> None:
        """Spends the budget on what a rival asks for."""
        records: dict[Any, Record] = {}
        refused = 0
        try:
            while refused < _ASKS and self.study.spent < self.study.budget.amount:
                asked = rival.ask()
                parent = records.get(asked.parent)
                if parent is not None and parent.fidelity == 1.0:  # trained whole at once: nothing is left to do
                    records[asked.identifier] = parent
                    rival.tell(asked, _score(parent))
                    continue
                planned = self._planned(asked, parent)
                if planned.cost > self.study.budget.amount - self.study.spent + 1e-9:
                    refused += 1
                    rival.tell(asked, None)
                    continue
                refused = 0
                records[asked.identifier] = record = self._trial(planned)
                rival.tell(asked, _score(record))
        finally:
            rival.close()

    def _planned(self, asked: Asked, parent: Record | None) -> PlannedTrial:
        """A rival's trial at its counted cost."""
        study, number = self.study, len(self.study.records)
        # A training by `fit` has no parts.
        fidelity = asked.fidelity if study.costs.default.train else 1.0
        share = fidelity - (0.0 if parent is None else parent.fidelity)
        proposal, training_seed = Proposal(asked.setting, fidelity=fidelity), None
        if parent is not None:
            proposal = Proposal(asked.setting, "continue", parent.number, fidelity)
            training_seed = parent.seed if parent.training_seed is None else parent.training_seed
        operations = study.costs.operations(asked.setting, share)
        cost = sum(operations.values()) / study.costs.unit if operations else share
        seed = derive(study.seed, "trial", number)
        return PlannedTrial(number, proposal, cost, operations, seed, None, training_seed)

    def _trial(self, asked: PlannedTrial) -> Record:
        record = lean_record(self.jobs.trial(self.study, asked), self.folder, self.there)
        self.study.tell(record)
        return record

    def _conclude(self) -> dict[str, list[Record]]:
        """The choice and the finals, as any run of Gentune has them: records by their role."""
        journal = Journal(self.folder)
        conclusions = Conclusions(
            self.folder, self.config, self.jobs, journal, cache=str(self._cache), say=lambda line: None
        )
        found: dict[str, list[Record]] = {"choice": [], "final": [], "default": []}
        while jobs := conclusions.next_jobs(self.study):
            for job in jobs:
                assert isinstance(job, TrialJob)
                record = lean_record(job, self.folder, self.there)
                found[record.role].append(record)
                if record.role == "choice":
                    conclusions.take(record)
        finished = {record.name: record for record in self.folder.records("final", "default")}
        for role in ("final", "default"):
            found[role] = [record for record in finished.values() if record.role == role]
        return found


def _score(record: Record) -> float | None:
    return None if record.objectives is None else record.objectives[0]


def carry_out(job: store.Job, results: Path, python: Path, priors: Mapping[str, Any]) -> dict[str, Any]:
    """One run, in a worker."""
    import torch

    torch.set_num_threads(1)
    name, _, defaults = job.task.partition("@")
    pair = PAIRS[name]
    family = pair.resolved()
    card = with_likely(family.card, priors[name]) if name in priors else family.card
    family = replace(family, card=neutral(card) if defaults == "neutral" else card)
    folder = results / "runs" / f"{job.trials}_trainings" / job.method / job.task / f"seed_{job.seed}"
    return Run(folder, results / "cache", job.method, pair, family, job.seed).carry_out(float(job.trials), python)


def wanted(methods: Sequence[str], pairs: Sequence[str], repeats: int, defaults: Sequence[str]) -> list[store.Job]:
    """The runs, those of one repeat together; ours with the further budgets of the curve as well."""
    jobs = []
    for seed in range(repeats):
        for task in (f"{name}@{kind}" for kind in defaults for name in pairs):
            jobs += [store.Job(m, m, "1", task, seed, TRAININGS) for m in methods]
            jobs += [store.Job("ours", "ours", "1", task, seed, t) for t in CURVE if "ours" in methods]
    return jobs


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    methods, pairs, defaults = (text.split(",") for text in (options.methods, options.pairs, options.defaults))
    try:
        for name in pairs:
            parse_pair(name, PAIRS)
        for given, known in ((methods, (*OURS, *RIVALS)), (defaults, DEFAULTS)):
            if unknown := [name for name in given if name not in known]:
                raise ValueError(f"no {unknown[0]!r}; known: {', '.join(known)}")
    except ValueError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    jobs = wanted(methods, pairs, options.repeats, defaults)
    if options.report:
        found = report({job: run for job in jobs if (run := store.read(job.path(options.results))) is not None})
        print("\n".join(found.lines()))
        if options.page:
            write_page(found)
        return 0
    priors = json.loads(options.priors.read_text(encoding="utf-8")) if options.priors else {}
    do = functools.partial(carry_out, results=options.results, python=options.priorband, priors=priors)
    return pool.work(jobs, do, options.results, options.workers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument("--methods", default=",".join((*OURS, *RIVALS)))
    parser.add_argument("--defaults", default=",".join(DEFAULTS))
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of the whole tuning")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--priors", type=Path, help="what learn.py wrote; without it cards say what they say")
    parser.add_argument(
        "--priorband", type=Path, default=ROOT / ".venv-priorband" / "bin" / "python", help="its environment's python"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="with --report: write it into docs/benchmarks.md, too")
    parser.add_argument("--report", action="store_true", help="show what the results say; run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
