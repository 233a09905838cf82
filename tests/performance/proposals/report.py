"""What stored runs say, as text for the terminal and as figures for the page."""

from __future__ import annotations

import argparse
import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import store
from methods import FEWER_STARTS
from scores import (
    SCORINGS,
    Comparison,
    Scoring,
    area,
    best_rival,
    compare,
    failed_share,
    mean_score,
    pair,
    ratio,
    regrets,
)
from task import FailedTrial, Task

OTHER = "other"  # tasks that are of no group


@dataclass
class Report:
    """Everything that is reported of one method, ours, against the others.

    groups: group -> tasks. tuned_on: tasks on which constants of the engine were once chosen.
    areas: scoring -> method -> task -> seed; failures likewise. comparisons: group ("all", "tuned on" and "not tuned
    on" among them) -> rival; observed: the same by best observed setting. best: group -> the best rival as it comes.
    failed: rival -> shares of failed trials compared, over the tasks where trials fail.
    changed: results whose task is no longer what it was, one line each.
    cpu: method -> group -> the mean CPU seconds of a run, truth and training of the task among them;
    ask_seconds: method -> the median over runs of a trial after the tenth, in seconds of the clock.
    """

    ours: str
    trials: int
    groups: dict[str, list[str]]
    tuned_on: list[str]
    versions: dict[str, str] = field(default_factory=dict)
    scores: dict[Scoring, dict[str, dict[str, dict[int, float]]]] = field(
        default_factory=lambda: {scoring: {} for scoring in SCORINGS}
    )
    missing: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    comparisons: dict[str, dict[str, Comparison]] = field(default_factory=dict)
    observed: dict[str, dict[str, Comparison]] = field(default_factory=dict)
    best: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Comparison] = field(default_factory=dict)
    cpu: dict[str, dict[str, float]] = field(default_factory=dict)
    ask_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def areas(self) -> dict[str, dict[str, dict[int, float]]]:
        """By the setting that a method names: method -> task -> seed."""
        return self.scores["named"]

    @property
    def rivals(self) -> list[str]:
        return [m for m in self.areas if m != self.ours]


def main(options: argparse.Namespace, tasks: Mapping[str, Task], jobs: Sequence[store.Job], catalogue: Any) -> int:
    """Reads the jobs' results; prints, and writes what is asked for."""
    names = list(dict.fromkeys(options.methods.split(",")))
    named = [n for n in names if n.startswith("gentune")]
    ours = options.ours or ("gentune" if "gentune" in named else [*named, *names][0])
    report = collect(tasks, jobs, options, ours, catalogue)
    if ours not in report.areas:
        print(f"no results of {ours} in {options.results}")
        return 1
    print(text(report))
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
    if options.page:
        import page

        page.write(report, options.results)
    return 0


def normaliser(catalogue: Any) -> Callable[[Task, float], float]:
    """The catalogue's own normalised regret, or the one of the module `references`."""
    own = getattr(catalogue, "normalised_regret", None)
    return own or importlib.import_module("references").normalised_regret


def grouped(catalogue: Any, tasks: Sequence[str]) -> dict[str, list[str]]:
    """Of these tasks, the names by the catalogue's groups; without groups, or in none of them, they are `other`."""
    found = {g: [n for n in names if n in tasks] for g, names in getattr(catalogue, "GROUPS", {}).items()}
    rest = [n for n in tasks if not any(n in names for names in found.values())]
    return {group: names for group, names in {**found, OTHER: rest}.items() if names}


def collect(
    tasks: Mapping[str, Task], jobs: Sequence[store.Job], options: argparse.Namespace, ours: str, catalogue: Any
) -> Report:
    normalise = normaliser(catalogue)
    tuned_on = [n for n in tasks if n in getattr(catalogue, "TUNED_ON", ())]
    report = Report(ours, options.trials, grouped(catalogue, list(tasks)), tuned_on)
    shares: dict[str, dict[str, dict[int, float]]] = {}
    cpu: dict[str, dict[str, list[float]]] = {}
    asks: dict[str, list[float]] = {}
    group_of = {name: group for group, names in report.groups.items() for name in names}
    for job in jobs:
        result = store.read(job.path(options.results))
        if result is None:
            report.missing[job.label] = report.missing.get(job.label, 0) + 1
            continue
        task = tasks[job.task]
        if job.task not in report.areas.get(job.label, {}) and is_changed(task, result):
            report.changed.append(
                f"{job.label} on {job.task}: the task has changed since; delete {job.path(options.results)}"
            )
        for scoring, scores in report.scores.items():
            found = regrets(result, lambda value, task=task: normalise(task, value), scoring)  # type: ignore[misc]
            scores.setdefault(job.label, {}).setdefault(job.task, {})[job.seed] = area(found)
        if task.kind == "failing":
            shares.setdefault(job.label, {}).setdefault(job.task, {})[job.seed] = failed_share(result["values"])
        report.versions[job.label] = job.version
        cpu.setdefault(job.label, {}).setdefault(group_of[job.task], []).append(result["cpu_seconds"])
        asks.setdefault(job.label, []).extend(result["ask_seconds"][10:])
    report.cpu = {m: {g: float(np.mean(s)) for g, s in found.items()} for m, found in cpu.items()}
    report.ask_seconds = {m: float(np.median(s)) for m, s in asks.items() if s}
    if ours in report.areas:
        _compare(report, shares)
    return report


def is_changed(task: Task, result: Mapping[str, Any]) -> bool:
    """Whether the setting that a stored run named last no longer is of the space, or has another true value now."""
    named = [n for n in result["named"] if n is not None and n[1] is not None]
    if not named:
        return False
    number, truth = named[-1]
    try:
        task.space.validate(result["settings"][number])
        return not math.isclose(task.truth(result["settings"][number]), truth, rel_tol=1e-6, abs_tol=1e-9)
    except (ValueError, FailedTrial):
        return True


def _compare(report: Report, shares: Mapping[str, Mapping[str, Mapping[int, float]]]) -> None:
    for part, groups in parts(report).items():
        for comparisons, scores in zip((report.comparisons, report.observed), report.scores.values(), strict=True):
            found = {rival: compare(scores[report.ours], scores[rival], groups) for rival in report.rivals}
            comparisons[part] = {rival: c for rival, c in found.items() if c is not None}
        best = best_rival({r: c for r, c in report.comparisons[part].items() if _as_it_comes(r)})
        if best is not None:
            report.best[part] = best
    for rival in report.rivals:
        failed = compare(shares.get(report.ours, {}), shares.get(rival, {}))
        if failed is not None:
            report.failed[rival] = failed


def parts(report: Report) -> dict[str, dict[str, list[str]]]:
    """What is compared: all tasks, those that constants were chosen on and the others, and each group alone."""
    parts = {"all": report.groups}
    if report.tuned_on:
        for part, wanted in (("tuned on", True), ("not tuned on", False)):
            kept = {g: [n for n in names if (n in report.tuned_on) == wanted] for g, names in report.groups.items()}
            parts[part] = {group: names for group, names in kept.items() if names}
    return parts | {group: {group: names} for group, names in report.groups.items()}


def _as_it_comes(method: str) -> bool:
    return ":" not in method and method not in FEWER_STARTS and not method.startswith("gentune")


def text(report: Report) -> str:
    """The report for a terminal of 140 columns."""
    width = max(len(m) for m in report.areas) + 2
    lines = [*report.changed, f"areas over trials 10 to {report.trials}, lower is better; ours: {report.ours}", ""]
    lines.append(f"{'method':{width}} {'runs':>5} {'area':>7} {'observed':>8} {'ask s':>7}  version")
    for method, tasks in report.areas.items():
        runs = sum(len(s) for s in tasks.values())
        gone = f"  ({report.missing[method]} runs missing)" if method in report.missing else ""
        observed = mean_score(report.scores["observed"][method], report.groups)
        lines.append(
            f"{method:{width}} {runs:5d} {mean_score(tasks, report.groups):7.4f} {observed:8.4f} "
            f"{report.ask_seconds.get(method, 0.0):7.3f}  {report.versions[method]}{gone}"
        )
    for part, comparisons in report.comparisons.items():
        if comparisons:
            lines += ["", *_part(report, part, width)]
    lines += ["", "* best rival as it comes; [..]: 95%, seeds resampled within tasks; other tasks: of the ratio, tasks"]
    lines += ["resampled too; by observed: ratio and interval over other tasks where each method is scored by its best"]
    lines += ["observed setting; w/t/l: tasks won, level and lost by paired t-tests at 5%", ""]
    lines += [*_seconds(report, width), *_tasks(report, width), *_worst(report)]
    for rival, c in report.failed.items():
        lines.append(
            f"failed after the start: {c.ours:.1%} against {rival}'s {c.rival:.1%}, ratio {c.ratio:.2f} "
            f"[{c.ratio_interval.low:.2f}, {c.ratio_interval.high:.2f}]"
        )
    return "\n".join(lines)


def _part(report: Report, part: str, width: int) -> list[str]:
    names = [n for names in parts(report)[part].values() for n in names]
    tuned = "" if part.endswith("tuned on") else f", {sum(n in report.tuned_on for n in names)} tuned on"
    lines = [f"{part} ({len(names)} tasks{tuned})"]
    lines.append(
        f"{'  against':{width}} {'runs':>5} {'ours':>6} {'rival':>6} {'difference':>27} {'ratio':>22} "
        f"{'other tasks':>14} {'by observed':>22}  w/t/l"
    )
    for rival, c in report.comparisons[part].items():
        star = "* " if report.best.get(part) == rival else "  "
        d, r, e = c.difference_interval, c.ratio_interval, c.ratio_elsewhere
        o = report.observed[part][rival]
        lines.append(
            f"{star + rival:{width}} {c.runs:5d} {c.ours:6.4f} {c.rival:6.4f} "
            f"{f'{c.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]':>27} "
            f"{f'{c.ratio:.3f} [{r.low:.3f}, {r.high:.3f}]':>22} {f'[{e.low:.3f}, {e.high:.3f}]':>14} "
            f"{f'{o.ratio:.3f} [{o.ratio_elsewhere.low:.3f}, {o.ratio_elsewhere.high:.3f}]':>22}  "
            + "/".join(str(n) for n in c.wins_ties_losses)
        )
    return lines


def _seconds(report: Report, width: int) -> list[str]:
    """The mean CPU seconds of a run by group."""
    lines = [f"{'CPU seconds of a run':{max(width, 22)}} " + " ".join(f"{group:>20}" for group in report.groups)]
    for method, found in report.cpu.items():
        cells = (f"{found[group]:.1f}" if group in found else "" for group in report.groups)
        lines.append(f"{method:{max(width, 22)}} " + " ".join(f"{cell:>20}" for cell in cells))
    return [*lines, ""]


def _tasks(report: Report, width: int) -> list[str]:
    own = report.areas[report.ours]
    longest = max(len(n) for n in own) + 3
    lines = [f"{'task':{longest}} " + " ".join(f"{m:>{max(width, 9)}}" for m in report.areas)]
    for names in report.groups.values():
        for name in names:
            if name not in own:
                continue
            cells = []
            for method, tasks in report.areas.items():
                seeds = tasks.get(name)
                c = report.comparisons["all"].get(method)
                mark = "" if c is None else {1: " +", -1: " -"}.get(c.outcomes.get(name, 0), "  ")
                shown = "" if not seeds else f"{np.mean(list(seeds.values())):.4f}{mark}"
                cells.append(f"{shown:>{max(width, 9)}}")
            lines.append(f"{name + '*' * (name in report.tuned_on):{longest}} " + " ".join(cells))
    return [*lines, "* tuned on; + ours is better, - worse", ""]


def worst(report: Report, count: int = 10) -> list[tuple[str, str, float, float]]:
    """The tasks on which ours does worst by the ratio to the best rival as it comes: task, rival, areas of both."""
    found = []
    for task in report.areas[report.ours]:
        rivals: dict[str, tuple[float, float]] = {}
        for rival in report.rivals:
            pairs = pair(report.areas[report.ours], report.areas[rival]).get(task)
            if pairs is not None and _as_it_comes(rival):
                rivals[rival] = (float(pairs[:, 0].mean()), float(pairs[:, 1].mean()))
        if rivals:
            best = max(rivals, key=lambda rival: ratio(*rivals[rival]))
            found.append((task, best, *rivals[best]))
    return sorted(found, key=lambda one: -ratio(*one[2:]))[:count]


def _worst(report: Report) -> list[str]:
    lines = ["tasks on which ours does worst next to the best rival as it comes"]
    for task, rival, ours, theirs in worst(report):
        lines.append(f"  {task:30} {ours:.4f} against {rival}'s {theirs:.4f}, ratio {ratio(ours, theirs):.2f}")
    return [*lines, ""]
