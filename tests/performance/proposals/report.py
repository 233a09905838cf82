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
from scores import Comparison, area, best_rival, compare, failed_share, mean_score, regrets
from task import FailedTrial, Task


@dataclass
class Report:
    """Everything that is reported of one method, ours, against the others.

    areas, failures: method -> task -> seed. comparisons: group ("all" among them) -> rival. best: group -> the best
    rival as it comes. failed: rival -> shares of failed trials compared, over the tasks where trials fail.
    changed: results whose task is no longer what it was, one line each.
    seconds: method -> the median over runs of a run's seconds, truth and training of the task among them;
    ask_seconds: of a trial after the tenth.
    """

    ours: str
    trials: int
    groups: dict[str, list[str]]
    versions: dict[str, str]
    areas: dict[str, dict[str, dict[int, float]]]
    missing: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    comparisons: dict[str, dict[str, Comparison]] = field(default_factory=dict)
    best: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Comparison] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    ask_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def rivals(self) -> list[str]:
        return [m for m in self.areas if m != self.ours]


def main(options: argparse.Namespace, tasks: Mapping[str, Task], jobs: Sequence[store.Job], catalogue: Any) -> int:
    """Reads the jobs' results; prints, and writes what is asked for."""
    names = list(dict.fromkeys(options.methods.split(",")))
    named = [n for n in names if n.startswith("gentune")]
    ours = options.ours or ("gentune" if "gentune" in named else [*named, *names][0])
    report = collect(tasks, jobs, options, ours, normaliser(catalogue))
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


def collect(
    tasks: Mapping[str, Task],
    jobs: Sequence[store.Job],
    options: argparse.Namespace,
    ours: str,
    normalise: Callable[[Task, float], float],
) -> Report:
    areas: dict[str, dict[str, dict[int, float]]] = {}
    shares: dict[str, dict[str, dict[int, float]]] = {}
    groups: dict[str, list[str]] = {}
    versions: dict[str, str] = {}
    missing: dict[str, int] = {}
    changed: list[str] = []
    seconds: dict[str, list[float]] = {}
    asks: dict[str, list[float]] = {}
    for job in jobs:
        result = store.read(job.path(options.results))
        if result is None:
            missing[job.label] = missing.get(job.label, 0) + 1
            continue
        task = tasks[job.task]
        if job.task not in areas.get(job.label, {}) and is_changed(task, result):
            changed.append(f"{job.label} on {job.task}: the task has changed since; delete {job.path(options.results)}")
        found = area(regrets(result, lambda value, task=task: normalise(task, value)))  # type: ignore[misc]
        areas.setdefault(job.label, {}).setdefault(job.task, {})[job.seed] = found
        if task.group == "failing":
            shares.setdefault(job.label, {}).setdefault(job.task, {})[job.seed] = failed_share(result["values"])
        versions[job.label] = job.version
        seconds.setdefault(job.label, []).append(result["seconds"])
        asks.setdefault(job.label, []).extend(result["ask_seconds"][10:])
    for name, task in tasks.items():
        groups.setdefault(task.group, []).append(name)
    report = Report(ours, options.trials, groups, versions, areas, missing, changed)
    report.seconds = {m: float(np.median(s)) for m, s in seconds.items()}
    report.ask_seconds = {m: float(np.median(s)) for m, s in asks.items() if s}
    if ours in areas:
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
    own = report.areas[report.ours]
    for group, names in {"all": list(own), **report.groups}.items():
        part = {n: own[n] for n in names if n in own}
        found = {rival: compare(part, report.areas[rival]) for rival in report.rivals}
        report.comparisons[group] = {rival: c for rival, c in found.items() if c is not None}
        best = best_rival({r: c for r, c in report.comparisons[group].items() if _as_it_comes(r)})
        if best is not None:
            report.best[group] = best
    for rival in report.rivals:
        failed = compare(shares.get(report.ours, {}), shares.get(rival, {}))
        if failed is not None:
            report.failed[rival] = failed


def _as_it_comes(method: str) -> bool:
    return ":" not in method and not method.startswith(("gp_5", "gentune"))


def text(report: Report) -> str:
    """The report for a terminal of 120 columns."""
    width = max(len(m) for m in report.areas) + 2
    lines = [*report.changed, f"areas over trials 10 to {report.trials}, lower is better; ours: {report.ours}", ""]
    lines.append(f"{'method':{width}} {'runs':>5} {'area':>7} {'s/run':>7} {'ask s':>7}  version")
    for method, tasks in report.areas.items():
        runs = sum(len(s) for s in tasks.values())
        gone = f"  ({report.missing[method]} runs missing)" if method in report.missing else ""
        lines.append(
            f"{method:{width}} {runs:5d} {mean_score(tasks):7.4f} {report.seconds[method]:7.1f} "
            f"{report.ask_seconds.get(method, 0.0):7.3f}  {report.versions[method]}{gone}"
        )
    for group, comparisons in report.comparisons.items():
        if not comparisons:
            continue
        lines += ["", f"{group} ({len(report.groups.get(group, report.areas[report.ours]))} tasks)"]
        lines.append(
            f"{'  against':{width}} {'runs':>5} {'ours':>6} {'rival':>6} {'difference':>27} {'ratio':>22} "
            f"{'other tasks':>14}  w/t/l"
        )
        for rival, c in comparisons.items():
            star = "* " if report.best.get(group) == rival else "  "
            elsewhere = f"[{c.ratio_elsewhere.low:.3f}, {c.ratio_elsewhere.high:.3f}]"
            d, r = c.difference_interval, c.ratio_interval
            lines.append(
                f"{star + rival:{width}} {c.runs:5d} {c.ours:6.4f} {c.rival:6.4f} "
                f"{f'{c.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]':>27} "
                f"{f'{c.ratio:.3f} [{r.low:.3f}, {r.high:.3f}]':>22} {elsewhere:>14}  "
                + "/".join(str(n) for n in c.wins_ties_losses)
            )
    lines += ["", "* best rival as it comes; [..]: 95%, seeds resampled within tasks; other tasks: of the ratio, tasks"]
    lines += ["resampled too; w/t/l: tasks won, level and lost by paired t-tests at 5%", "", *_tasks(report, width)]
    for rival, c in report.failed.items():
        lines.append(
            f"failed after the start: {c.ours:.1%} against {rival}'s {c.rival:.1%}, ratio {c.ratio:.2f} "
            f"[{c.ratio_interval.low:.2f}, {c.ratio_interval.high:.2f}]"
        )
    return "\n".join(lines)


def _tasks(report: Report, width: int) -> list[str]:
    own = report.areas[report.ours]
    longest = max(len(n) for n in own) + 2
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
            lines.append(f"{name:{longest}} " + " ".join(cells))
    return [*lines, "+ ours is better, - worse", ""]
