"""What stands in the fields of `StudyFile`: their specs, and values as people give them in the form that it has.

Each function raises ValueError with what was wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo

from ..data.locate import locate
from ..data.reference import DataRef
from ..errors import UsageError
from .constraints import Constraint, parse_constraint


@dataclass(frozen=True)
class OptionSpec:
    """What the command line and the rules of run folders need to know of a field besides its type and its default.

    help: one or two sentences. A default that is a plain value is appended by `help_text`.
    metavar: stands for the value in help texts and error messages; "": the choices of a Literal, or the type.
    flag: the flag of the command line; "": `--` and the name with hyphens. A switch has two, separated by a slash.
    identity: whether two runs that differ in it are of different studies; else it may change when a run is resumed.
    derived: whether `run_setup.describe` derives it from the data where it is not given; the frozen file has it.
    path: whether it lists files or folders; relative ones in a study file are resolved from that file's folder.
    repeated: whether the flag takes one entry of a list and may be repeated, as those of paths are.
    """

    help: str
    metavar: str = ""
    flag: str = ""
    identity: bool = True
    derived: bool = False
    path: bool = False
    repeated: bool = False


def names_of(value: object) -> tuple[object, ...]:
    """A list of names, also from text with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Sequence):
        return tuple(value)
    raise ValueError("wanted names, in a list or separated by commas")


def paths_of(value: object) -> tuple[object, ...]:
    """A list of paths as text, also from a single one."""
    if isinstance(value, str | Path):
        return (str(value),)
    if isinstance(value, Sequence):
        return tuple(str(entry) if isinstance(entry, Path) else entry for entry in value)
    raise ValueError("wanted a path or a list of paths")


def constraints_of(value: object) -> tuple[str, ...] | None:
    """Constraints in the form in which they are shown; None: the guards alone."""
    if value is None:
        return None
    return tuple(dict.fromkeys(str(_parsed(text)) for text in names_of(value)))


def _parsed(text: object) -> Constraint:
    try:
        return parse_constraint(str(text))
    except UsageError as error:
        raise ValueError(str(error)) from None


def reference_of(value: object, info: ValidationInfo) -> DataRef:
    """A data reference from text, a path or a table, as people give it.

    info: its context is the folder from which relative paths are taken; None: the value is as `DataRef.to_value` gives
        it, and no path.
    """
    if info.context is not None:
        return locate(value, info.context)
    try:
        return DataRef.from_value(value)
    except UsageError as error:
        raise ValueError(str(error)) from None


def url_of(value: str | None) -> str | None:
    """A URL of an Optuna store."""
    if value is not None and "://" not in value:
        raise ValueError("wanted a URL, for example sqlite:///path/to/store.db")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(names_of)]
Paths = Annotated[tuple[str, ...], BeforeValidator(paths_of)]
