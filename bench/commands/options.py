"""Options of commands: those that several share, and those that are generated from the study file's schema."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

RunDir = Annotated[Path, typer.Argument(metavar="DIR", help="Run folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell the plan, as `gentune plan` does, and do nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


def add_study_command(
    app: typer.Typer, function: Callable[..., None], *, without: Collection[str] = (), changeable_only: bool = False
) -> None:
    """Adds a command whose `**options` are the study file's options.

    without: names of options that the command does not take.
    changeable_only: takes only those that may change when a run is resumed.

    The options are generated when the command is called: the schema imports pydantic, which takes longer than
    everything else that `gentune --help` needs.
    """

    class StudyCommand(TyperCommand):
        def make_context(self, *arguments: Any, **extra: Any) -> Any:
            from ..runs.study_options import signature_with, specs

            names = [
                name
                for name, spec in specs().items()
                if name not in without and not (changeable_only and spec.identity)
            ]

            def call(**values: Any) -> None:
                function(**values)

            call.__doc__ = function.__doc__
            vars(call)["__signature__"] = signature_with(function, _parameter, names)
            whole = typer.Typer(add_completion=False, rich_markup_mode="rich")
            whole.command(self.name)(call)
            return typer.main.get_command(whole).make_context(*arguments, **extra)

    # Its callback is never called: `make_context` puts the command with all options in its place.
    app.command(function.__name__, cls=StudyCommand, help=inspect.getdoc(function))(lambda: None)


def _parameter(name: str) -> inspect.Parameter:
    """An option of `StudyFile` as typer takes it."""
    from ..runs.study_options import flag, help_text, metavar, plain_type, specs

    kind = plain_type(name)
    value: Any = kind if kind in (bool, int, float) else str
    if specs()[name].path or specs()[name].repeated:
        value = list[Path] if specs()[name].path else list[str]
    option = typer.Option(flag(name), help=help_text(name), metavar=metavar(name) or None)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[value | None, option]
    )
