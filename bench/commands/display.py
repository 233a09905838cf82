"""Output of the command line: progress on standard error, tables on standard output."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..data import DataRef, describe_data
from ..registry import default_objective, metric
from ..runs.run_folder import RunFolder
from ..runs.status import RunStatus, StudyStatus, duration_text, read_status
from .output import console, progress_console

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from ..driver.plan import Plan

_REFRESH = 2.0  # seconds between looks at the folder


class _Listener:
    """Prints events as lines, above a live table where there is a terminal."""

    def __init__(self, folder: RunFolder, quiet: bool) -> None:
        from rich.live import Live

        self._folder = folder
        self._quiet = quiet
        self._console = progress_console()
        self._last_update = 0.0
        self.live: Live | None = None
        if self._console.is_terminal and not quiet:
            self.live = Live(console=self._console, auto_refresh=False, transient=True)

    def say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, soft_wrap=True)
        self.update()

    def update(self) -> None:
        if self.live is not None and time.monotonic() - self._last_update > _REFRESH:
            self._last_update = time.monotonic()
            self.live.update(status_table(read_status(self._folder)), refresh=True)


@contextmanager
def live_status(folder: RunFolder, *, quiet: bool) -> Iterator[_Listener]:
    """A listener that shows progress while the block runs."""
    listener = _Listener(folder, quiet)
    if listener.live is None:
        yield listener
        return
    with listener.live:
        yield listener


def watch_status(folder: RunFolder) -> None:
    """Shows the status until the run has ended."""
    from rich.live import Live

    with Live(console=console(), refresh_per_second=4) as live:
        while True:
            status = read_status(folder)
            live.update(status_table(status))
            if status.state != "running":
                return
            time.sleep(_REFRESH)


def status_table(status: RunStatus) -> RenderableType:
    """Studies with trials done, budget spent, best so far, and the time left."""
    from rich.table import Table

    left = "" if status.seconds_left is None else f", about {duration_text(status.seconds_left)} left"
    table = Table(
        title=f"{status.name}: {status.state}{left}",
        caption=f"best: on validation while tuning, not a result; budget in {status.budget}",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("study", no_wrap=True)
    for name in ("trials", "failed", "budget"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in status.objective:
        table.add_column(f"best {name}", justify="right")
    for name in ("choice", "finals"):
        table.add_column(name, justify="right")
    for study in status.studies:
        table.add_row(*_row(study, status))
    return table


def _row(study: StudyStatus, status: RunStatus) -> list[str]:
    name = study.family if study.repeat == 0 else f"{study.family} @{study.repeat}"
    share = 1.0 if study.tuned else min(1.0, study.spent / status.amount)
    best = [f"{value:.4g}" for value in study.best] if study.best else ["–"] * len(status.objective)
    return [
        name,
        str(study.trials),
        str(study.failed or ""),
        f"{study.spent:.3g}/{status.amount:g}",
        "█" * round(8 * share) + "░" * (8 - round(8 * share)),
        *best,
        f"{study.choices}/{study.choices_expected}",
        f"{study.finals}/{study.finals_expected}",
    ]


def plan_table(plan: Plan) -> Table:
    """What each family would train and how long that would take, by part, and all together."""
    from rich.table import Table
    from rich.text import Text

    total = duration_text(plan.seconds)
    table = Table(
        title=f"about {total} in all with {plan.workers} worker{'s' if plan.workers > 1 else ''}"
        f"{'' if plan.size == 1.0 else f', at size {plan.size:g}'}",
        caption="trainings' worth, and time of one worker on this machine from a measured step, samples and scores "
        f"included; references take {duration_text(plan.references)}, start and report {duration_text(plan.around)}; "
        f"retrainings draw {plan.final_samples:,} samples" + "".join(f"\n{evaluator}" for evaluator in plan.evaluators),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("family", no_wrap=True)
    for name in ("steps", "tuning", "choice", "finals", "operations", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, parts in plan.families.items():
        whole = plan.total(name)
        cells = [f"{work.trainings:.3g}: {duration_text(work.seconds)}" for work in parts.values()]
        steps = f"{plan.steps[name]:,}" if plan.steps.get(name) else "–"
        table.add_row(name, steps, *cells, f"{whole.operations:.2g}", duration_text(whole.seconds))
    for name, reason in plan.refused.items():
        table.add_row(name, "", Text(reason, "red"), "", "", "", "")
    return table


_COLUMNS = {
    "families": ("name", "group", "kinds", "conditional", "likelihood", "summary"),
    "data": ("name", "kind", "shape", "classes", "levels", "entropy", "licence"),
    "metrics": ("name", "group", "direction", "unit", "summary"),
    "evaluators": ("name", "kinds", "classes", "weights", "summary"),
    "executors": ("name", "summary"),
}


def listing_table(what: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Rows of a listing in short; the whole of them is in `--json`. Broken families show their error."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for key in _COLUMNS[what]:
        table.add_column(key, no_wrap=key == "name")
    for row in rows:
        cells = [Text(_cell(row[key])) for key in _COLUMNS[what]]
        if row.get("error"):
            cells[-1] = Text(row["error"], "red")
        table.add_row(*cells)
    return table


_FLOOR = "floor: real examples of the other held-out split in place of samples"


def scores_table(rows: Sequence[dict[str, Any]], width: int) -> Table:
    """Scores of samples: one path with its metrics below one another, several as a leaderboard, best first.

    rows: as `evaluate` gives them as JSON.
    width: of the console. A leaderboard leaves out the metrics for which there is no room, and names them.
    """
    against = f"{DataRef.from_value(rows[0]['data'])}, {rows[0]['split']} split, through {rows[0]['evaluator']['name']}"
    table = _leaderboard(rows, width) if len(rows) > 1 else _scores(rows[0])
    table.title = against if len(rows) > 1 else f"{rows[0]['path']}: {rows[0]['n']} samples against {against}"
    table.title_justify = table.caption_justify = "left"
    return table


def _scores(row: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=_FLOOR)
    table.add_column("metric", no_wrap=True)
    for name in ("value", "95% interval", f"floor (n = {row['floor']['n']})"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("better", no_wrap=True)
    table.add_column("unit")
    for name, figure in row["metrics"].items():
        card, floor = metric(name), _short(row["floor"]["metrics"][name])
        if "undefined" in figure:
            table.add_row(name, "–", "", floor, card.direction, Text(figure["undefined"], "dim"))
        else:
            table.add_row(name, _short(figure), _interval(figure), floor, card.direction, card.unit)
    return table


def _leaderboard(rows: Sequence[dict[str, Any]], width: int) -> Table:
    from rich.table import Table

    names = [name for name in rows[0]["metrics"] if any("value" in row["metrics"][name] for row in rows)]
    lacking = [name for name in rows[0]["metrics"] if name not in names]
    leading = default_objective(describe_data(DataRef.from_value(rows[0]["data"])))
    if leading not in names:
        leading = next((name for name in names if metric(name).direction != "none"), "")
    names.sort(key=lambda name: name != leading)
    room = width - min(max(len(row["path"]) for row in rows), width // 3) - 10
    shown = [name for i, name in enumerate(names) if sum(max(len(n), 7) + 3 for n in names[: i + 1]) <= room]

    table = Table()
    table.add_column("path", overflow="fold")
    for name in ("n", *shown):
        table.add_column(name, justify="right", no_wrap=True)
    sign = -1 if leading and metric(leading).direction == "higher" else 1
    last = sign * float("inf")
    for row in sorted(rows, key=lambda row: sign * row["metrics"].get(leading, {}).get("value", last)):
        table.add_row(row["path"], str(row["n"]), *(_short(row["metrics"][name]) for name in shown))
    table.add_section()
    for floor in {row["floor"]["n"]: row["floor"] for row in rows}.values():
        table.add_row("floor", str(floor["n"]), *(_short(floor["metrics"][name]) for name in shown), style="dim")

    notes = [f"best {leading} first" if leading else "nothing to order by", _FLOOR]
    fewest = min(row["n"] for row in rows)
    if any(row["n"] != fewest for row in rows):
        notes.append(f"counts differ, and many metrics depend on them: --count {fewest} makes them equal")
    if len(shown) < len(names):
        notes.append(f"no room for {', '.join(names[len(shown) :])}: --metrics or --json shows them")
    if lacking:
        notes.append(f"not defined here: {', '.join(lacking)}: --json says why")
    table.caption = "\n".join(notes)
    return table


def _short(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.4g}" if "value" in figure else "–"


def _interval(figure: dict[str, Any]) -> str:
    return "" if figure["low"] is None or figure["high"] is None else f"[{figure['low']:.4g}, {figure['high']:.4g}]"


def export_table(rows: dict[str, list[dict[str, Any]]]) -> Table:
    """Trials and finalists in short; the whole of them is in `--json`."""
    from rich.table import Table

    table = Table()
    for key in ("", "family", "number", "state", "cost", "seconds", "reason"):
        numeric = key in ("number", "cost", "seconds")
        table.add_column(key, justify="right" if numeric else "left", no_wrap=key == "family")
    for row in (*rows["trials"], *rows["finalists"]):
        table.add_row(
            row.get("role", "trial"),
            row["family"],
            str(row["number"]),
            row["state"],
            f"{row['cost']:.3g}",
            f"{row['seconds']:.1f}",
            row["reason"] or "",
        )
    return table


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        kinds = sorted(set(value.values()))
        return kinds[0] if len(kinds) == 1 else ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
