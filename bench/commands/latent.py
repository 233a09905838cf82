"""The command `latent`: pictures of a model's codes."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Json, RunDir
from .output import print_json


def latent(
    run: RunDir,
    family: Annotated[str, typer.Option(metavar="F", help="Family whose codes are shown.")],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of its kept models. Default: the first final's.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the codes and classes that are drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Show a model's codes in pictures: paths between them, each by itself, arithmetic on them, and all on one plane.

    Writes artifacts/latent/ in the run folder, and a section of the report where there is one.
    """
    from ..artifacts import latent_report
    from ..runs.run_folder import RunFolder

    folder = RunFolder.open(run)
    content = latent_report.latent(folder, family, model=model, seed=seed)
    if (folder.report_path / "index.html").is_file():
        from ...reports import write_report

        write_report(folder)
    if as_json:
        print_json(content)
        return
    for path in latent_report.written(folder, content):
        print(path)
