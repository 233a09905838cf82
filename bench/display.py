"""What the command line shows: progress on standard error, tables on standard output."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .status import RunStatus, StudyStatus, read_status
from .storage import RunFolder

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_REFRESH = 2.0  # seconds between looks at the folder


class _Listener:
    """Prints events as lines, above a live table where there is a terminal."""

    def __init__(self, folder: RunFolder, quiet: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._folder = folder
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._seen = 0.0
        self.live: Live | None = None
        if self._console.is_terminal and not quiet:
            self.live = Live(console=self._console, auto_refresh=False, transient=True)

    def say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False, soft_wrap=True)
        self.update()

    def update(self) -> None:
        if self.live is not None and time.monotonic() - self._seen > _REFRESH:
            self._seen = time.monotonic()
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
    """Shows the status until the run is no longer going on."""
    from rich.live import Live

    with Live(refresh_per_second=4) as live:
        while True:
            status = read_status(folder)
            live.update(status_table(status))
            if status.state != "running":
                return
            time.sleep(_REFRESH)


def status_table(status: RunStatus) -> RenderableType:
    """Studies with trials done, budget spent, best so far, and the time left."""
    from rich.table import Table

    left = "" if status.seconds_left is None else f", about {_duration(status.seconds_left)} left"
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
    table.add_column("finals", justify="right")
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
        f"{study.finals}/{study.finals_expected}",
    ]


_COLUMNS = {
    "families": ("name", "group", "kinds", "conditional", "likelihood", "summary"),
    "data": ("name", "kind", "shape", "classes", "levels", "entropy", "licence"),
    "metrics": ("name", "group", "direction", "unit", "summary"),
}


def listing_table(what: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Rows of a listing in short; the whole of them is in `--json`. Broken families show their error."""
    from rich.table import Table

    table = Table()
    for key in _COLUMNS[what]:
        table.add_column(key, no_wrap=key == "name")
    for row in rows:
        cells = [_cell(row[key]) for key in _COLUMNS[what]]
        if row.get("error"):
            cells[-1] = f"[red]{row['error']}[/red]"
        table.add_row(*cells)
    return table


def export_table(rows: dict[str, list[dict[str, Any]]]) -> Table:
    """Trials and finalists in short; the whole of them is in `--json`."""
    from rich.table import Table

    table = Table()
    for key in ("", "family", "number", "state", "cost", "seconds", "reason"):
        numeric = key in ("number", "cost", "seconds")
        table.add_column(key, justify="right" if numeric else "left", no_wrap=key == "family")
    for kind, entries in (("trial", rows["trials"]), ("final", rows["finalists"])):
        for row in entries:
            table.add_row(
                kind,
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


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
