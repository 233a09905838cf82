"""Which variant of the engine to take, judged where it had no say: leave-one-group-out over stored runs.

    python tests/performance/proposals/choose.py --variants gentune,gentune:without=level --rivals tpe,gp,gp_5 --seeds 4

For every group of tasks the variant is chosen that has the lowest area on the other groups, and its figure on the group
that was left out is what counts. Next to it stands what choosing on all groups at once would claim. Runs are made by
`run.py`; only tasks and seeds that all variants have run count, against a rival those that it has run, too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import report
import run
import store
from scores import (
    DRAWS,
    SCORINGS,
    Floats,
    Groups,
    Interval,
    Scores,
    area,
    arranged,
    bootstrap_groups,
    interval,
    regrets,
)


@dataclass(frozen=True)
class Figure:
    """Ours over a rival's area. interval: 95%, tasks resampled within groups, then seeds."""

    runs: int
    ours: float
    rival: float
    ratio: float
    interval: Interval


@dataclass(frozen=True)
class LeftOut:
    """One group that had no say. chosen: the variant that is best on the others; areas: of every variant on the group;
    often: in which share of resamplings each variant is the one that the others choose; against: by rival."""

    chosen: str
    tasks: int
    areas: dict[str, float]
    often: dict[str, float]
    against: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """groups: each left out in turn. overall: the chosen variants' figures together, the choice made again in every
    resampling. tuned: those of `best`, the variant that is chosen on all groups, on these same groups."""

    variants: list[str]
    scoring: str
    seeds: int
    best: str
    groups: dict[str, LeftOut]
    overall: dict[str, Figure]
    tuned: dict[str, Figure]


def choose(
    scores: Mapping[str, Scores],
    variants: Sequence[str],
    rivals: Sequence[str],
    groups: Groups,
    scoring: str = "named",
) -> Choice:
    """Leave-one-group-out over areas, method -> task -> seed -> area. scoring: what the areas are by.

    Raises ValueError for fewer than two groups in which all variants have run.
    """
    own = _common(scores, variants, groups)
    if len(own) < 2:
        raise ValueError(f"all variants have run in {len(own)} groups; wanted 2 at least")
    means, draws = _means(own), _draws(own)
    chosen, drawn = left_out_choice(means), left_out_choice(draws)
    figures: dict[str, Figure] = {}
    tuned: dict[str, Figure] = {}
    against: dict[str, dict[str, Figure]] = {group: {} for group in own}
    best = int(np.argmin(means.mean(axis=0)))
    for rival in rivals:
        paired = _common(scores, [*variants, rival], groups)
        if len(paired) < 2:
            continue
        point, resampled = _means(paired), _draws(paired)
        picks = left_out_choice(point[:, :-1])
        # Which variant others choose is part of what is uncertain overall; of one group the choice stands.
        overall = _taken(resampled, left_out_choice(resampled[:, :, :-1]))
        figures[rival] = _figure(paired, _taken(point, picks), point[:, -1], overall, resampled[:, :, -1])
        tuned[rival] = _figure(paired, point[:, best], point[:, -1], resampled[:, :, best], resampled[:, :, -1])
        for i, (group, tasks) in enumerate(paired.items()):
            pick = int(chosen[list(own).index(group)])
            mine, theirs = resampled[i : i + 1, :, pick], resampled[i : i + 1, :, -1]
            one = _figure({group: tasks}, point[i : i + 1, pick], point[i : i + 1, -1], mine, theirs)
            against[group][rival] = one
    left = {
        group: LeftOut(
            variants[int(chosen[i])],
            len(tasks),
            dict(zip(variants, means[i].tolist(), strict=True)),
            {v: float(np.mean(drawn[i] == j)) for j, v in enumerate(variants)},
            against[group],
        )
        for i, (group, tasks) in enumerate(own.items())
    }
    seeds = min(len(pairs) for tasks in own.values() for pairs in tasks)
    return Choice(list(variants), scoring, seeds, variants[best], left, figures, tuned)


def left_out_choice(means: Floats) -> Any:
    """For each group (groups, …) the index of the variant with the lowest mean over the other groups.

    means: (groups, …, variants), as they are or by resampling.
    """
    others = means.sum(axis=0, keepdims=True) - means
    return np.argmin(others, axis=-1)


def _common(scores: Mapping[str, Scores], methods: Sequence[str], groups: Groups) -> dict[str, list[Floats]]:
    """By group the areas (seeds, methods) of each task, of the seeds that all methods have run."""
    found: dict[str, Floats] = {}
    for task in {task for tasks in groups.values() for task in tasks}:
        runs = [scores.get(method, {}).get(task, {}) for method in methods]
        seeds = sorted(set.intersection(*(set(r) for r in runs)))
        if seeds:
            found[task] = np.array([[r[seed] for r in runs] for seed in seeds], dtype=float)
    names = [group for group, tasks in groups.items() if any(task in found for task in tasks)]
    return dict(zip(names, arranged(found, groups), strict=True))


def _means(groups: Mapping[str, Sequence[Floats]]) -> Floats:
    """(groups, methods)."""
    return np.array([np.mean([pairs.mean(axis=0) for pairs in tasks], axis=0) for tasks in groups.values()])


def _draws(groups: Mapping[str, Sequence[Floats]]) -> Floats:
    """(groups, draws, methods), tasks resampled within groups, then seeds."""
    return bootstrap_groups(list(groups.values()), tasks=True, draws=DRAWS)


def _taken(means: Floats, chosen: Any) -> Floats:
    """Of each group the mean of the chosen variant: (groups, …) of (groups, …, variants)."""
    taken: Floats = np.take_along_axis(means, chosen[..., None], axis=-1)[..., 0]
    return taken


def _figure(
    groups: Mapping[str, Sequence[Floats]], ours: Floats, rival: Floats, our_draws: Floats, rival_draws: Floats
) -> Figure:
    """Of means (groups,) and their resamplings (groups, draws)."""
    mine, theirs = float(ours.mean()), float(rival.mean())
    runs = sum(len(pairs) for tasks in groups.values() for pairs in tasks)
    return Figure(runs, mine, theirs, mine / theirs, interval(our_draws.mean(axis=0) / rival_draws.mean(axis=0)))


def text(choice: Choice) -> str:
    """The choice for a terminal of 120 columns."""
    lines = [f"leave-one-group-out by {choice.scoring} settings, {choice.seeds} seeds or more; areas, lower is better"]
    width = max(len(v) for v in choice.variants) + 2
    for group, left in choice.groups.items():
        lines += ["", f"{group} ({left.tasks} tasks): the others choose {left.chosen}"]
        for variant in choice.variants:
            mark = "*" if variant == left.chosen else " "
            lines.append(f"{mark} {variant:{width}} {left.areas[variant]:.4f}  chosen in {left.often[variant]:.0%}")
        lines += [_against(rival, figure) for rival, figure in left.against.items()]
    lines += ["", "all groups, each by the variant that the others choose (what counts)"]
    lines += [_against(rival, figure) for rival, figure in choice.overall.items()]
    lines += ["", f"all groups by {choice.best}, which they choose together (tuned on what it is measured on)"]
    lines += [_against(rival, figure) for rival, figure in choice.tuned.items()]
    return "\n".join(lines)


def _against(rival: str, f: Figure) -> str:
    shown = f"{f.ratio:.3f} [{f.interval.low:.3f}, {f.interval.high:.3f}]"
    return f"  against {rival:12} {f.runs:5d} runs  {f.ours:.4f} {f.rival:.4f}  ratio {shown}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.tasks_folder:
        os.environ["GENTUNE_TASKS"] = str(options.tasks_folder.resolve())
    catalogue = importlib.import_module(options.catalogue)
    variants, rivals = options.variants.split(","), [r for r in options.rivals.split(",") if r]
    try:
        tasks = run.select(catalogue, options.tasks, options.groups)
        normalise = report.normaliser(catalogue)
        scores: dict[str, dict[str, dict[int, float]]] = {}
        for job in run.plan([*variants, *rivals], list(tasks), options.seeds, options.trials):
            result = store.read(job.path(options.results))
            if result is not None:
                task = tasks[job.task]
                found = regrets(result, lambda value, task=task: normalise(task, value), options.scoring)  # type: ignore[misc]
                scores.setdefault(job.label, {}).setdefault(job.task, {})[job.seed] = area(found)
        choice = choose(scores, variants, rivals, report.grouped(catalogue, list(tasks)), options.scoring)
    except ValueError as error:
        print(f"choose.py: {error}", file=sys.stderr)
        return 2
    print(text(choice))
    if options.json:
        options.json.write_text(json.dumps(asdict(choice), indent=1), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="gentune", help="of the engine, as run.py's --methods takes them")
    parser.add_argument("--rivals", default="tpe,gp,gp_5")
    parser.add_argument("--scoring", choices=SCORINGS, default="named", help="which setting of each moment counts")
    parser.add_argument("--tasks", default="all")
    parser.add_argument("--groups", help="of tasks, by where they come from; default: every one")
    parser.add_argument("--tasks-folder", type=Path, help="with the files of tasks; default: $GENTUNE_TASKS")
    parser.add_argument("--seeds", type=int, help="seeds that count; default: as run.py has them")
    parser.add_argument("--trials", type=int, default=run.TRIALS)
    parser.add_argument("--results", type=Path, default=run.ROOT / "runs" / "proposals")
    parser.add_argument("--catalogue", default="catalogue", help="module on the Python path with TASKS")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
