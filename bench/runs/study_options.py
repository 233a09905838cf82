"""What the schema of a study says of its options, and how values are read by it.

The command line, the Python API and study files ask here: for flags, help texts and types, and for checked values.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ...search_spaces.space import suggest
from ..errors import UsageError
from .option_values import OptionSpec
from .study_file import StudyFile


def specs() -> dict[str, OptionSpec]:
    """Every option's `OptionSpec`, by the name of its field, in the order of the fields."""
    return {name: _spec(name, field) for name, field in StudyFile.model_fields.items()}


def _spec(name: str, field: FieldInfo) -> OptionSpec:
    for entry in field.metadata:
        if isinstance(entry, OptionSpec):
            return entry
    raise TypeError(f"StudyFile.{name} has no OptionSpec in its annotation")


def changeable(config: StudyFile) -> dict[str, Any]:
    """The options that may change when a run is resumed, with their values."""
    return {name: getattr(config, name) for name, spec in specs().items() if not spec.identity}


def first_difference(one: StudyFile, other: StudyFile) -> str | None:
    """The first option by which two studies differ; None where both lead to the same records."""
    for name, spec in specs().items():
        if spec.identity and getattr(one, name) != getattr(other, name):
            return name
    return None


def required(name: str) -> bool:
    """Whether an option has to be given."""
    return StudyFile.model_fields[name].is_required() and not specs()[name].derived


def plain_type(name: str) -> Any:
    """The type of an option's value, None left out: `float` for `float | None`."""
    annotation = StudyFile.model_fields[name].annotation
    types = [part for part in get_args(annotation) if part is not NoneType]
    return types[0] if NoneType in get_args(annotation) and len(types) == 1 else annotation


def choices(name: str) -> tuple[str, ...]:
    """The values that an option may have; empty where they are not listed in its type."""
    kind = plain_type(name)
    return get_args(kind) if get_origin(kind) is Literal else ()


def flag(name: str) -> str:
    """The flag of the command line, or both flags of a switch, separated by a slash."""
    return specs()[name].flag or "--" + name.replace("_", "-")


def metavar(name: str) -> str:
    """What stands for the option's value in help texts and messages; "" for a switch and where its type says enough."""
    return specs()[name].metavar or "|".join(choices(name))


def help_text(name: str) -> str:
    """The help text, with the default where that is a plain value."""
    field, text = StudyFile.model_fields[name], specs()[name].help
    default = None if field.is_required() else field.default
    if default is None or default == ():
        return text
    if isinstance(default, bool):
        default = flag(name).split("/")[not default].strip("-").replace("-", " ")
    return f"{text} Default: {','.join(default) if isinstance(default, tuple) else default}."


def signature_with(
    function: Callable[..., Any], parameter: Callable[[str], inspect.Parameter], names: Iterable[str]
) -> inspect.Signature:
    """A function's signature with its `**options` replaced by one keyword for each named option.

    parameter: makes the keyword of an option.
    They stand between the function's positional parameters and its own keywords.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    keywords = [p for p in own if p.kind is inspect.Parameter.KEYWORD_ONLY]
    positional = [p for p in own if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    return signature.replace(parameters=[*positional, *map(parameter, names), *keywords])


@cache
def _adapter(study: type[BaseModel], name: str) -> Any:
    field = study.model_fields[name]
    annotation: Any = Annotated[(field.annotation, *field.metadata)]
    return TypeAdapter(annotation)


def read_options(content: Mapping[str, Any], where: str, base: Path) -> dict[str, Any]:
    """Each given value, checked by its own field and in the field's form; what is missing is not looked at.

    where: begins the message about a wrong one; "": nothing does.
    base: the folder from which relative paths are resolved.
    Raises UsageError with key, value and what was wanted.
    """
    values = {}
    for name, value in content.items():
        if name not in StudyFile.model_fields:
            raise UsageError(f"{_prefix(where)}unknown key {name!r}{suggest(name, StudyFile.model_fields)}")
        try:
            values[name] = _adapter(StudyFile, name).validate_python(value, context=base)
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(_prefix(where) + _fault([name, *first["loc"]], first)) from None
        if specs()[name].path:
            values[name] = tuple(str((base / entry).resolve()) for entry in values[name])
    return values


def parse_study(content: Mapping[str, Any], where: str) -> StudyFile:
    """A checked description. Raises UsageError with file, key and reason.

    where: as for `read_options`.
    """
    try:
        return StudyFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(_prefix(where) + _fault(first["loc"], first)) from None


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""


def _fault(location: Sequence[str | int], error: ErrorDetails) -> str:
    """One line about a value that pydantic refused."""
    key = ".".join(map(str, location))
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}{suggest(key, StudyFile.model_fields)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "literal_error":
        return f"unknown {key} {error['input']!r}{suggest(str(error['input']), choices(str(location[0])))}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "too_short":
        message = f"wanted at least {error['ctx']['min_length']}"
    return f"{key}: {message}; got {error['input']!r}" if key else message


def read_study(path: Path) -> dict[str, Any]:
    """The keys of a STUDY.toml, unchecked. Raises UsageError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
