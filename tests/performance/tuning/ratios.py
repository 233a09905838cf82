"""What the runs of the tuning benchmark say, and their section in docs/benchmarks.md.

A run's figure is the log of the chosen setting's mean test score over the default's. Means are taken over the repeats
of a pair and then over pairs; intervals resample repeats within pairs, and for *other pairs* the pairs as well.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import page
import scores
import store
from scipy import stats

from gentune.reports.inference import holm

NAMES = {
    "ours": "Gentune, one speed",
    "two_speeds": "Gentune, two speeds",
    "random": "random search",
    "tpe": "Optuna's TPESampler",
    "gp": "Optuna's GPSampler",
    "priorband": "PriorBand",
}


@dataclass
class Table:
    """Runs from one kind of default. ratios: by method and budget, then by pair and seed, the log of tuned/default."""

    defaults: str
    ratios: dict[tuple[str, int], dict[str, dict[int, float]]] = field(default_factory=dict)

    def worse(self, method: str, trainings: int) -> dict[str, float]:
        """Holm's p-values, by pair, against tuning that does not make it worse: one-sided t-tests over repeats."""
        by_pair = self.ratios[method, trainings]
        found = [_p_worse(list(seeds.values())) for seeds in by_pair.values()]
        return dict(zip(by_pair, holm(found), strict=True))


@dataclass
class Report:
    """trainings: the budget of the tables; others are of the curve."""

    tables: list[Table]
    trainings: int

    def lines(self) -> Iterable[str]:
        """The section's lines."""
        for table in self.tables:
            yield from ("", f"### From {table.defaults} defaults", "")
            yield "| method | runs | tuned/default | other pairs | ours over it | other pairs | left the default |"
            yield "|---|---:|---|---|---|---|---:|"
            ours = table.ratios.get(("ours", self.trainings))
            for (method, trainings), ratios in table.ratios.items():
                if trainings == self.trainings:
                    yield _row(NAMES[method], ratios, None if ratios is ours else ours)
            curve = {t: r for (m, t), r in table.ratios.items() if m == "ours"}
            if len(curve) > 1:
                yield from ("", "| trainings, ours | runs | tuned/default | other pairs |", "|---:|---:|---|---|")
                for trainings in sorted(curve):
                    here, elsewhere = _own(curve[trainings])
                    yield f"| {trainings} | {_count(curve[trainings])} | {here} | {elsewhere} |"
            if ours:
                yield from ("", *_pairs(table, self.trainings))


def report(runs: Mapping[store.Job, Mapping[str, Any]]) -> Report:
    """The figures of finished runs; `runs` by their jobs."""
    tables: dict[str, Table] = {}
    worst = _worst(runs)
    for job, run in runs.items():
        pair, _, defaults = job.task.partition("@")
        table = tables.setdefault(defaults, Table(defaults))
        ratio = log_ratio(run, worst[pair])
        table.ratios.setdefault((job.method, job.trials), {}).setdefault(pair, {})[job.seed] = ratio
    budgets = [job.trials for job in runs]
    return Report(list(tables.values()), max(set(budgets), key=budgets.count) if budgets else 0)


def log_ratio(run: Mapping[str, Any], worst: float) -> float:
    """The log of the chosen setting's mean test score over the default's; a final that failed counts as the worst score
    that any final of the pair has."""
    test, default = ([worst if v is None else v for v in run[key]] or [worst] for key in ("test", "default"))
    return math.log(float(np.mean(test)) / float(np.mean(default)))


def _worst(runs: Mapping[store.Job, Mapping[str, Any]]) -> dict[str, float]:
    """By pair the worst score of a final; 1 where all of them failed, so that their ratios are 1."""
    worst: dict[str, float] = {}
    for job, run in runs.items():
        pair = job.task.partition("@")[0]
        known = [v for v in (*run["test"], *run["default"]) if v is not None]
        worst[pair] = max([worst.get(pair, 0.0), *known])
    return {pair: value or 1.0 for pair, value in worst.items()}


def _p_worse(ratios: Sequence[float]) -> float:
    """Against a mean log ratio of at most 0; 1 where one repeat tells nothing of the others."""
    if len(ratios) < 2 or np.ptp(ratios) == 0:
        return 1.0
    return float(stats.ttest_1samp(ratios, 0.0, alternative="greater").pvalue)


def _row(name: str, ratios: Mapping[str, Mapping[int, float]], ours: Mapping[str, Mapping[int, float]] | None) -> str:
    here, elsewhere = _own(ratios)
    paired = ("", "") if ours is None else _over(ours, ratios)
    left = sum(ratio != 0.0 for seeds in ratios.values() for ratio in seeds.values())
    runs = _count(ratios)
    return f"| {name} | {runs} | {here} | {elsewhere} | {paired[0]} | {paired[1]} | {left} of {runs} |"


def _pairs(table: Table, trainings: int) -> Iterable[str]:
    """Ours, pair by pair."""
    yield "| pair, ours | repeats | tuned/default | worse: p, Holm |"
    yield "|---|---:|---|---:|"
    chances = table.worse("ours", trainings)
    for pair, seeds in table.ratios["ours", trainings].items():
        here, _ = _own({pair: seeds})
        yield f"| {pair} | {len(seeds)} | {here} | {chances[pair]:.2f} |"


def _own(ratios: Mapping[str, Mapping[int, float]]) -> tuple[str, str]:
    """The mean ratio with its interval, and the interval for other pairs."""
    return _over(ratios, {pair: dict.fromkeys(seeds, 0.0) for pair, seeds in ratios.items()})


def _over(ours: Mapping[str, Mapping[int, float]], theirs: Mapping[str, Mapping[int, float]]) -> tuple[str, str]:
    """The ratio of two methods' ratios over the runs that both have."""
    found = scores.compare({p: dict(s) for p, s in ours.items()}, {p: dict(s) for p, s in theirs.items()})
    if found is None:
        return "–", "–"
    return f"{math.exp(found.difference):.3f} {_bounds(found.difference_interval)}", _bounds(found.difference_elsewhere)


def _bounds(interval: scores.Interval) -> str:
    return f"[{math.exp(interval.low):.3f}, {math.exp(interval.high):.3f}]"


def _count(ratios: Mapping[str, Mapping[int, float]]) -> int:
    return sum(len(seeds) for seeds in ratios.values())


def write_page(found: Report, path: Path = page.PAGE) -> None:
    """Puts the section in its place."""
    head = [
        "## The value of tuning",
        "",
        f"Test scores of tuned settings over those of defaults, after {found.trainings} trainings' worth each; below 1"
        " tuning pays.",
        f"Python {platform.python_version()}, {page.cpu()}, one thread a run. Made by",
        "",
        "    make bench-tuning",
    ]
    old = path.read_text(encoding="utf-8")
    path.write_text(page.put(old, "\n".join([*head, *found.lines()]), "tuning"), encoding="utf-8")
