"""The command line's entry point: the commands by group, and exit codes.

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ..errors import UsageError, WorkError
from . import cache, data, evaluation, latent, listing, runs, sampling, studies
from .options import add_study_command
from .output import accept_any_encoding, print_message

app = typer.Typer(
    name="gentune",
    help="Tune and compare generative models under equal budgets, and publish only what holds up.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ... import __version__

        print(f"gentune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


add_study_command(app, studies.compare)
add_study_command(app, studies.tune, without=("families",))
add_study_command(app, studies.plan)
add_study_command(app, studies.resume, changeable_only=True)
for _command in (
    runs.status,
    runs.report,
    runs.export,
    evaluation.evaluate,
    cache.cache,
    latent.latent,
    sampling.sample,
):
    app.command()(_command)
app.command("list")(listing.list_)
app.add_typer(data.app, name="data")


# What a disk refuses, however right the program is.
_OF_DISKS = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EIO}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits with 0 done, 1 failed, 2 wrong use, 130 interrupted.

    arguments: of the command line, without the program's name; None: those of this process.
    """
    # One thread, whatever the machine: several workers run at once. Set before torch is imported.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    accept_any_encoding()
    try:
        code = app(args=arguments, standalone_mode=False)
    except UsageError as error:
        code = _complain(str(error), 2)
    except WorkError as error:
        code = _complain(str(error), 1)
    except typer.TyperException as error:
        code = _complain(error.format_message(), error.exit_code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stdout = None
        code = 1
    except OSError as error:
        if error.errno not in _OF_DISKS:
            raise
        code = _complain(f"{error.filename or 'the disk'}: {error.strerror}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str, code: int) -> int:
    print_message(message)
    return code
