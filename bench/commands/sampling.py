"""The command `sample`: samples of a kept model in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .options import Json, RunDir
from .output import print_json


def sample(
    run: RunDir,
    family: Annotated[str, typer.Option(metavar="F", help="Family that makes the samples.")],
    n: Annotated[int, typer.Option("--n", metavar="N", help="How many.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Images: .png or .npz; vectors: .csv, .parquet or .npz; text: .txt.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A sampling parameter's value; may be repeated."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of its kept models. Default: the first final's.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the samples.")] = 0,
    complete: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Examples to complete: an image, whose upper half is kept, .npz, or .txt."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw samples of a model that a run has kept, and write them to a file.

    Samples of a table are rows with its own columns, types and values. What a file cannot say of itself stands in
    FILE-metadata.json. With --complete, families that model one number after another keep what a file has of examples,
    and draw the rest.
    """
    from ..artifacts.drawn import sample as draw
    from ..runs.run_folder import RunFolder

    given = {}
    for text in changes or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text!r}; wanted NAME=VALUE")
        given[name.strip()] = value.strip()
    content = draw(RunFolder.open(run), family, n, out, changes=given, model=model, seed=seed, complete=complete)
    if as_json:
        print_json(content)
    else:
        print(out)
