"""Commands that read a run: `status`, `report`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from ..errors import UsageError
from .options import Json, RunDir
from .output import console, print_json, print_message, split_names

if TYPE_CHECKING:
    from ..runs.run_folder import RunFolder


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
    from ...reports import FORMATS
    from ..runs.run_folder import RunFolder

    wanted = split_names(formats)
    for name in wanted or ():
        if name not in FORMATS:
            from ...search_spaces.space import suggest

            raise UsageError(f"unknown format {name!r}{suggest(name, FORMATS)}")
    folders = [RunFolder.open(run) for run in runs]
    paths = [_report(folder, wanted) for folder in folders]
    if as_json:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            print(path)


def _report(folder: RunFolder, wanted: list[str] | None) -> Path:
    """Writes a run's report; on a disk that cannot be written the one that is there serves, where it is current."""
    from ...reports import current_report, write_report

    try:
        return write_report(folder, wanted)
    except OSError as error:
        page = current_report(folder)
        if page is None:
            raise
        print_message(f"{error.filename}: {error.strerror}; the report that is there is current")
        return page


def export(
    run: RunDir,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="json|csv|parquet",
            help="Write files, one for each table; json without --out: print the document.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the files. Default: DIR/export.")] = None,
    as_json: Json = False,
) -> None:
    """Print a run's trials and finalists, or write them to files."""
    from ..runs.export import ExportForm, write_tables
    from ..runs.export import export as rows_of
    from ..runs.run_folder import RunFolder

    forms = get_args(ExportForm)
    if form is not None and form not in forms:
        from ...search_spaces.space import suggest

        raise UsageError(f"unknown format {form!r}{suggest(form, forms)}")
    folder = RunFolder.open(run)
    rows = rows_of(folder)
    if form in (None, "json") and out is None:
        if as_json or form == "json":
            print_json(rows)
        else:
            from .display import export_table

            console().print(export_table(rows))
        return
    chosen: ExportForm = next(f for f in forms if f == (form or "json"))
    try:
        written = write_tables(rows, chosen, out or folder.path / "export")
    except OSError as error:
        elsewhere = "" if out else "; --out names another folder"
        raise UsageError(f"{error.filename}: {error.strerror}{elsewhere}") from None
    if as_json:
        print_json([str(path) for path in written])
    else:
        for path in written:
            print(path)
