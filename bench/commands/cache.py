"""The command `cache`: the kept trainings and decoded data, which every run shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .options import Json
from .output import console, print_json


def cache(
    run: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Run folder: only what it has pinned.")] = None,
    trim: Annotated[
        float | None, typer.Option(metavar="GIB", help="Remove the least recently used down to this size.")
    ] = None,
    trim_data: Annotated[
        float | None, typer.Option(metavar="GIB", help="Remove the least recently used decoded data down to this size.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the kept trainings and the decoded data, which every run shares, and trim them.

    GENTUNE_CACHE_GIB sets the size that trainings may take (20; 0 keeps none), GENTUNE_DATA_CACHE_GIB data's (50).
    """
    from ..evaluators import default_cache
    from ..runs.run_folder import RunFolder
    from .kept_trainings import overview, overview_table, pinned_by, pinned_table

    if run is not None and (trim is not None or trim_data is not None):
        raise UsageError("trimming is for the whole cache; leave the run folder out")
    if run is None:
        content = overview(default_cache(), trim_gib=trim, trim_data_gib=trim_data)
        table = overview_table
    else:
        content = pinned_by(default_cache(), RunFolder.open(run).path)
        table = pinned_table
    if as_json:
        print_json(content)
    else:
        console().print(table(content))
