"""What cards may say of good values and of noise, learned from tables of real trials (`collect.py`).

    python tests/performance/tuning/learn.py             # what the tables say, as lines for the cards
    python tests/performance/tuning/learn.py --out FILE  # by pair, learned without the pair's data set: for `run.py`

For each data set of a family a regression of its table says which settings of the space are the best tenth. Over all
data sets the central 68% of what these have in a parameter are its likely values; so are the fewest choices that hold
68%. A parameter is passed over where this is more than half of its range, or three quarters of its choices' share: then
the tables say little. The usual noise is the root mean square, over data sets, of the deviation of the log of the
objective between trainings of the default.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from tuning import collect
from tuning.pairs import Pair
from tuning.surrogate_tasks import SurrogateTask

from gentune.bench.files import write_atomically
from gentune.bench.proposal.candidates import sobol
from gentune.bench.proposal.encoding import Encoding, Floats
from gentune.search_spaces import FamilyCard, Parameter, SearchSpace

POINTS = 2048  # of the space, of which the best are looked at
BEST = 0.1
CENTRAL = 0.68
WIDEST = 0.5  # of the range, that likely numbers may take


def best_settings(task: SurrogateTask) -> Floats:
    """Positions (n, p) of the best of evenly spread points, by the task's truth."""
    encoding = task.encoding
    spread = encoding.snap(sobol(POINTS, len(encoding), 0))
    worth = task.truths([encoding.decode(row) for row in spread])
    return spread[np.argsort(worth, kind="stable")[: round(POINTS * BEST)]]


def likely(space: SearchSpace, good: Sequence[Floats]) -> dict[str, list[Any]]:
    """The likely values of parameters, of the good positions (n, p) on each data set; only what tells something."""
    encoding, rows = Encoding(space), np.concatenate(good)
    found: dict[str, list[Any]] = {}
    for j, parameter in enumerate(space):
        column = rows[:, j][~np.isnan(rows[:, j])]
        if not len(column):
            continue
        values = _choices(parameter, column) if parameter.kind == "categorical" else _range(encoding, parameter, column)
        if values:
            found[parameter.name] = values
    return found


def _range(encoding: Encoding, parameter: Parameter, column: Floats) -> list[Any]:
    low, high = np.quantile(column, [(1 - CENTRAL) / 2, (1 + CENTRAL) / 2])
    if high - low > WIDEST:
        return []
    alone = Encoding(SearchSpace((replace(parameter, when={}),)))
    ends = [alone.decode(np.array([end]))[parameter.name] for end in (low, high)]
    return [_rounded(end) for end in ends] if ends[0] != ends[1] else []


def _choices(parameter: Parameter, column: Floats) -> list[Any]:
    k = len(parameter.choices)
    shares = np.bincount(np.minimum((column * k).astype(int), k - 1), minlength=k) / len(column)
    order = np.argsort(-shares, kind="stable")
    count = int(np.searchsorted(np.cumsum(shares[order]), CENTRAL)) + 1
    # As many choices would hold `count / k` of what is spread evenly.
    return [parameter.choices[i] for i in order[:count]] if count / k <= WIDEST else []


def _rounded(value: Any) -> Any:
    return value if isinstance(value, int) else float(f"{value:.2g}")


def with_likely(card: FamilyCard, learned: Mapping[str, Any]) -> FamilyCard:
    """The card with other expectations: {"likely": {parameter: values}, "noise": {metric: deviation}}."""
    stated = learned["likely"]
    space = SearchSpace(tuple(replace(p, likely=tuple(stated.get(p.name, ()))) for p in card.space))
    return replace(card, space=space, noise=learned["noise"])


def learn(tasks: Sequence[SurrogateTask]) -> dict[str, Any]:
    """What the tables of one family say together."""
    noise: dict[str, list[float]] = {}
    for task in tasks:
        noise.setdefault(task.pair.objective, []).append(task.noise)
    return {
        "likely": likely(tasks[0].card.space, [best_settings(task) for task in tasks]),
        "noise": {name: _rounded(math.sqrt(float(np.mean(np.square(found))))) for name, found in noise.items()},
    }


def tasks_of(results: Path) -> dict[str, list[SurrogateTask]]:
    """The tables that have been collected, by family; one that is too short is passed over with a message."""
    found: dict[str, list[SurrogateTask]] = {}
    for pair in collect.PAIRS.values():
        entries = collect.read(results / "tables" / f"{pair.name}.jsonl")
        try:
            task = SurrogateTask(pair, entries)
        except ValueError as error:
            print(f"passed over: {error}", file=sys.stderr)
            continue
        found.setdefault(pair.family, []).append(task)
    return found


def without_own_data(tasks: Mapping[str, Sequence[SurrogateTask]]) -> dict[str, Any]:
    """By pair, what the family's tables on other data sets say; pairs without any are left out."""
    pairs: list[Pair] = [task.pair for family in tasks.values() for task in family]
    found = {}
    for pair in pairs:
        others = [task for task in tasks[pair.family] if task.pair.data != pair.data]
        if others:
            found[pair.name] = learn(others)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=collect.RESULTS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    tasks = tasks_of(options.results)
    if options.out:
        write_atomically(options.out, json.dumps(without_own_data(tasks), indent=1) + "\n")
        return 0
    for family, own in tasks.items():
        found = learn(own)
        print(f"{family}, from {', '.join(task.pair.data for task in own)}")
        for name, value in found["noise"].items():
            print(f"  [family.noise] {name} = {value}")
        for name, values in found["likely"].items():
            print(f"  {name}: likely = {json.dumps(values)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
