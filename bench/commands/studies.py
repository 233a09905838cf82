"""Commands that run a comparison: `compare`, `tune`, `resume`. Their `**options` are those of the study file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import WorkError
from .options import DryRun, Json, Quiet, RunDir
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
    dry_run: DryRun = False,
    **options: Any,
) -> None:
    """Tune several families under one budget, retrain the best settings with new seeds, and write a leaderboard.

    The same command on an unfinished folder continues where it stopped.
    """
    if dry_run:
        _tell_plan(study, options, as_json=as_json)
        return
    _begin(study, options, out, quiet=quiet, as_json=as_json)


def plan(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY.toml]", help="Study file; options given here win over it.")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder, which is not made.")] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Tell what `gentune compare` would do with the same arguments, and how long it would take here.

    Nothing is trained but a few steps, from which times are predicted, and nothing is written.
    """
    _tell_plan(study, options, as_json=as_json)


def _tell_plan(study: Path | None, options: Mapping[str, Any], *, as_json: bool) -> None:
    from ..driver.run_setup import describe

    config = describe(study, options)
    from ..driver.plan import plan_of
    from .display import plan_table

    found = plan_of(config)
    if as_json:
        print_json(found.as_json())
    else:
        console().print(plan_table(found))


def tune(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="Family; see `gentune list families`.")],
    *,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder. Default: runs/DATA-FAMILY.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    dry_run: DryRun = False,
    **options: Any,
) -> None:
    """Tune one family, and compare the result with the family's default setting."""
    options = {**options, "families": family}
    if dry_run:
        _tell_plan(None, options, as_json=as_json)
        return
    _begin(None, options, out, suffix=f"-{family}", quiet=quiet, as_json=as_json)


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
    from ...reports import text_table

    leaderboard, page = _written(folder)
    if as_json:
        print_json(leaderboard)
    else:
        out = console()
        out.print(text_table(leaderboard, out.width))
        if page is not None:
            out.print(str(page), soft_wrap=True, highlight=False)
    lost = {row["family"]: row["failure"] for row in leaderboard["rows"] if row["failure"]}
    if lost:
        raise WorkError("; ".join(f"every trial of {family} failed ({reason})" for family, reason in lost.items()))


def _written(folder: RunFolder) -> tuple[Mapping[str, Any], Path | None]:
    """A run's leaderboard, and its page; no page where there is none yet and the disk cannot be written."""
    from ...reports import build_leaderboard, current_report, write_report

    try:
        page = current_report(folder) or write_report(folder)
    except OSError as error:
        print_message(f"the report cannot be written: {error.filename}: {error.strerror}")
        return build_leaderboard(folder).content, None
    return json.loads((folder.report_path / "leaderboard.json").read_text(encoding="utf-8")), page
