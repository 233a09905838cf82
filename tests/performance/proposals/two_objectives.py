"""Hypervolume after 40 trials on standard two-objective problems, one JSON file a run; done runs are not done again.

python tests/performance/proposals/two_objectives.py --seeds 20 --workers 2
python tests/performance/proposals/two_objectives.py --report
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import methods  # noqa: E402 - after the threads are set
import numpy as np  # noqa: E402
import pool  # noqa: E402
import store  # noqa: E402
from scores import Interval, bootstrap, interval  # noqa: E402

from gentune.search_spaces.space import Parameter, SearchSpace, Setting  # noqa: E402

ROOT = Path(__file__).parents[3]
SEEDS, TRIALS = 20, 40
METHODS = "tpe,gp,gentune"


@dataclass(frozen=True)
class Problem:
    """Two objectives to be minimised. reference: the fixed point (2,) up to which the hypervolume is measured."""

    space: SearchSpace
    measure: Callable[[Setting], tuple[float, float]]
    reference: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """Mean hypervolumes of one problem, ours and a rival's, over the same seeds, with the 95% interval of the
    difference (seeds resampled in pairs)."""

    problem: str
    rival: str
    runs: int
    ours: float
    theirs: float
    interval: Interval

    @property
    def at_or_above(self) -> bool:
        """Whether the data do not speak against ours being at least as good."""
        return self.interval.high >= 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    specs = [spec for spec in options.methods.split(",") if spec]
    names = list(PROBLEMS) if options.problems == "all" else options.problems.split(",")
    unknown = [n for n in names if n not in PROBLEMS]
    if unknown:
        print(f"two_objectives.py: no problem {unknown[0]!r}; known: {', '.join(PROBLEMS)}", file=sys.stderr)
        return 2
    try:
        jobs = [
            store.job(spec, problem, seed, options.trials)
            for seed in range(options.seeds)
            for problem in names
            for spec in specs
        ]
    except ValueError as error:
        print(f"two_objectives.py: {error}", file=sys.stderr)
        return 2
    if not options.report:
        return pool.work(jobs, _do, options.results, options.workers)
    ours = options.ours or next((s for s in specs if s.startswith("gentune")), specs[0])
    outcomes = collect(jobs, options.results, ours)
    print(text(outcomes, ours))
    version = next(j.version for j in jobs if j.label == ours)
    found = {"ours": ours, "version": version, "trials": options.trials, "outcomes": [asdict(o) for o in outcomes]}
    store.write(options.results / "two_objectives.json", found)
    return 0


def collect(jobs: Sequence[store.Job], results: Path, ours: str) -> list[Outcome]:
    """Every problem against every rival, over the seeds that both have."""
    volumes: dict[tuple[str, str], dict[int, float]] = {}
    for job in jobs:
        result = store.read(job.path(results))
        if result is not None:
            volumes.setdefault((job.task, job.label), {})[job.seed] = result["hypervolume"]
    outcomes = []
    for (problem, rival), theirs in volumes.items():
        mine = volumes.get((problem, ours), {})
        seeds = sorted(set(mine) & set(theirs))
        if rival != ours and seeds:
            pairs = np.array([(mine[s], theirs[s]) for s in seeds])
            draws = bootstrap([pairs], tasks=False)
            a, b = pairs.mean(axis=0)
            outcomes.append(
                Outcome(problem, rival, len(seeds), float(a), float(b), interval(draws[:, 0] - draws[:, 1]))
            )
    return outcomes


def text(outcomes: Sequence[Outcome], ours: str) -> str:
    lines = [f"mean hypervolume, higher is better; ours: {ours}", ""]
    lines.append(f"{'problem':18} {'against':20} {'runs':>4} {'ours':>9} {'rival':>9}  difference, 95%")
    for o in outcomes:
        verdict = "above" if o.interval.low > 0 else "level" if o.at_or_above else "BELOW"
        lines.append(
            f"{o.problem:18} {o.rival:20} {o.runs:4d} {o.ours:9.4g} {o.theirs:9.4g}  "
            f"{o.ours - o.theirs:+.4g} [{o.interval.low:+.4g}, {o.interval.high:+.4g}]  {verdict}"
        )
    for rival in dict.fromkeys(o.rival for o in outcomes):
        own = [o for o in outcomes if o.rival == rival]
        lines.append(f"at or above {rival} on {sum(o.at_or_above for o in own)} of {len(own)} problems")
    return "\n".join(lines)


def _do(job: store.Job) -> dict[str, Any]:
    import optuna

    problem = PROBLEMS[job.task]
    sampler = methods.sampler(*methods.split(job.method), job.seed)
    study = optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])
    settings, values, asks = [], [], []
    for _ in range(job.trials):
        began = time.perf_counter()
        trial = study.ask()
        setting = methods.suggest(trial, problem.space)
        asks.append(time.perf_counter() - began)
        measured = problem.measure(setting)
        study.tell(trial, measured)
        settings.append(setting)
        values.append(measured)
    return {
        "hypervolume": hypervolume(np.array(values), np.array(problem.reference)),
        "settings": settings,
        "values": values,
        "ask_seconds": asks,
    }


def hypervolume(values: np.ndarray, reference: np.ndarray) -> float:
    """The area between minimised points (n, 2) and a reference point (2,); points beyond it add nothing."""
    area, height = 0.0, float(reference[1])
    for first, second in sorted(values[(values < reference).all(axis=1)].tolist()):
        if second < height:
            area += (float(reference[0]) - first) * (height - second)
            height = second
    return area


def _function(name: str, **keywords: Any) -> Callable[[Sequence[float]], tuple[float, float]]:
    """A two-objective test function of botorch on the unit cube, minimised."""

    def evaluate(point: Sequence[float]) -> tuple[float, float]:
        import torch
        from botorch.test_functions import multi_objective

        function = getattr(multi_objective, name)(**keywords)
        first, second = function(torch.tensor([list(point)], dtype=torch.float64))[0].tolist()
        return first, second

    return evaluate


def _cube(name: str, inputs: int, reference: tuple[float, float], **keywords: Any) -> Problem:
    function = _function(name, **keywords)
    space = SearchSpace(tuple(Parameter(f"x{i}", "float", 0.5, low=0.0, high=1.0) for i in range(inputs)))
    return Problem(space, lambda s: function([float(s[f"x{i}"]) for i in range(inputs)]), reference)  # type: ignore[arg-type]


def _mixed_dtlz2() -> Problem:
    """DTLZ2 in six dimensions, of which two are integers and one a choice in no order."""
    function = _function("DTLZ2", dim=6)
    levels = {"a": 0.75, "b": 0.0, "c": 0.5, "d": 1.0, "e": 0.25}
    parameters = [Parameter(f"x{i}", "float", 0.5, low=0.0, high=1.0) for i in (0, 1, 2)]
    parameters += [Parameter(f"n{i}", "int", 8, low=0, high=8) for i in (0, 1)]
    parameters.append(Parameter("kind", "categorical", "a", choices=tuple(levels)))

    def measure(s: Setting) -> tuple[float, float]:
        numbers: dict[str, Any] = dict(s)
        return function(
            [*(numbers[f"x{i}"] for i in (0, 1, 2)), *(numbers[f"n{i}"] / 8 for i in (0, 1)), levels[numbers["kind"]]]
        )

    return Problem(SearchSpace(tuple(parameters)), measure, (2.5, 2.5))


def _four_bar_truss() -> Problem:
    """Volume (cm³) and joint displacement (cm) of a four-bar truss: RE2-4-1 of Tanabe and Ishibuchi (2020),
    doi:10.1016/j.asoc.2020.106078."""
    force, modulus, length = 10.0, 2e5, 200.0
    root = 2**0.5
    lows = (1.0, root, root, 1.0)
    space = SearchSpace(tuple(Parameter(f"a{i}", "float", 2.0, low=low, high=3.0) for i, low in enumerate(lows)))

    def measure(s: Setting) -> tuple[float, float]:
        a, b, c, d = (float(s[f"a{i}"]) for i in range(4))  # type: ignore[arg-type]
        volume = length * (2 * a + root * b + c**0.5 + d)
        return volume, force * length / modulus * (2 / a + 2 * root / b - 2 * root / c + 2 / d)

    return Problem(space, measure, (3000.0, 0.06))


PROBLEMS = {
    "branin_currin": _cube("BraninCurrin", 2, (18.0, 6.0)),
    "zdt1": _cube("ZDT1", 6, (11.0, 11.0), dim=6),
    "zdt2": _cube("ZDT2", 6, (11.0, 11.0), dim=6),
    "zdt3": _cube("ZDT3", 6, (11.0, 11.0), dim=6),
    "dtlz2": _cube("DTLZ2", 6, (1.1, 1.1), dim=6),
    "four_bar_truss": _four_bar_truss(),
    "dtlz2_mixed": _mixed_dtlz2(),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--problems", default="all", help=f"some of {', '.join(PROBLEMS)}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "proposals")
    parser.add_argument("--report", action="store_true", help="show what the results say; run nothing")
    parser.add_argument("--ours", help="with --report: the method that is compared; default: the first gentune")
    return parser


if __name__ == "__main__":
    sys.exit(main())
