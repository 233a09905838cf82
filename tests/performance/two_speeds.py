"""Two speeds against one: settings tried, cost until the control's score, and held-out scores, at equal counted cost.

    python tests/performance/two_speeds.py --families ddpm,beta_vae --seeds 10 --workers 2
    python tests/performance/two_speeds.py --report

Methods: `two_speeds`, the engine as it comes; `one_speed`, the same engine with every setting trained in full, the
control; `curves` and `halving`, two speeds with either rule that stops trainings; `gp_halving` and `tpe_halving`,
Optuna's samplers with its successive halving (rungs at a quarter, a half and all of a training; a run that is promoted
is trained further, not again), which name their best observed; `tpe_5_halving`, the same from 5 random starts in place
of 10. (GPSampler counts full trainings alone as starts, of which no run has five.) Each trial is a record in the
results' folder: Ctrl-C ends a run, the same command goes on with it. Costs are counted, so that what one run finds in
the cache of another makes it faster and changes nothing else. Runs that stand in docs/results/two_speeds.json are not
done again; `--report` adds to it what has been done since.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

sys.path.insert(0, str(Path(__file__).parent / "proposals"))

import methods  # noqa: E402 - after the threads are set
import numpy as np  # noqa: E402
import pool  # noqa: E402
import store  # noqa: E402
import two_speeds_page  # noqa: E402
from lean_trials import lean_record  # noqa: E402

from gentune.bench import registry  # noqa: E402
from gentune.bench.budget.counting import count_setting  # noqa: E402
from gentune.bench.budget.kinds import Trainings  # noqa: E402
from gentune.bench.data import load as load_data  # noqa: E402
from gentune.bench.driver.job_factory import JobFactory  # noqa: E402
from gentune.bench.driver.planning import PlannedTrial, TuningOptions  # noqa: E402
from gentune.bench.driver.run_setup import describe  # noqa: E402
from gentune.bench.driver.study import FamilyStudy  # noqa: E402
from gentune.bench.files import write_atomically  # noqa: E402
from gentune.bench.proposal import Proposal  # noqa: E402
from gentune.bench.runs.records import Record  # noqa: E402
from gentune.bench.runs.run_folder import RunFolder  # noqa: E402
from gentune.bench.scoring.references import reference_batch  # noqa: E402
from gentune.bench.seeds import derive  # noqa: E402

ROOT = Path(__file__).parents[2]
METHODS = ("two_speeds", "one_speed", "gp_halving", "tpe_halving", "tpe_5_halving")
STOPPING = ("curves", "halving")
CONTROL = "one_speed"
PUBLISHED = ROOT / "docs" / "results" / "two_speeds.json"
DATA, OBJECTIVE = "digits", "fid"
BUDGET, SEEDS, FINALS = 8, 10, 3
RUNGS = (0.25, 0.5, 1.0)
_IDENTITY = ("method", "version", "task", "seed", "trials")
DRAWS = 4000  # of the bootstrap


class Run:
    """One method on one family with one seed, in a folder of its own."""

    def __init__(self, folder: Path, cache: Path, method: str, family: str, seed: int, budget: float) -> None:
        options = {"data": DATA, "families": [family], "trainings": budget, "objective": [OBJECTIVE], "seed": seed}
        stopping: Any = method if method in STOPPING else "none"
        options |= {"seeds": FINALS, "two_speeds": method != CONTROL, "stopping": stopping}
        self.config = describe(None, options)
        self.folder = RunFolder.create_or_match(folder, self.config)
        self.method, self.seed, self.budget = method, seed, budget
        data = load_data(DATA)
        families = {name: registry.family(name).resolved() for name in {family, "gaussian"}}
        self.study = FamilyStudy(
            families[family].card,
            TuningOptions(
                Trainings(budget),
                ["lower"],
                len(reference_batch(data, "validation")),
                [OBJECTIVE],
                seed=seed,
                two_speeds=method != CONTROL,
                stopping=stopping,
            ),
            functools.partial(count_setting, families[family], data),
        )
        self.jobs = JobFactory(self.folder, self.config, str(cache), families)
        self.there = {record.name: record for record in self.folder.records()}

    def tune(self) -> list[Record]:
        """Spends the budget; the records whose settings are named."""
        if self.method.endswith("_halving"):
            return self._halve()
        while (asked := self.study.ask()) is not None:
            self._carry_out(asked)
        return self.study.incumbents()

    def finals(self, named: Sequence[Record]) -> list[Record]:
        """The named settings retrained, scored on the test split."""
        jobs = self.jobs.retrainings(self.study, named, ())
        return [lean_record(job, self.folder, self.there) for job in jobs if job.role == "final"]

    def _carry_out(self, asked: PlannedTrial) -> Record:
        record = lean_record(self.jobs.trial(self.study, asked), self.folder, self.there)
        self.study.tell(record)
        return record

    def _halve(self) -> list[Record]:
        """Optuna's sampler and successive halving. The same seeds and records give the same trials again."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kinds: dict[str, Callable[..., Any]] = {
            "gp_halving": optuna.samplers.GPSampler,
            "tpe_halving": optuna.samplers.TPESampler,
            "tpe_5_halving": functools.partial(optuna.samplers.TPESampler, n_startup_trials=5),
        }
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        study = optuna.create_study(sampler=kinds[self.method](seed=self.seed), pruner=pruner)
        study.enqueue_trial(dict(self.study.card.space.default()))
        while self.study.spent < self.budget:
            trial = study.ask()
            setting = methods.suggest(trial, self.study.card.space)
            value: float | None = None
            parent: Record | None = None
            for step, fidelity in enumerate(RUNGS, start=1):
                asked = self._rung(setting, fidelity, parent)
                if asked.cost > self.budget - self.study.spent:
                    return self._best()
                parent = self._carry_out(asked)
                value = None if parent.objectives is None else parent.objectives[0]
                if value is None:
                    break
                trial.report(value, step)
                if step < len(RUNGS) and trial.should_prune():
                    break
            if value is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            elif parent is not None and parent.fidelity < 1.0:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, value)
        return self._best()

    def _rung(self, setting: dict[str, Any], fidelity: float, parent: Record | None) -> PlannedTrial:
        number = len(self.study.records)
        share = fidelity - (0.0 if parent is None else parent.fidelity)
        operations = self.study.costs.operations(setting, share)
        proposal, training_seed = Proposal(setting, fidelity=fidelity), None
        if parent is not None:
            proposal = Proposal(setting, "continue", parent.number, fidelity)
            training_seed = parent.seed if parent.training_seed is None else parent.training_seed
        cost = sum(operations.values()) / self.study.costs.unit if operations else share
        seed = derive(self.study.seed, "trial", number)
        return PlannedTrial(number, proposal, cost, operations, seed, None, training_seed)

    def _best(self) -> list[Record]:
        whole = [r for r in self.study.records.values() if r.objectives is not None and r.fidelity == 1.0]
        return [min(whole, key=lambda r: (r.objectives or (float("inf"),))[0])] if whole else []


def carry_out(job: store.Job, results: Path) -> dict[str, Any]:
    """One run, in a worker; its summary."""
    import torch

    torch.set_num_threads(1)
    folder = results / "runs" / f"{job.trials}_trainings" / job.method / job.task / f"seed_{job.seed}"
    run = Run(folder, results / "cache", job.method, job.task, job.seed, float(job.trials))
    finals = run.finals(run.tune())
    trials = [run.study.records[n] for n in sorted(run.study.records)]
    return {
        "budget": run.budget,
        "engine": store.engine_fingerprint(),
        "settings": len({json.dumps(dict(r.params), sort_keys=True) for r in trials}),
        "tried": [[r.cost, r.move, r.fidelity, r.objectives[0] if r.objectives else None] for r in trials],
        "test": [r.metrics[OBJECTIVE]["value"] for r in finals if OBJECTIVE in r.metrics],
    }


def wanted(methods_: Sequence[str], families: Sequence[str], seeds: int, budget: int) -> list[store.Job]:
    """The runs, those of one seed together; the budget is in whole trainings."""
    return [store.Job(m, m, "1", f, s, budget) for s in range(seeds) for f in families for m in methods_]


def report(results: Path, families: Sequence[str], seeds: int, budget: int) -> dict[str, Any]:
    """By family and method the figures that two speeds are about, paired by seed with the control."""
    runs: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for job in wanted((*METHODS, *STOPPING), families, seeds, budget):
        run = store.read(job.path(results))
        if run is not None and run["test"]:
            runs.setdefault((job.task, job.method), {})[job.seed] = run
    return {
        family: {
            method: _compare(runs[family, method], control)
            for method in (*METHODS, *STOPPING)
            if (family, method) in runs and (control := runs.get((family, CONTROL)))
        }
        for family in families
    }


def unpublished(jobs: Sequence[store.Job], results: Path) -> None:
    """Writes out what has been published of these runs, so that they are not done again."""
    for run in store.read(PUBLISHED) or ():
        for job in jobs:
            if all(run[key] == getattr(job, key) for key in _IDENTITY) and not job.path(results).exists():
                store.write(job.path(results), run)


def publish(jobs: Sequence[store.Job], results: Path) -> None:
    """Adds the runs that have been done to those published, in the jobs' order."""
    known = {tuple(run[key] for key in _IDENTITY): run for run in store.read(PUBLISHED) or ()}
    for job in jobs:
        if (run := store.read(job.path(results))) is not None:
            known[tuple(getattr(job, key) for key in _IDENTITY)] = run
    if not known:
        return
    lines = ",\n".join(json.dumps(known[key], separators=(",", ":")) for key in sorted(known))
    write_atomically(PUBLISHED, f"[\n{lines}\n]\n")


def _compare(mine: Mapping[int, dict[str, Any]], control: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    seeds = sorted(set(mine) & set(control))
    reached = [_cost_until(mine[s], min(_whole_values(control[s]))) / control[s]["budget"] for s in seeds]
    tests = np.array([[np.mean(mine[s]["test"]), np.mean(control[s]["test"])] for s in seeds])
    draws = np.random.default_rng(0).integers(0, len(seeds), (DRAWS, len(seeds)))
    ratios = tests[draws, 0].mean(1) / tests[draws, 1].mean(1)
    return {
        "runs": len(seeds),
        "settings_per_cost": float(np.mean([_settings_per_cost(mine[s]) for s in seeds])),
        "settings_ratio": float(np.mean([_settings_per_cost(mine[s]) / _settings_per_cost(control[s]) for s in seeds])),
        "reached_at": float(np.median(reached)),
        "reached_by": sum(share < float("inf") for share in reached),
        "test": float(tests[:, 0].mean()),
        "test_ratio": float(tests[:, 0].mean() / tests[:, 1].mean()),
        "test_ratio_interval": [float(q) for q in np.quantile(ratios, [0.025, 0.975])],
    }


def _settings_per_cost(run: Mapping[str, Any]) -> float:
    return run["settings"] / sum(cost for cost, *_ in run["tried"])


def _whole_values(run: Mapping[str, Any]) -> list[float]:
    """Validation scores of fully trained models."""
    return [value for _, _, fidelity, value in run["tried"] if value is not None and fidelity == 1.0]


def _cost_until(run: Mapping[str, Any], goal: float) -> float:
    """Cost at which a fully trained model had scored as low as the goal; infinite where none did."""
    spent = 0.0
    for cost, _, fidelity, value in run["tried"]:
        spent += cost
        if value is not None and fidelity == 1.0 and value <= goal:
            return spent
    return float("inf")


def text(found: Mapping[str, Any]) -> str:
    lines = []
    for family, by_method in found.items():
        lines += [
            "",
            family,
            f"{'method':12} {'runs':>4} {'settings/cost':>13} {'ratio':>6} {'reached at':>12}  test FID, ratio",
        ]
        for method, f in by_method.items():
            low, high = f["test_ratio_interval"]
            reached = f"{f['reached_at']:.2f} ({f['reached_by']})"
            lines.append(
                f"{method:12} {f['runs']:4d} {f['settings_per_cost']:13.2f} {f['settings_ratio']:6.2f} "
                f"{reached:>12}  {f['test']:.3f}, {f['test_ratio']:.3f} [{low:.3f}, {high:.3f}]"
            )
    lines += [
        "",
        f"against {CONTROL}, paired by seed; reached at: share of its cost, median over seeds (with how many)",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    families, chosen = options.families.split(","), options.methods.split(",")
    known = (*METHODS, *STOPPING)
    if unknown := [m for m in chosen if m not in known]:
        print(f"two_speeds.py: no method {unknown[0]!r}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    jobs = wanted(known if options.report else chosen, families, options.seeds, options.budget)
    unpublished(jobs, options.results)
    if not options.report:
        return pool.work(jobs, functools.partial(carry_out, results=options.results), options.results, options.workers)
    found = report(options.results, families, options.seeds, options.budget)
    print(text(found))
    publish(jobs, options.results)
    if options.page:
        two_speeds_page.write(found, budget=options.budget, seeds=options.seeds)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default="ddpm,beta_vae")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--budget", type=int, default=BUDGET, help="full trainings' worth of each run")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "two_speeds")
    parser.add_argument("--page", action="store_true", help="with --report: write it into docs/benchmarks.md, too")
    parser.add_argument("--report", action="store_true", help="show what the results say; run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
