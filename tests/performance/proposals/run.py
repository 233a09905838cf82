"""Measures how fast proposal methods find good settings, one JSON file a run; done runs are not done again.

    python tests/performance/proposals/run.py --methods gp,tpe,gentune --tasks all --seeds 20 --workers 2
    python tests/performance/proposals/run.py --report --methods gp,tpe,gentune --groups bbob,tables

A method is a name, with `:keyword=value` for its sampler (`gentune:start=8`) and `@version` in reports for results
that are not of the present version. Tasks: names, or `all`, of the groups that are named or of every one. Ctrl-C ends
it; the same command goes on.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import methods  # noqa: E402 - after the threads are set
import pool  # noqa: E402
import store  # noqa: E402
from task import Task  # noqa: E402

ROOT = Path(__file__).parents[3]
SEEDS, SLOW_SEEDS, TRIALS = 20, 5, 50
METHODS = "random,tpe,tpe_5,gp,gp_5,ax,hebo,smac,gentune"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.tasks_folder:
        os.environ["GENTUNE_TASKS"] = str(options.tasks_folder.resolve())
    catalogue = importlib.import_module(options.catalogue)
    try:
        tasks = select(catalogue, options.tasks, options.groups)
        specs = [spec for spec in options.methods.split(",") if spec]
        jobs = plan(specs, list(tasks), options.seeds, options.trials)
    except ValueError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    if options.list:
        _list(tasks, jobs, options.results)
        return 0
    if options.report:
        import report

        return report.main(options, tasks, jobs, catalogue)
    return pool.work(jobs, functools.partial(_do, catalogue=options.catalogue), options.results, options.workers)


def select(catalogue: Any, wanted: str, groups: str | None = None) -> dict[str, Task]:
    """The tasks that are wanted, in the catalogue's order; no others are built.

    wanted: names, or `all`, which leaves out, with a word, tasks whose package or files are missing.
    groups: names of groups that `all` is taken from; None: every one.
    Raises ValueError for a name that is none.
    """
    known: Mapping[str, Sequence[str]] = getattr(catalogue, "GROUPS", {"all": tuple(catalogue.TASKS)})
    for group in groups.split(",") if groups else ():
        if group not in known:
            raise ValueError(f"no group {group!r}; known: {', '.join(known)}")
    within = {name for group in (groups.split(",") if groups else known) for name in known[group]}
    available: Callable[[str], bool] = getattr(catalogue, "available", lambda name: True)
    names: set[str] = set()
    for word in wanted.split(","):
        if word == "all":
            missing = {name for name in within if not available(name)}
            if missing:
                print(f"left out, as packages or files are missing: {', '.join(sorted(missing))}", file=sys.stderr)
            names |= within - missing
        elif word in catalogue.TASKS:
            names.add(word)
        else:
            raise ValueError(f"no task {word!r}; known: {', '.join(catalogue.TASKS)}")
    return {n: catalogue.TASKS[n] for n in catalogue.TASKS if n in names}


def plan(specs: Sequence[str], tasks: Sequence[str], seeds: int | None, trials: int) -> list[store.Job]:
    """All runs that are wanted, seed by seed, the methods of one task side by side: what disturbs the machine for a
    while disturbs all methods alike, and an unfinished plan is a fair one."""
    counts = {
        s: seeds or (SLOW_SEEDS if methods.split(s.partition("@")[0])[0] in methods.SLOW else SEEDS) for s in specs
    }
    return [
        store.job(spec, task, seed, trials)
        for seed in range(max(counts.values()))
        for task in tasks
        for spec in specs
        if seed < counts[spec]
    ]


def _do(job: store.Job, catalogue: str) -> dict[str, Any]:
    """One run, in a worker."""
    task = importlib.import_module(catalogue).TASKS[job.task]
    return asdict(methods.run(job.method, task, job.seed, job.trials))


def _list(tasks: Mapping[str, Task], jobs: Sequence[store.Job], results: Path) -> None:
    for name, task in tasks.items():
        own = [j for j in jobs if j.task == name]
        done = sum(j.path(results).exists() for j in own)
        print(f"{name:30} {task.kind:12} {len(task.space):3} parameters  {done} of {len(own)} runs done")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--tasks", default="all")
    parser.add_argument("--groups", help="of tasks, by where they come from; default: every one")
    parser.add_argument("--tasks-folder", type=Path, help="with the files of tasks; default: $GENTUNE_TASKS")
    parser.add_argument(
        "--seeds", type=int, help=f"of each method on a task; default {SEEDS}, of slow ones {SLOW_SEEDS}"
    )
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "proposals")
    parser.add_argument("--catalogue", default="catalogue", help="module on the Python path with TASKS")
    parser.add_argument("--list", action="store_true", help="show tasks and what is done")
    parser.add_argument("--report", action="store_true", help="show what the results say; run nothing")
    parser.add_argument("--ours", help="with --report: the method that is compared; default: gentune")
    parser.add_argument("--json", type=Path, help="with --report: write the figures there, too")
    parser.add_argument("--page", action="store_true", help="with --report: write docs/benchmarks.md, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
