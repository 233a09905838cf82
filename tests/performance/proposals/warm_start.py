"""Trials that earlier studies save, and what useless ones cost; one JSON file a run, done runs are not done again.

    python tests/performance/proposals/warm_start.py --seeds 10 --workers 2
    python tests/performance/proposals/warm_start.py --report

Every task (`relatives`) is solved from nothing, after three related studies and after three unrelated ones on the same
space; earlier studies are runs of 40 trials from nothing.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import methods  # noqa: E402 - after the threads are set
import numpy as np  # noqa: E402
import pool  # noqa: E402
import store  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from relatives import CASES, TASKS, normalised_regret  # noqa: E402
from scores import DRAWS, Interval, interval  # noqa: E402

from gentune.search_spaces.space import Parameter, Setting  # noqa: E402

ROOT = Path(__file__).parents[3]
SEEDS, TRIALS, EARLIER_TRIALS = 10, 50, 40
GOAL = 30  # the trial whose mean regret from nothing is to be reached
_EARLIER_SEEDS = 3  # earlier studies there are of each task; they are the same for every third seed

Start = Literal["nothing", "relatives", "strangers"]
STARTS: tuple[Start, ...] = ("nothing", "relatives", "strangers")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """One start, over the runs that both it and the start from nothing have; means over tasks of means over seeds.

    area: mean normalised regret over trials 10 to the last. reached: the first trial at which the mean regret is at
    most that from nothing after `GOAL` trials; one more than there are trials where none is. Intervals: 95%, seeds
    resampled in pairs within tasks.
    """

    start: str
    runs: int
    area: float
    cold_area: float
    ratio_interval: Interval
    reached: int
    reached_interval: Interval
    families: dict[str, tuple[float, int]]  # ratio of areas, and `reached`, of each family of tasks by itself


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    names = list(CASES) if options.tasks == "all" else options.tasks.split(",")
    unknown = [n for n in names if n not in CASES]
    if unknown:
        print(f"warm_start.py: no task {unknown[0]!r}; known: {', '.join(CASES)}", file=sys.stderr)
        return 2
    if options.report:
        found = collect(names, options.seeds, options.trials, options.results)
        print(text(found))
        version = store.version("gentune")
        content = {"version": version, "trials": options.trials, "found": [asdict(f) for f in found]}
        store.write(options.results / "warm_start.json", content)
        return 0
    work = functools.partial(pool.work, results=options.results, workers=options.workers)
    earlier = {_earlier(other, seed) for n in names for seed in range(options.seeds) for other in _others(n)}
    return work(sorted(earlier, key=lambda j: (j.seed, j.task)), _do) or work(
        [_job(n, start, seed, options.trials) for seed in range(options.seeds) for n in names for start in STARTS],
        functools.partial(_do, results_for_earlier=options.results),
    )


def collect(names: Sequence[str], seeds: int, trials: int, results: Path) -> list[Found]:
    """Both warm starts against the start from nothing."""
    regrets: dict[Start, dict[str, dict[int, Floats]]] = {start: {} for start in STARTS}
    for start in STARTS:
        for name in names:
            for seed in range(seeds):
                result = store.read(_job(name, start, seed, trials).path(results))
                if result is not None:
                    curve = np.array([normalised_regret(name, truth) for truth in result["truths"]])
                    regrets[start].setdefault(name, {})[seed] = curve
    return [_compare(start, regrets[start], regrets["nothing"]) for start in STARTS[1:] if regrets[start]]


def _compare(start: Start, warm: Mapping[str, Mapping[int, Floats]], cold: Mapping[str, Mapping[int, Floats]]) -> Found:
    pairs = {}  # by task (2, seeds, trials)
    for name in warm:
        seeds = sorted(set(warm[name]) & set(cold.get(name, {})))
        if seeds:
            pairs[name] = np.array([[warm[name][s] for s in seeds], [cold[name][s] for s in seeds]])
    means = _means(pairs)
    rng = np.random.default_rng(0)
    drawn = [
        _means({n: p[:, rng.integers(0, p.shape[1], p.shape[1])] for n, p in pairs.items()}) for _ in range(DRAWS // 5)
    ]
    families: dict[str, dict[str, Floats]] = {}
    for name, pair in pairs.items():
        families.setdefault(name.split("_")[0], {})[name] = pair
    return Found(
        start=start,
        runs=sum(p.shape[1] for p in pairs.values()),
        area=_area(means[0]),
        cold_area=_area(means[1]),
        ratio_interval=interval(np.array([_area(m[0]) / _area(m[1]) for m in drawn])),
        reached=reached(means),
        reached_interval=interval(np.array([reached(m) for m in drawn], dtype=float)),
        families={
            family: (_area(m[0]) / _area(m[1]), reached(m))
            for family, m in ((f, _means(p)) for f, p in families.items())
        },
    )


def _means(pairs: Mapping[str, Floats]) -> Floats:
    """Mean curves (2, trials), warm and cold, over tasks of means over seeds."""
    return np.asarray(np.mean([p.mean(axis=1) for p in pairs.values()], axis=0))


def _area(curve: Floats) -> float:
    return float(curve[methods.FIRST_NAMED - 1 :].mean())


def reached(means: Floats) -> int:
    """The first trial, counted from 1, at which the warm curve of (2, trials) is at most the cold one after `GOAL`."""
    low = means[0] <= means[1, min(GOAL, means.shape[1]) - 1]
    return int(np.argmax(low)) + 1 if low.any() else len(low) + 1


def text(found: Sequence[Found]) -> str:
    lines = [f"{'after':10} {'runs':>5} {'area':>7} {'cold':>7} {'ratio, 95%':>22} {'reached, 95%':>16}  saved"]
    for f in found:
        r, t = f.ratio_interval, f.reached_interval
        lines.append(
            f"{f.start:10} {f.runs:5d} {f.area:7.4f} {f.cold_area:7.4f} "
            f"{f'{f.area / f.cold_area:.3f} [{r.low:.3f}, {r.high:.3f}]':>22} "
            f"{f'{f.reached} [{t.low:.0f}, {t.high:.0f}]':>16}  {1 - f.reached / GOAL:.0%}"
        )
        lines += [f"    {name:14} ratio {ratio:.3f}, reached at {at}" for name, (ratio, at) in f.families.items()]
    lines.append(f"reached: the trial at which the mean regret is that from nothing after {GOAL} trials")
    return "\n".join(lines)


def _others(name: str) -> tuple[str, ...]:
    return CASES[name].relatives + CASES[name].strangers


def _job(name: str, start: Start, seed: int, trials: int) -> store.Job:
    return store.job("gentune", f"{name}_after_{start}", seed, trials)


def _earlier(name: str, seed: int) -> store.Job:
    """The run that a task's trials of this seed find when they begin; its own seed is none of theirs."""
    return store.job("gentune", f"{name}_after_nothing", 1000 + seed % _EARLIER_SEEDS, EARLIER_TRIALS)


def _do(job: store.Job, results_for_earlier: Path | None = None) -> dict[str, Any]:
    """One run, in a worker."""
    from gentune import BayesianSampler

    name, _, start = job.task.partition("_after_")
    studies = []
    if start != "nothing":
        assert results_for_earlier is not None
        others = CASES[name].relatives if start == "relatives" else CASES[name].strangers
        studies = [_study(other, store.read(_earlier(other, job.seed).path(results_for_earlier))) for other in others]
    method = methods.OptunaMethod(BayesianSampler(seed=job.seed, warm_start=studies), TASKS[name].space)
    settings: list[Setting] = []
    values: list[float] = []
    truths = []
    for k in range(job.trials):
        settings.append(dict(method.ask()))
        values.append(TASKS[name].truth(settings[-1]))
        method.tell(values[-1])
        # Nothing fails here and nothing is noisy: before a method is asked, its best is the lowest.
        named = method.name() if k + 1 >= methods.FIRST_NAMED else None
        truths.append(min(values) if named is None else values[named])
    return {"settings": settings, "values": values, "truths": truths}


def _study(name: str, result: Mapping[str, Any] | None) -> Any:
    """A stored run as an Optuna study."""
    import optuna

    assert result is not None, "earlier studies are run first"
    distributions = {p.name: _distribution(p) for p in TASKS[name].space}
    study = optuna.create_study()
    for setting, value in zip(result["settings"], result["values"], strict=True):
        own = {parameter: distributions[parameter] for parameter in setting}
        study.add_trial(optuna.trial.create_trial(params=setting, distributions=own, value=value))
    return study


def _distribution(p: Parameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if p.kind == "categorical":
        return CategoricalDistribution(p.choices)
    assert p.low is not None and p.high is not None
    if p.kind == "int":
        return IntDistribution(int(p.low), int(p.high), log=p.log, step=int(p.step or 1))
    return FloatDistribution(p.low, p.high, log=p.log, step=p.step)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="all", help=f"some of {', '.join(CASES)}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "proposals")
    parser.add_argument("--report", action="store_true", help="show what the results say; run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
