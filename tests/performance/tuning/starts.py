"""Rules for the start of a study, compared on surrogate tasks by paired runs of whole studies.

    python tests/performance/tuning/starts.py --seeds 20

A rule is written `key=value:key=value`:

    start    trials before the surrogate is asked, the default among them
    spread   deviation of a normal distribution around the default, a share of each range, from which the start is
             drawn (a choice is another one with twice that probability); 0: the start lies anywhere
    part     1: each trial of such a start changes one or two parameters alone
    far      every so many-th trial of the start lies anywhere; 0: none does
    prior    1: the same distribution weighs on the surrogate's proposals, as a belief that trials overrule
    noise    1: the engine knows how much trainings usually differ

Trials are of equal cost. After 6, 10 and 20 of them (`--budgets`) the study's own rule names candidates, three
retrainings of each choose one, and its true mean over the default's is the ratio shown. Pairs are compared in two
halves: one is for choosing a rule, the other for reporting what it is worth.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "proposals"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import scores
import store
from tuning import collect
from tuning.surrogate_tasks import FINALS_NOISE, SurrogateTask

from gentune.bench.budget.kinds import budget_of
from gentune.bench.budget.operations import Operations
from gentune.bench.driver.choice import choose
from gentune.bench.driver.planning import TuningOptions
from gentune.bench.driver.study import FamilyStudy
from gentune.bench.files import write_atomically
from gentune.bench.proposal import Belief, Key, Observation, propose
from gentune.bench.proposal.beliefs import Beliefs
from gentune.bench.proposal.candidates import sobol
from gentune.bench.runs.records import Record
from gentune.search_spaces import SearchSpace

BUDGETS = (6, 10, 20)
CHOOSING = tuple(collect.PAIRS)[::2]  # the half for choosing a rule
CHOICE_SEEDS = 3


@dataclass(frozen=True)
class Rule:
    """See the module's head."""

    start: int = 5
    spread: float = 0.0
    part: int = 0
    far: int = 0
    prior: int = 0
    noise: int = 0

    def beliefs(self, space: SearchSpace) -> dict[str, Belief]:
        if not self.spread:
            return {}
        other = min(2.0 * self.spread, 0.9)
        return {p.name: Belief(p.default, other if p.kind == "categorical" else self.spread) for p in space}

    def propose(self, task: SurrogateTask, observations: Sequence[Observation], key: Key) -> dict[str, Any]:
        """The setting of trial `key.number`."""
        space, number = task.card.space, key.number
        if number == 0:
            return dict(space.default())
        beliefs = self.beliefs(space)
        near = bool(self.spread) and not (self.far and number % self.far == 0)
        if number < self.start and near:
            return self._near(task, beliefs, key)
        found = propose(
            space,
            observations,
            key=key,
            start=self.start,
            beliefs=beliefs if self.prior and number >= self.start else {},
            usual_noise=[task.noise] if self.noise else (),
        )
        assert found is not None
        return found.setting

    def _near(self, task: SurrogateTask, beliefs: Mapping[str, Belief], key: Key) -> dict[str, Any]:
        encoding, p = task.encoding, len(task.encoding)
        point = Beliefs(encoding, beliefs, 0).shape(sobol(1, p, key.seed % 2**32, skip=key.number - 1))
        if self.part:
            rng = np.random.default_rng([key.seed, key.number])
            moved = rng.permutation(p)[: 1 + int(rng.random() < 0.5)]
            centre = np.nan_to_num(encoding.positions([task.card.space.default()]), nan=0.5)
            centre[:, moved] = point[:, moved]
            point = centre
        return encoding.decode(encoding.snap(point)[0])


def parse_rule(text: str) -> Rule:
    """Raises ValueError for a key or a value that a rule does not have."""
    given: dict[str, Any] = {}
    for part in filter(None, text.split(":")):
        key, _, value = part.partition("=")
        if key not in Rule.__dataclass_fields__:
            raise ValueError(f"rule {text!r}: no key {key!r}; known: {', '.join(Rule.__dataclass_fields__)}")
        given[key] = float(value) if key == "spread" else int(value)
    return Rule(**given)


def run(task: SurrogateTask, rule: Rule, seed: int, budgets: Sequence[int]) -> list[float]:
    """One study: after each budget, the log of the chosen setting's true mean over the default's."""
    records: list[Record] = []
    observations: list[Observation] = []
    for number in range(max(budgets)):
        setting = rule.propose(task, observations, Key(seed, number))
        value = task.measure(setting, _random(task, seed, number))
        values = None if value is None else (value,)
        observations.append(Observation(setting, values, cost=1.0))
        state: Any = "failed" if value is None else "complete"
        records.append(
            Record("trial", task.card.name, number, 0, "validation", state, setting, objectives=values, cost=1.0)
        )
    default = task.truth(task.card.space.default())
    return [task.truth(_chosen(task, rule, records[:budget], seed)) - default for budget in budgets]


def _chosen(task: SurrogateTask, rule: Rule, records: Sequence[Record], seed: int) -> Mapping[str, Any]:
    """The setting that a study with these trials chooses, by its own candidates and `CHOICE_SEEDS` retrainings."""
    options = TuningOptions(budget_of("trainings", float(len(records))), ["lower"], 1, [task.pair.objective])
    study = FamilyStudy(task.card, options, lambda setting: Operations(1.0, 1.0))
    for record in records:
        study.tell(record)
    trials = [candidate.trial for candidate in study.candidates()]
    if not trials:
        return task.card.space.default()
    scores = [
        [
            task.measure(records[trial].params, _random(task, seed, 1000 + 100 * rank + k), FINALS_NOISE)
            for k in range(CHOICE_SEEDS)
        ]
        for rank, trial in enumerate(trials)
    ]
    index = choose(scores, lower=True, log_scale=True, protected=trials[0] == 0)
    return records[trials[index]].params


def _random(task: SurrogateTask, seed: int, number: int) -> np.random.Generator:
    """The noise of a trial depends on the task, the seed and its number alone: runs of two rules are paired."""
    return np.random.default_rng([zlib.crc32(task.pair.name.encode()), seed, number])


def summary(losses: Mapping[str, Sequence[float]], control: Mapping[str, Sequence[float]]) -> str:
    """The ratio tuned/default of runs, by pair and seed, and over that of the control with 95% intervals: for other
    seeds, and for other pairs as well."""
    ours, theirs = ({pair: dict(enumerate(by_seed)) for pair, by_seed in each.items()} for each in (losses, control))
    found = scores.compare(ours, theirs)
    assert found is not None
    intervals = [found.difference_interval, found.difference_elsewhere]
    bounds = "  ".join(f"[{math.exp(i.low):.3f}, {math.exp(i.high):.3f}]" for i in intervals)
    return f"{math.exp(found.ours):.3f}  {math.exp(found.difference):.3f} {bounds}"


@cache
def _task(name: str, results: Path) -> SurrogateTask:
    return SurrogateTask(collect.PAIRS[name], collect.read(results / "tables" / f"{name}.jsonl"))


def runs(rule: str, name: str, seeds: int, budgets: Sequence[int], results: Path) -> np.ndarray:
    """Losses (seeds, budgets) of a rule on a pair; runs of the same engine on the same table are read."""
    version = f"{len(_task(name, results).entries)}@{store.engine_fingerprint()}"
    path = results / "starts" / name / version / f"{rule or 'plain'}-{budgets}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for seed in range(len(known), seeds):
        known.append(run(_task(name, results), parse_rule(rule), seed, budgets))
        write_atomically(path, json.dumps(known) + "\n")
    return np.array(known[:seeds])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", default=["", "spread=0.2", "spread=0.2:part=1", "spread=0.2:far=2"])
    parser.add_argument("--pairs", default=",".join(collect.PAIRS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--results", type=Path, default=collect.RESULTS)
    options = parser.parse_args(arguments)
    names = options.pairs.split(",")
    try:
        for name in names:
            task = _task(name, options.results)
            print(f"{name}: noise {task.noise:.3f}, unexplained {task.error:.2f}", flush=True)
        for rule in options.rules:
            parse_rule(rule)
    except (ValueError, KeyError) as error:
        print(f"starts.py: {error}", file=sys.stderr)
        return 2
    halves = {"chosen on": [n for n in names if n in CHOOSING], "reported on": [n for n in names if n not in CHOOSING]}
    for label, half in halves.items():
        if not half:
            continue
        print(f"\n{label}: {', '.join(half)}\n{'rule':34} trials  ratio  over the first rule's, for other pairs")
        found = {
            r: {n: runs(r, n, options.seeds, options.budgets, options.results) for n in half} for r in options.rules
        }
        for rule, losses in found.items():
            for i, budget in enumerate(options.budgets):
                mine, control = (
                    {n: rows[:, i].tolist() for n, rows in f.items()} for f in (losses, found[options.rules[0]])
                )
                print(f"{rule or 'plain':34} {budget:6d}  {summary(mine, control)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
