"""Commands that run a comparison: `compare`, `tune`, `resume`. Their `**options` are those of the study file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Json, Quiet, RunDir
from .output import console, print_json, print_message

if TYPE_CHECKING:
    from ..runs.run_folder import RunFolder


def compare(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY.toml]", help="Study file; options given here win over it.")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder. Default: runs/DATA.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Tune several families under one budget, retrain the best settings with new seeds, and write a leaderboard.

    The same command on an unfinished folder continues where it stopped.
    """
    _begin(study, options, out, quiet=quiet, as_json=as_json)


def tune(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="Family; see `gentune list families`.")],
    *,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder. Default: runs/DATA-FAMILY.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Tune one family, and compare the result with the family's default setting."""
    _begin(None, {**options, "families": family}, out, suffix=f"-{family}", quiet=quiet, as_json=as_json)


def resume(run: RunDir, *, quiet: Quiet = False, as_json: Json = False, **options: Any) -> None:
    """Continue an interrupted run; nothing that had finished is repeated."""
    from ..runs.run_folder import RunFolder

    _drive(RunFolder.open(run), options, quiet=quiet, as_json=as_json)


def _begin(
    study: Path | None,
    options: Mapping[str, Any],
    out: Path | None,
    *,
    suffix: str = "",
    quiet: bool,
    as_json: bool,
) -> None:
    """Checks the description, makes the run folder, and only then imports what trains.

    out: the run folder; None: runs/, the name of the data set, and the suffix.
    """
    from ..driver.run_setup import describe
    from ..driver.warm_start import make_folder
    from ..runs.study_options import changeable

    config = describe(study, options)
    folder = make_folder(out or Path("runs") / f"{config.data.label}{suffix}", config)
    _drive(folder, changeable(config), quiet=quiet, as_json=as_json)


def _drive(folder: RunFolder, changes: Mapping[str, Any], *, quiet: bool, as_json: bool) -> None:
    """Runs a folder's comparison to its end and prints the leaderboard."""
    from ..driver.run_setup import drive
    from .display import live_status

    try:
        with live_status(folder, quiet=quiet) as listener:
            drive(folder, changes, listener)
    except KeyboardInterrupt:
        print_message(f"interrupted; `gentune resume {folder.path}` continues from here")
        raise
    from ...reports import current_report, text_table, write_report

    page = current_report(folder) or write_report(folder)
    leaderboard = json.loads((folder.report_path / "leaderboard.json").read_text(encoding="utf-8"))
    if as_json:
        print_json(leaderboard)
        return
    out = console()
    out.print(text_table(leaderboard, out.width))
    out.print(str(page), soft_wrap=True, highlight=False)
