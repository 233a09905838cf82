"""Commands that read a run: `status`, `report`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .options import Json, RunDir
from .output import console, print_json, split_names


def status(
    run: RunDir,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the run ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show the progress of a run."""
    from ..runs.run_folder import RunFolder
    from ..runs.status import read_status
    from .display import status_table, watch_status

    folder = RunFolder.open(run)
    if watch and not as_json:
        watch_status(folder)
        return
    current = read_status(folder)
    if as_json:
        print_json(current.as_json())
    else:
        console().print(status_table(current))


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders.")],
    formats: Annotated[
        str | None,
        typer.Option("--format", metavar="a,b", help="html, md, csv, json, tex, separated by commas. Default: all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report and the leaderboards from what a run has recorded so far."""
    from ...reports import FORMATS, write_report
    from ..runs.run_folder import RunFolder

    wanted = split_names(formats)
    for name in wanted or ():
        if name not in FORMATS:
            from ...search_spaces.space import suggest

            raise UsageError(f"unknown format {name!r}{suggest(name, FORMATS)}")
    folders = [RunFolder.open(run) for run in runs]
    paths = [write_report(folder, wanted) for folder in folders]
    if as_json:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            print(path)


def export(run: RunDir, as_json: Json = False) -> None:
    """Print a run's trials and finalists."""
    from ..runs.export import export as rows_of
    from ..runs.run_folder import RunFolder
    from .display import export_table

    rows = rows_of(RunFolder.open(run))
    if as_json:
        print_json(rows)
    else:
        console().print(export_table(rows))
