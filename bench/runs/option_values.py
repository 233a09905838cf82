"""What stands in the fields of `StudyFile`: their specs, and values as people give them in the form that it has.

Each function raises ValueError with what was wanted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo

from ...search_spaces.overrides import KEYS as OVERRIDES
from ...search_spaces.overrides import laid_over
from ...search_spaces.space import suggest
from ..data.locate import locate
from ..data.reference import DataRef
from ..errors import UsageError
from ..registry.evaluators import chosen, with_absolute_path
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
    tables: whether it is tables by name: those given on the command line are laid over those of a study file.
    """

    help: str
    metavar: str = ""
    flag: str = ""
    identity: bool = True
    derived: bool = False
    path: bool = False
    repeated: bool = False
    tables: bool = False


def names_of(value: object) -> tuple[object, ...]:
    """A list of names, also from text with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Sequence):
        return tuple(value)
    raise ValueError("wanted names, in a list or separated by commas")


def entries_of(value: object) -> tuple[object, ...]:
    """A list, also from its only entry; texts are taken as they are, commas included."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence):
        return tuple(value)
    raise ValueError("wanted a table, a text or a list of texts")


def paths_of(value: object) -> tuple[object, ...]:
    """A list of paths as text, also from a single one."""
    if isinstance(value, str | Path):
        return (str(value),)
    if isinstance(value, Sequence):
        return tuple(str(entry) if isinstance(entry, Path) else entry for entry in value)
    raise ValueError("wanted a path or a list of paths")


def constraints_of(value: object) -> tuple[str, ...] | None:
    """Constraints in the form in which they are shown; None: the guards alone; "none": not even these."""
    if value is None:
        return None
    given = names_of(value)
    if given == ("none",):
        return ()
    if "none" in given:
        raise ValueError("none drops all constraints, the guards too; it stands alone")
    return tuple(dict.fromkeys(str(_parsed(text)) for text in given))


def evaluators_of(value: object, info: ValidationInfo) -> tuple[str, ...] | None:
    """One or two evaluators, each NAME or NAME:WEIGHTS, with absolute paths; None: the data's default ones.

    info: its context is the folder from which relative paths are taken; None: they are absolute already.
    """
    if value is None:
        return None
    texts = [str(text) for text in names_of(value)]
    if info.context is not None:
        texts = [with_absolute_path(text, info.context) for text in texts]
    try:
        named = tuple(str(chosen(text)) for text in texts)
    except UsageError as error:
        raise ValueError(str(error)) from None
    if not 1 <= len(named) <= 2:
        raise ValueError(f"wanted one evaluator or two, got {len(named)}")
    if len(set(named)) != len(named):
        raise ValueError("wanted two different evaluators: the second looks at what the first has chosen")
    return named


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


def space_of(value: object) -> dict[str, dict[str, dict[str, Any]]] | None:
    """Changes of search spaces by family, parameter and key, also from texts FAMILY.NAME.KEY=VALUE; None: none."""
    return _tables(value, ("FAMILY", "NAME", "KEY"), OVERRIDES) or None


def start_of(value: object) -> dict[str, Any] | None:
    """A setting by family and parameter, or a list of settings by family; also from texts FAMILY.NAME=VALUE, of one
    setting; None: no settings."""
    if not isinstance(value, Mapping):
        return _tables(value, ("FAMILY", "NAME"), None) or None
    return {str(name): _settings_of(entry, str(name)) for name, entry in value.items()} or None


def _settings_of(value: object, family: str) -> Any:
    """One setting, or a list of them, as it is given."""
    if isinstance(value, list | tuple):
        return [_checked_tables(entry, ("NAME",), None, f"{family}[{i}]") for i, entry in enumerate(value)]
    return _checked_tables(value, ("NAME",), None, family)


def tables_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables by name, of an option, with others laid over them name by name; they replace lists of tables."""
    merged = dict(below)
    for name, value in above.items():
        if isinstance(value, list) or isinstance(below.get(name), list):
            merged[name] = value
            continue
        innermost = not any(isinstance(entry, Mapping) for entry in value.values())
        merged[name] = laid_over(below.get(name, {}), value) if innermost else tables_over(below.get(name, {}), value)
    return merged


def _tables(value: object, form: Sequence[str], keys: Sequence[str] | None) -> dict[str, Any]:
    """Nested tables, one level for each name of the form. keys: those that the innermost may have; None: any."""
    if not isinstance(value, Mapping):
        value = _nested(entries_of(value), form, keys)
    return _checked_tables(value, form, keys, "")


def _nested(texts: Sequence[object], form: Sequence[str], keys: Sequence[str] | None) -> dict[str, Any]:
    """Texts such as FAMILY.NAME.KEY=VALUE as nested tables."""
    shown = ".".join(form)
    tables: dict[str, Any] = {}
    for text in texts:
        path, found, given = str(text).partition("=")
        # A family's name may have dots of its own.
        names = [part.strip() for part in path.strip().rsplit(".", len(form) - 1)]
        if not found or len(names) != len(form) or not all(names) or not given.strip():
            raise ValueError(f"wanted {shown}=VALUE, not {str(text)!r}")
        inner = tables
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
        several = keys is not None and names[-1] in ("choices", "likely")
        parts = [_plain(part.strip()) for part in given.split(",")] if several else _plain(given.strip())
        if names[-1] in inner:
            raise ValueError(f"{path.strip()} is given twice")
        inner[names[-1]] = parts
    return tables


def _checked_tables(value: object, form: Sequence[str], keys: Sequence[str] | None, at: str) -> Any:
    """A table of tables as far as the form goes, then plain values. `at`: the names that lead there."""
    if not form:
        entries = value if isinstance(value, list | tuple) else [value]
        for entry in entries:
            finite = not isinstance(entry, float) or math.isfinite(entry)
            if not isinstance(entry, int | float | str) or not finite:
                raise ValueError(f"{at} is {entry!r}; wanted finite numbers, texts, true or false")
        return list(value) if isinstance(value, list | tuple) else value
    if not isinstance(value, Mapping):
        raise ValueError(f"{at or 'it'} is {value!r}; wanted a table with {form[0]} = …")
    for name in value:
        if len(form) == 1 and keys is not None and name not in keys:
            raise ValueError(f"{at}: unknown key {name!r}{suggest(str(name), keys)}")
    return {str(k): _checked_tables(v, form[1:], keys, f"{at}.{k}" if at else str(k)) for k, v in value.items()}


def _plain(text: str) -> bool | int | float | str:
    """A value of the command line: a number or a switch where it reads as one, else the text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def url_of(value: str | None) -> str | None:
    """A URL of an Optuna store."""
    if value is not None and "://" not in value:
        raise ValueError("wanted a URL, for example sqlite:///path/to/store.db")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(names_of)]
Paths = Annotated[tuple[str, ...], BeforeValidator(paths_of)]
