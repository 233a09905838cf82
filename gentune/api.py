"""The Python interface: what the command line does, with tables and models as results."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from .bench.data import DataRef
from .bench.data.given import reference_to
from .bench.driver.run_setup import describe, drive
from .bench.driver.warm_start import make_folder
from .bench.errors import UsageError
from .bench.runs.export import export, flat_rows
from .bench.runs.run_folder import RunFolder
from .bench.runs.study_file import StudyFile
from .bench.runs.study_options import changeable, help_text, plain_type, required, signature_with, specs
from .search_spaces.space import suggest

if TYPE_CHECKING:
    import pandas as pd

    from .models.base import GenerativeModel

P = ParamSpec("P")


class Run:
    """A run folder as tables and models."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial; parameters and metrics in columns `params.NAME` and `metrics.NAME`."""
        return _table(export(self.folder)["trials"])

    @property
    def finalists(self) -> pd.DataFrame:
        """One row for everything that was trained besides the trials, by `role`: "choice" on validation, "final" and
        "default" on the test split, "reference" on both."""
        return _table(export(self.folder)["finalists"])

    @property
    def leaderboard(self) -> dict[str, Any]:
        """The leaderboard's JSON document."""
        path = self.folder.report_path / "leaderboard.json"
        if not path.is_file():
            raise UsageError(f"{self.path} has no leaderboard yet; `gentune report {self.path}` writes one")
        return json.loads(path.read_text(encoding="utf-8"))

    def model(self, family: str, *, seed: int = 0, repeat: int = 0, incumbent: int = 0) -> GenerativeModel:
        """A finalist as it was trained.

        family: its name.
        seed: which of the retrainings, counted from 0.
        repeat: which repetition of the tuning.
        incumbent: which of the study's incumbents; several objectives have several.
        Raises UsageError for a model that the run does not have.
        """
        from .bench.training.checkpoints import load_model

        name = f"final-{family}-{repeat}-{incumbent}-{seed:03d}"
        try:
            return load_model(self.folder.artifact("models", name))[0]
        except FileNotFoundError:
            saved = sorted(p.name for p in self.folder.artifact("models").glob("*"))
            raise UsageError(f"{self.path} has no model {name!r}{suggest(name, saved) or '; it has none'}") from None


class _Silent:
    def say(self, line: str) -> None:
        """Nobody listens."""

    def update(self) -> None:
        """Nobody looks."""


def _with_study_options(without: Collection[str] = ()) -> Callable[[Callable[P, Run]], Callable[P, Run]]:
    """A decorator: shows the study file's options in the function's signature and docstring, and checks its keywords.

    without: names of options that the function does not take.
    """
    names = [name for name in specs() if name not in without]

    def decorate(function: Callable[P, Run]) -> Callable[P, Run]:
        signature = signature_with(function, _keyword, names)

        @wraps(function)
        def checked(*arguments: P.args, **keywords: P.kwargs) -> Run:
            for name in keywords:
                if name not in signature.parameters:
                    near = suggest(name, signature.parameters)
                    raise UsageError(f"gentune.{function.__name__} has no option {name!r}{near}")
            return function(*arguments, **keywords)

        lines = [f"    {name}: {help_text(name)}" for name in names]
        checked.__doc__ = f"{inspect.getdoc(function)}\n\nOptions:\n" + "\n".join(lines)
        vars(checked)["__signature__"] = signature
        return checked

    return decorate


def _keyword(name: str) -> inspect.Parameter:
    """An option of `StudyFile` as a keyword."""
    field, taken = StudyFile.model_fields[name], plain_type(name)
    if taken == tuple[str, ...]:
        taken = str | Path | Sequence[str | Path] if specs()[name].path else str | Sequence[str]
    elif taken is DataRef:
        taken = Any  # names, paths, tables of options, and data themselves
    default = inspect.Parameter.empty if required(name) else None if field.is_required() else field.default
    annotation = taken | None if default is None else taken
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


@_with_study_options()
def compare(*, out: str | Path, **options: Any) -> Run:
    """`gentune compare`: runs or resumes a comparison and returns it.

    out: the run folder.
    Lists of names may be text with commas; None stands for an option's default. `data` may also be the data themselves:
    an array or tensor of examples, a pair of these and labels, a pandas frame, or a torch Dataset. They are kept under
    the cache.
    Raises UsageError for an unknown option or a wrong value.
    """
    if not isinstance(options.get("data"), str | Path | Mapping | DataRef | None):
        options["data"] = reference_to(options["data"])
    config = describe(None, options, keywords=True)
    folder = make_folder(out, config)
    drive(folder, changeable(config), _Silent())
    from .reports import current_report, write_report

    if current_report(folder) is None:
        write_report(folder)
    return Run(folder)


@_with_study_options(without=("families",))
def tune(family: str, *, out: str | Path, **options: Any) -> Run:
    """`gentune tune`: `compare` with one family.

    family: its name.
    out: the run folder.
    Raises UsageError for an unknown option or a wrong value.
    """
    return compare(families=[family], out=out, **options)


def load(path: str | Path) -> Run:
    """An existing run, finished or not. Raises UsageError for a path that is no run folder."""
    return Run(RunFolder.open(path))


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(flat_rows(rows))
