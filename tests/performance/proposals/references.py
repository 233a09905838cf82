"""The two values that regrets are normalised by, for each task: the best known and that of a median random setting.

    python tests/performance/proposals/references.py [TASK...] [--again]

Writes references.json next to itself, task by task, and passes over tasks that are in it unless told `--again`.
best: known by construction, the least of a whole table, or else the least true value of a long search: random
settings, then differential evolution over the unit cube, then small steps around the best.
median: over random settings that do not fail. Tasks that train models get fewer settings for both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from functools import cache
from pathlib import Path
from typing import TypedDict

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are set
from catalogue import LEARNERS, TASKS, known_best  # noqa: E402
from scipy.optimize import differential_evolution  # noqa: E402
from spaces import draw, every_setting, setting_at  # noqa: E402
from task import FailedTrial, Task  # noqa: E402

FILE = Path(__file__).parent / "references.json"


class Reference(TypedDict):
    """best, median: true values. failed: the share of random settings that fail. how: where `best` comes from."""

    best: float
    median: float
    failed: float
    how: str


@cache
def references() -> dict[str, Reference]:
    """What references.json holds."""
    if not FILE.exists():
        return {}
    loaded: dict[str, Reference] = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


def normalised_regret(task: Task | str, value: float) -> float:
    """0 at the best known true value, 1 at that of a median random setting. Raises KeyError without a reference."""
    name = task if isinstance(task, str) else task.name
    if name not in references():
        raise KeyError(f"task {name!r} has no reference; run tests/performance/proposals/references.py {name}")
    reference = references()[name]
    return (value - reference["best"]) / (reference["median"] - reference["best"])


def truth_or_infinity(task: Task, point: np.ndarray) -> float:
    """The true value at a point of the unit cube (p,); infinite where it fails."""
    try:
        return task.truth(setting_at(task.space, point))
    except FailedTrial:
        return math.inf


def measure_reference(task: Task) -> Reference:
    """Random settings for the median, and a search for the best."""
    generator = np.random.default_rng(1)
    slow = task.name in LEARNERS
    count = 200 if slow else 1000
    values: list[float] = []
    failed = 0
    while len(values) < count:
        try:
            values.append(task.truth(draw(task.space, generator)))
        except FailedTrial:
            failed += 1
    best, how = _best(task, slow)
    return {
        "best": min([best, *values]),
        "median": float(np.median(values)),
        "failed": failed / (failed + count),
        "how": how,
    }


def _best(task: Task, slow: bool) -> tuple[float, str]:
    known = known_best(task.name)
    if known is not None:
        return known, "known"
    if all(p.kind != "float" and not p.when for p in task.space):
        return min(task.truth(setting) for setting in every_setting(task.space)), "exhaustive"
    generator = np.random.default_rng(2)
    points = generator.random((150 if slow else 20_000, len(task.space)))
    values = np.array([truth_or_infinity(task, point) for point in points])
    order = np.argsort(values)
    # The best random settings take part in the evolution.
    crowd = points[order[: 20 if slow else 100]]
    evolved = differential_evolution(
        lambda point: min(truth_or_infinity(task, point), 1e300),
        [(0.0, 1.0)] * len(task.space),
        init=crowd,
        maxiter=7 if slow else 300,
        seed=3,
        polish=False,
        tol=0.0,
    )
    best, at = min((float(evolved.fun), tuple(evolved.x)), (float(values[order[0]]), tuple(points[order[0]])))
    for step in np.repeat(np.logspace(-1, -2 if slow else -6, 4 if slow else 21), 20 if slow else 200):
        moved = np.asarray(at) + step * generator.standard_normal(len(at)) * (generator.random(len(at)) < 0.5)
        moved = np.clip(moved, 0.0, 1.0)
        value = truth_or_infinity(task, moved)
        if value < best:
            best, at = value, tuple(moved)
    return best, "search"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="all of them unless named")
    parser.add_argument("--again", action="store_true", help="measure also what references.json holds")
    options = parser.parse_args()
    unknown = [name for name in options.tasks if name not in TASKS]
    if unknown:
        parser.error(f"no task {unknown[0]!r}; known: {', '.join(TASKS)}")
    done = dict(references())
    for name in options.tasks or TASKS:
        if name in done and not options.again:
            continue
        done[name] = measure_reference(TASKS[name])
        ordered = {known: done[known] for known in TASKS if known in done}
        FILE.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
        print(name, " ".join(f"{key} {value}" for key, value in done[name].items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
