"""The command `evaluate`: scores of external samples."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import Json
from .output import console, print_json, split_names


def evaluate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Folders of images, .npy or .npz files.")],
    data: Annotated[
        str, typer.Option("--data", metavar="NAME", help="Data set to score against; see `gentune list data`.")
    ],
    metrics: Annotated[
        str | None,
        typer.Option(metavar="a,b", help="Metrics separated by commas. Default: all that samples alone allow."),
    ] = None,
    evaluator: Annotated[
        str,
        typer.Option(
            metavar="NAME[:WEIGHTS]",
            help="primary, second, or one of `gentune list evaluators`, such as inception:FILE.",
        ),
    ] = "primary",
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="The same as NAME:FILE.")] = None,
    split: Annotated[
        str, typer.Option(metavar="test|validation", help="Split to score against: test or validation.")
    ] = "test",
    count: Annotated[int | None, typer.Option(metavar="N", help="Most examples of either side. Default: 2000.")] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed by which the larger side is subsampled.")] = 0,
    as_json: Json = False,
) -> None:
    """Score samples made anywhere against a data set; several paths give a leaderboard.

    Integers are 8-bit images; floats are images in [-1, 1], or vectors in original units. Both sides have equal counts.
    """
    from ..evaluate.external_samples import evaluate as scores_of

    rows = scores_of(
        paths,
        data,
        metrics=split_names(metrics),
        evaluator=evaluator,
        weights=weights,
        split=split,
        count=count,
        seed=seed,
    )
    for row in rows:
        for note in row.notes:
            print(f"gentune: note: {note}", file=sys.stderr)
    if as_json:
        print_json([row.as_json() for row in rows])
        return
    from .display import scores_table

    out = console()
    out.print(scores_table([row.as_json() for row in rows], out.width))
