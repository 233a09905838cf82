"""Two speeds against one: settings tried, cost until the control's score, and held-out scores, at equal counted cost.

    python tests/performance/two_speeds.py --families ddpm,beta_vae --seeds 10 --workers 2
    python tests/performance/two_speeds.py --report

Methods: `two_speeds`, the engine as it comes; `one_speed`, the same engine with every setting trained anew in full, the
control; `gp_halving` and `tpe_halving`, Optuna's samplers with its successive halving (rungs at a quarter, a half and
all of a training; a run that is promoted is trained further, not anew), which name their best observed. Each trial is a
record in the results' folder: Ctrl-C ends a run, the same command goes on with it. Costs are counted, so that what one
run finds in the cache of another makes it faster and changes nothing else.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402 - after the threads are set

from gentune.bench import registry  # noqa: E402
from gentune.bench.counting import count_setting  # noqa: E402
from gentune.bench.data import load as load_data  # noqa: E402
from gentune.bench.measurement import reference_batch  # noqa: E402
from gentune.bench.proposal import Proposal  # noqa: E402
from gentune.bench.records import Record  # noqa: E402
from gentune.bench.run_setup import describe  # noqa: E402
from gentune.bench.seeds import derive  # noqa: E402
from gentune.bench.storage import RunFolder  # noqa: E402
from gentune.bench.study import Asked, Study  # noqa: E402
from gentune.bench.trial import run_trial  # noqa: E402
from gentune.bench.work import Work  # noqa: E402

ROOT = Path(__file__).parents[2]
METHODS = ("two_speeds", "one_speed", "gp_halving", "tpe_halving")
CONTROL = "one_speed"
DATA, OBJECTIVE = "digits", "fid"
BUDGET, SEEDS, FINALS = 12.0, 10, 3
RUNGS = (0.25, 0.5, 1.0)
DRAWS = 4000  # of the bootstrap


class Run:
    """One method on one family with one seed, in a folder of its own."""

    def __init__(self, folder: Path, cache: Path, method: str, family: str, seed: int, budget: float) -> None:
        options = {"data": DATA, "families": [family], "trainings": budget, "objective": [OBJECTIVE], "seed": seed}
        options |= {"seeds": FINALS, "two_speeds": method != CONTROL}
        self.config = describe(None, options)
        self.folder = RunFolder.create_or_match(folder, self.config)
        self.method, self.seed, self.budget = method, seed, budget
        data = load_data(DATA)
        self.study = Study(
            registry.family(family).require_card(),
            repeat=0,
            budget=("trainings", budget),
            directions=["lower"],
            objectives=[OBJECTIVE],
            count=functools.partial(count_setting, family, data),
            samples=len(reference_batch(data, "validation")),
            seed=seed,
            lag=0,
            two_speeds=method != CONTROL,
        )
        self.work = Work(self.folder, self.config, str(cache))
        self.there = {record.name: record for record in self.folder.records()}

    def tune(self) -> list[Record]:
        """Spends the budget; the records whose settings are named."""
        if self.method.endswith("_halving"):
            return self._halve()
        while (asked := self.study.ask()) is not None:
            self._carry_out(asked)
        return self.study.incumbents()

    def finals(self, named: Sequence[Record]) -> list[Record]:
        """The named settings trained anew, on the test split."""
        jobs = [job for job in self.work.finals(self.study, named, ()) if getattr(job, "role", "") == "final"]
        return [self.there.get(job.record().name) or run_trial(job) for job in jobs]  # type: ignore[union-attr, arg-type]

    def _carry_out(self, asked: Asked) -> Record:
        job = self.work.trial(self.study, asked)
        record = self.there.get(job.record().name) or run_trial(job)
        self.study.tell(record)
        return record

    def _halve(self) -> list[Record]:
        """Optuna's sampler and successive halving. The same seeds and records give the same trials again."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kinds: dict[str, Callable[..., Any]] = {
            "gp_halving": optuna.samplers.GPSampler,
            "tpe_halving": optuna.samplers.TPESampler,
        }
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        study = optuna.create_study(sampler=kinds[self.method](seed=self.seed), pruner=pruner)
        study.enqueue_trial(dict(self.study.card.space.default()))
        while self.study.spent < self.budget:
            trial = study.ask()
            setting = suggest(trial, self.study.card.space)
            value = None
            parent: Record | None = None
            for step, fidelity in enumerate(RUNGS, start=1):
                asked = self._rung(setting, fidelity, parent)
                if asked.cost > self.budget - self.study.spent:
                    return self._best()
                parent = self._carry_out(asked)
                if parent.objectives is None:
                    value = None
                    break
                value = parent.objectives[0]
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

    def _rung(self, setting: dict[str, Any], fidelity: float, parent: Record | None) -> Asked:
        number = len(self.study.records)
        share = fidelity - (0.0 if parent is None else parent.fidelity)
        operations = self.study.operations_of(setting, share)
        proposal = Proposal(setting, "train" if parent is None else "continue", None, fidelity)
        training_seed = None
        if parent is not None:
            proposal = Proposal(setting, "continue", parent.number, fidelity)
            training_seed = parent.seed if parent.training_seed is None else parent.training_seed
        cost = sum(operations.values()) / self.study.unit if operations else share
        seed = derive(self.study.seed, "trial", number)
        return Asked(number, proposal, cost, operations, seed, None, training_seed)

    def _best(self) -> list[Record]:
        whole = [r for r in self.study.records.values() if r.objectives is not None and r.fidelity == 1.0]
        return [min(whole, key=lambda r: (r.objectives or (float("inf"),))[0])] if whole else []


def suggest(trial: Any, space: Any) -> dict[str, Any]:
    """What an Optuna trial suggests for the active parameters, parents first."""
    setting: dict[str, Any] = {}
    for p in space:
        if space.is_active(p, setting):
            if p.kind == "categorical":
                setting[p.name] = trial.suggest_categorical(p.name, list(p.choices))
            elif p.kind == "int":
                setting[p.name] = trial.suggest_int(p.name, int(p.low), int(p.high), step=int(p.step or 1), log=p.log)
            else:
                setting[p.name] = trial.suggest_float(p.name, p.low, p.high, step=p.step, log=p.log)
    return setting


def carry_out(results: Path, method: str, family: str, seed: int, budget: float) -> float:
    """One run and its summary; the seconds that it took."""
    import torch

    torch.set_num_threads(1)
    began = time.perf_counter()
    folder = results / f"{budget:g}_trainings" / method / family / f"seed_{seed}"
    run = Run(folder, results / "cache", method, family, seed, budget)
    named = run.tune()
    finals = run.finals(named)
    trials = [run.study.records[n] for n in sorted(run.study.records)]
    content = {
        "method": method,
        "family": family,
        "seed": seed,
        "budget": budget,
        "settings": len({json.dumps(dict(r.params), sort_keys=True) for r in trials}),
        "trials": [[r.cost, r.move, r.fidelity, r.objectives[0] if r.objectives else None] for r in trials],
        "test": [r.metrics[OBJECTIVE]["value"] for r in finals if OBJECTIVE in r.metrics],
    }
    run.folder.write_json("summary.json", content)
    return time.perf_counter() - began


def report(results: Path, families: Sequence[str], budget: float) -> dict[str, Any]:
    """By family and method the figures that the issue of two speeds is about, paired by seed with the control."""
    found: dict[str, Any] = {}
    for family in families:
        runs = {method: _read(results, method, family, budget) for method in METHODS}
        found[family] = {
            method: _compare(mine, runs[CONTROL]) for method, mine in runs.items() if mine and runs[CONTROL]
        }
    return found


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
        "test": float(tests[:, 0].mean()),
        "test_ratio": float(tests[:, 0].mean() / tests[:, 1].mean()),
        "test_ratio_interval": [float(q) for q in np.quantile(ratios, [0.025, 0.975])],
    }


def _settings_per_cost(run: Mapping[str, Any]) -> float:
    return run["settings"] / sum(cost for cost, *_ in run["trials"])


def _whole_values(run: Mapping[str, Any]) -> list[float]:
    """Validation scores of fully trained models."""
    return [value for _, _, fidelity, value in run["trials"] if value is not None and fidelity == 1.0]


def _cost_until(run: Mapping[str, Any], goal: float) -> float:
    """Cost at which a fully trained model had scored as low as the goal; infinite where none did."""
    spent = 0.0
    for cost, _, fidelity, value in run["trials"]:
        spent += cost
        if value is not None and fidelity == 1.0 and value <= goal:
            return spent
    return float("inf")


def _read(results: Path, method: str, family: str, budget: float) -> dict[int, dict[str, Any]]:
    folder = results / f"{budget:g}_trainings" / method / family
    paths = sorted(folder.glob("seed_*/artifacts/summary.json"))
    return {run["seed"]: run for run in (json.loads(path.read_text(encoding="utf-8")) for path in paths) if run["test"]}


def text(found: Mapping[str, Any]) -> str:
    lines = []
    for family, methods in found.items():
        lines += [
            "",
            family,
            f"{'method':12} {'runs':>4} {'settings/cost':>13} {'ratio':>6} {'reached at':>10}  test FID, ratio",
        ]
        for method, f in methods.items():
            low, high = f["test_ratio_interval"]
            lines.append(
                f"{method:12} {f['runs']:4d} {f['settings_per_cost']:13.2f} {f['settings_ratio']:6.2f} "
                f"{f['reached_at']:10.2f}  {f['test']:.3f}, {f['test_ratio']:.3f} [{low:.3f}, {high:.3f}]"
            )
    lines += ["", f"against {CONTROL}, paired by seed; reached at: share of the control's cost, median over seeds"]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    families, methods = options.families.split(","), options.methods.split(",")
    if unknown := [m for m in methods if m not in METHODS]:
        print(f"two_speeds.py: no method {unknown[0]!r}; known: {', '.join(METHODS)}", file=sys.stderr)
        return 2
    if options.report:
        found = report(options.results, families, options.budget)
        print(text(found))
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / "two_speeds.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return 0
    jobs = [
        (m, f, s)
        for s in range(options.seeds)
        for f in families
        for m in methods
        if s not in _read(options.results, m, f, options.budget)
    ]
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(carry_out, options.results, *job, options.budget): job for job in jobs}
        for done, future in enumerate(as_completed(running), start=1):
            print(f"{done}/{len(jobs)}  {' '.join(map(str, running[future]))}: {future.result():.0f} s", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default="ddpm,beta_vae")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--budget", type=float, default=BUDGET, help="full trainings' worth of each run")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "two_speeds")
    parser.add_argument("--report", action="store_true", help="show what the results say; run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
