"""The section on proposals in docs/benchmarks.md, between two comments that mark it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import store
from report import Report, parts
from scores import Comparison, Interval, mean_score

PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"
_MARKS = {1: " **+**", -1: " **−**", 0: ""}


def write(report: Report, results: Path, path: Path = PAGE) -> None:
    """Puts the section in its place, at the page's end where it has none yet."""
    old = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    path.write_text(put(old, "\n".join(section(report, results)), "proposals"), encoding="utf-8")


def put(old: str, section: str, name: str) -> str:
    """A page with what is between the marks of a section replaced, at its end where it has none yet.

    Raises ValueError where only one of the two marks is there.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    marked = f"{begin}\n{section}\n{end}"
    if (begin in old) != (end in old):
        raise ValueError(f"the page has only one of {begin} and {end}")
    if begin not in old:
        return f"{old.rstrip()}\n\n{marked}\n"
    before, _, rest = old.partition(begin)
    return before + marked + rest.partition(end)[2]


def section(report: Report, results: Path) -> Iterable[str]:
    yield from ("## Proposals", "")
    yield from _intro(report)
    yield from _overall(report)
    yield from _groups(report)
    yield from _failed(report)
    yield from _tasks(report)
    yield from _ablations(report)
    yield from _left_out(store.read(results / "left_out.json"))
    yield from _two_objectives(store.read(results / "two_objectives.json"))
    yield from _warm_start(store.read(results / "warm_start.json"))
    yield from _ask_time(store.read(results / "ask_time.json"))


def _intro(report: Report) -> Iterable[str]:
    packages = {report.versions[m] for m in _rivals(report)}
    versions = ", ".join(sorted({v.replace("-", " ").replace("ax platform", "ax-platform") for v in packages}))
    count = sum(len(names) for names in report.groups.values())
    yield f"`{report.ours}` (engine {report.versions[report.ours]}) next to {versions} on {count} single-objective"
    yield f"tasks, {report.trials} trials a run; Python {platform.python_version()}, {cpu()}, one thread a run. Made by"
    yield ""
    yield "    make bench-proposals"
    yield ""
    yield "*Area*: the mean, over trials 10 to the last, of the normalised regret (0: best known, 1: the median"
    yield "random setting) of the setting that a method would name at that moment, by its true mean; lower is better."
    yield "Rivals name their best observed setting; *by observed* takes that of ours, too. Means go over seeds, then"
    yield "over the tasks of a group, then over groups: groups are where tasks come from. Runs are paired by task"
    yield "and seed and share the noise of each trial. Brackets hold 95% bootstrap intervals: seeds resampled within"
    yield "tasks, for *other tasks* the tasks as well. A task is won or lost where a paired t-test over seeds says so"
    yield "at 5%. A rival that ran on fewer seeds is compared on those."
    yield ""
    yield from _table(
        ["method", "runs", "area", "by observed", "median seconds of an ask"],
        [
            [
                m,
                sum(map(len, tasks.values())),
                f"{mean_score(tasks, report.groups):.4f}",
                f"{mean_score(report.scores['observed'][m], report.groups):.4f}",
                f"{report.ask_seconds.get(m, 0.0):.3f}",
            ]
            for m, tasks in report.areas.items()
            if not _is_variant(report, m)
        ],
    )


def _rivals(report: Report) -> list[str]:
    return [m for m in report.rivals if not _is_variant(report, m)]


def _is_variant(report: Report, method: str) -> bool:
    """Whether a method is our own in another form."""
    return method != report.ours and method.startswith("gentune")


def _overall(report: Report) -> Iterable[str]:
    yield from ("### All tasks", "")
    yield from _table(
        [
            "against",
            "runs",
            "ours",
            "rival",
            "difference",
            "ratio",
            "ratio, other tasks",
            "by observed, other tasks",
            "won / level / lost",
        ],
        [
            [
                f"**{rival}**" if report.best.get("all") == rival else rival,
                c.runs,
                f"{c.ours:.4f}",
                f"{c.rival:.4f}",
                f"{c.difference:+.4f} {_signed(c.difference_interval)}",
                f"{c.ratio:.3f} {_plain(c.ratio_interval)}",
                _plain(c.ratio_elsewhere),
                _elsewhere(report.observed["all"][rival]),
                " / ".join(map(str, c.wins_ties_losses)),
            ]
            for rival, c in report.comparisons["all"].items()
            if rival in _rivals(report)
        ],
    )
    yield from ("Bold: the best rival as it comes.", "")


def _groups(report: Report) -> Iterable[str]:
    yield from ("### By group", "")
    if report.tuned_on:
        yield f"Constants of earlier engines were chosen on {len(report.tuned_on)} of these tasks (seeds 0 to 3), which"
        yield "*tuned on* counts; figures on them flatter the engine. *Not tuned on* are the others."
        yield ""
    rows = []
    for part, groups in parts(report).items():
        if part == "all":
            continue
        names = [name for tasks in groups.values() for name in tasks]
        tuned = sum(name in report.tuned_on for name in names)
        comparisons, best = report.comparisons[part], report.best.get(part)
        cells: list[Any] = [part, len(names), tuned, best or "–", _ratio(comparisons.get(best or ""))]
        rows.append([*cells, *(_ratio(comparisons.get(rival)) for rival in _rivals(report))])
    yield from _table(
        ["group", "tasks", "tuned on", "best rival", "ratio to it", *(f"to {r}" for r in _rivals(report))],
        rows,
        words=(0, 3),
    )


def _failed(report: Report) -> Iterable[str]:
    if not report.failed:
        return
    yield from ("Share of failed trials after the first five, on the tasks where trials fail:", "")
    yield from _table(
        ["against", "ours", "rival", "ratio"],
        [[r, f"{c.ours:.1%}", f"{c.rival:.1%}", _ratio(c)] for r, c in report.failed.items() if r in _rivals(report)],
    )


def _tasks(report: Report) -> Iterable[str]:
    yield from ("### By task", "", "Mean areas; **+** where ours is better, **−** where it is worse.", "")
    own = report.areas[report.ours]
    rows = []
    for group, names in report.groups.items():
        for name in names:
            cells = [name, group]
            for method in (m for m in report.areas if not _is_variant(report, m)):
                tasks = report.areas[method]
                c = report.comparisons["all"].get(method)
                mark = "" if c is None or name not in own else _MARKS[c.outcomes.get(name, 0)]
                cells.append(f"{np.mean(list(tasks[name].values())):.4f}{mark}" if name in tasks else "–")
            rows.append(cells)
    methods = [m for m in report.areas if not _is_variant(report, m)]
    yield from _table(["task", "group", *methods], rows, words=(0, 1))


def _ablations(report: Report) -> Iterable[str]:
    """What the engine's pieces are worth: runs of `gentune:without=…`, where there are any."""
    rows = [
        [method.partition("without=")[2].partition("@")[0], c.runs, f"{c.ours:.4f}", f"{c.rival:.4f}", _ratio(c)]
        for method, c in report.comparisons["all"].items()
        if "without=" in method
    ]
    if rows:
        yield from ("### Ablation", "")
        yield "Pieces are those of `tests/performance/proposals/ablations.py`; below 1: the piece helps."
        yield ""
        yield from _table(["without", "runs", "whole", "without it", "ratio"], rows)


def _left_out(found: dict[str, Any] | None) -> Iterable[str]:
    """What `choose.py` found."""
    if found is None:
        return
    yield from ("### Left-out groups", "")
    yield f"Of {len(found['variants'])} variants of the engine the other groups choose one for each group that is left"
    yield f"out, by the lowest area of {found['scoring']} settings; {found['seeds']} seeds or more a task. Ratios of"
    yield "areas, with 95% intervals over other tasks and seeds. *Together*: each group by what others choose, chosen"
    yield f"again in each resampling; *tuned on*: by `{found['best']}`, which all groups together choose."
    yield ""
    rivals = list(found["overall"])
    rows = [
        [group, left["tasks"], f"`{left['chosen']}`", *(_share(left["against"].get(rival)) for rival in rivals)]
        for group, left in found["groups"].items()
    ]
    count = sum(left["tasks"] for left in found["groups"].values())
    rows.append(["**together**", count, "", *(_share(found["overall"][rival]) for rival in rivals)])
    rows.append(["tuned on", count, f"`{found['best']}`", *(_share(found["tuned"][rival]) for rival in rivals)])
    yield from _table(["left out", "tasks", "the others choose", *rivals], rows, words=(0, 2))


def _share(figure: dict[str, Any] | None) -> str:
    return "–" if figure is None else f"{figure['ratio']:.3f} {_plain(Interval(**figure['interval']))}"


def _two_objectives(found: dict[str, Any] | None) -> Iterable[str]:
    if found is None:
        return
    outcomes = found["outcomes"]
    yield from ("### Two objectives", "")
    yield f"Mean hypervolume after {found['trials']} trials, higher is better; `{found['ours']}` (engine"
    yield f"{found['version']}), runs paired by seed."
    yield ""
    rows = []
    for o in outcomes:
        low, high = o["interval"]["low"], o["interval"]["high"]
        verdict = "above" if low > 0 else "level" if high >= 0 else "below"
        difference = f"{o['ours'] - o['theirs']:+.4g} [{low:+.4g}, {high:+.4g}]"
        means = (f"{o['ours']:.4g}", f"{o['theirs']:.4g}")
        rows.append([o["problem"], o["rival"], o["runs"], *means, difference, verdict])
    yield from _table(["problem", "against", "runs", "ours", "rival", "difference", "ours is"], rows, words=(0, 1, 6))


def _warm_start(found: dict[str, Any] | None) -> Iterable[str]:
    if found is None:
        return
    yield from ("### Warm start", "")
    yield f"From three earlier studies on related tasks, and on unrelated ones (engine {found['version']}): the trial"
    yield "at which the mean regret is that of a start from nothing after 30 trials, and the ratio of areas."
    yield ""
    rows = []
    for f in found["found"]:
        ratio, reached = f["ratio_interval"], f["reached_interval"]
        share = f["area"] / f["cold_area"]
        rows.append(
            [
                f["start"],
                f["runs"],
                f"{f['reached']} [{reached['low']:.0f}, {reached['high']:.0f}]",
                f"{share:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]",
            ]
        )
    yield from _table(["earlier studies", "runs", "trials to the cold start's 30", "ratio of areas"], rows)


def _ask_time(found: dict[str, Any] | None) -> Iterable[str]:
    if found is None:
        return
    yield from ("### Time of one ask", "")
    yield f"Six mixed parameters, one thread; medians in seconds of `{found['ours']}` (engine {found['version']}) and"
    yield f"`{found['rival']}`, asked in turn."
    yield ""
    rows = []
    for row in found["rows"]:
        paired = "ratio" in row
        rows.append(
            [
                f"{row['size']:,}",
                row["asks"],
                f"{row['ours']:.3f}",
                f"{row['rival']:.3f}" if paired else "–",
                f"{row['ratio']:.2f} {_plain(Interval(*row['interval']))}" if paired else "–",
            ]
        )
    yield from _table(["observations", "asks", "ours", "rival", "ratio"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], words: Sequence[int] = (0,)) -> Iterable[str]:
    """A Markdown table and an empty line; columns `words` are set to the left, the others to the right."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join("---" if i in words else "---:" for i in range(len(head))) + "|"
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def _ratio(c: Comparison | None) -> str:
    return "–" if c is None else f"{c.ratio:.3f} {_plain(c.ratio_interval)}"


def _elsewhere(c: Comparison) -> str:
    return f"{c.ratio:.3f} {_plain(c.ratio_elsewhere)}"


def _plain(interval: Interval) -> str:
    return "(one seed)" if interval.low == interval.high else f"[{interval.low:.3f}, {interval.high:.3f}]"


def _signed(interval: Interval) -> str:
    return "(one seed)" if interval.low == interval.high else f"[{interval.low:+.4f}, {interval.high:+.4f}]"


def cpu() -> str:
    """The processor's model and the number of its cores that are seen."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"
