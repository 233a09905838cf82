"""The options of a comparison: one schema for the command line, the Python API, STUDY.toml and the frozen study.toml.

An option is one field of `StudyFile`. Its annotation holds its type, its checks and an `OptionSpec` (help text, flags);
its default stands next to it. The command line (`commands/options.py`), the keywords of `gentune.compare` and the
keys of study files are all generated from there.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ...search_spaces.space import suggest
from ..data.reference import DataRef
from ..errors import UsageError
from .option_values import Names, Paths, constraints_of, reference_of, url_of

BudgetKind = Literal["trainings", "flops", "seconds"]
StoppingChoice = Literal["none", "curves", "halving"]
BUDGETS: tuple[BudgetKind, ...] = ("trainings", "flops", "seconds")


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


class StudyFile(BaseModel):
    """What to compare, under which budget. Exactly one of `trainings`, `flops` and `seconds` is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Annotated[
        DataRef,
        PlainValidator(reference_of),
        PlainSerializer(DataRef.to_value),
        OptionSpec("Data set to learn; see `gentune list data`.", "NAME"),
    ]
    families: Annotated[
        Names,
        Field(min_length=1),
        OptionSpec("Families separated by commas, or all; see `gentune list families`.", "a,b|all"),
    ]
    trainings: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False),
        OptionSpec("Budget of each study, in full trainings of the family's default setting.", "N"),
    ] = None
    flops: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False),
        OptionSpec("Budget of each study, in floating-point operations.", "X"),
    ] = None
    seconds: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False),
        OptionSpec("Budget of each study, in measured seconds of computing.", "S"),
    ] = None
    objective: Annotated[
        Names,
        Field(min_length=1),
        OptionSpec(
            "Metrics to tune, separated by commas. Default: fid (images), mmd (vectors).", "m1,m2", derived=True
        ),
    ]
    constraints: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(constraints_of),
        OptionSpec(
            "Bound that chosen settings have to keep on validation, next to the default guards; may be repeated. "
            "An empty list drops the guards.",
            "'METRIC <= X'",
            flag="--constraint",
            repeated=True,
        ),
    ] = None
    seeds: Annotated[
        int,
        Field(ge=1),
        OptionSpec(
            "Number of new seeds with which each incumbent is retrained for the test; more on a finished run are "
            "added.",
            "R",
            identity=False,
        ),
    ] = 5
    choice_seeds: Annotated[
        int,
        Field(ge=0),
        OptionSpec(
            "Number of new seeds with which the default and its challengers are retrained on validation, to choose "
            "among them. 0: the default stands until the trials make another better with a probability of 95%.",
            "R",
        ),
    ] = 3
    final_samples: Annotated[
        int | None,
        Field(ge=2),
        OptionSpec(
            "Number of samples that each retraining is scored on. Default: ten times the held-out examples, within "
            "3,600 and 10,000; fewer where sampling would take longer than training.",
            "N",
        ),
    ] = None
    thorough: Annotated[
        bool,
        OptionSpec(
            "Train each first final once more without one class, which it then has to detect; or leave that out.",
            flag="--thorough/--brief",
        ),
    ] = False
    repeats: Annotated[
        int, Field(ge=1), OptionSpec("Repetitions of the whole tuning, which measure its own variance.", "R")
    ] = 1
    sampler: Annotated[
        Literal["bayesian", "random"],
        OptionSpec("What proposes settings: bayesian, or random (a scrambled Sobol sequence) as a control."),
    ] = "bayesian"
    seed: Annotated[int, Field(ge=0), OptionSpec("Seed of all random numbers.", "S")] = 0
    plugins: Annotated[
        Paths,
        OptionSpec(
            "Python file that registers families, data, metrics or executors; may be repeated.",
            "FILE",
            flag="--plugin",
            path=True,
        ),
    ] = ()
    warm_start: Annotated[
        Paths,
        OptionSpec(
            "Earlier run whose trials of the same families the proposals learn from; may be repeated.",
            "DIR",
            path=True,
        ),
    ] = ()
    two_speeds: Annotated[
        bool,
        OptionSpec(
            "Start trials from kept trainings, sampled with other parameters or trained further; or train from scratch "
            "for every setting.",
            flag="--two-speeds/--one-speed",
        ),
    ] = False
    stopping: Annotated[
        StoppingChoice,
        OptionSpec(
            "Stop trainings early, with --two-speeds: curves (by a surrogate of learning curves), halving (successive "
            "halving), or none."
        ),
    ] = "none"
    store: Annotated[
        str | None,
        AfterValidator(url_of),
        OptionSpec("URL of the Optuna store. Default: store.db in the run folder.", "URL"),
    ] = None
    workers: Annotated[
        int | None,
        Field(ge=1),
        OptionSpec("Worker processes. Default: one per CUDA device, or else one per CPU core.", "K", identity=False),
    ] = None
    executor: Annotated[str, OptionSpec("Where trials run; see `gentune list executors`.", "NAME", identity=False)] = (
        "local"
    )
    devices: Annotated[Names, OptionSpec("auto, cpu, or devices such as cuda:0,cuda:1.", "a,b", identity=False)] = (
        "auto",
    )

    @model_validator(mode="after")
    def _agrees(self) -> StudyFile:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"one of trainings, flops and seconds is wanted, got {' and '.join(given) or 'none'}")
        if len(set(self.families)) != len(self.families):
            raise ValueError(f"a family is named twice: {', '.join(self.families)}")
        if self.warm_start and self.sampler == "random":
            raise ValueError("the random sampler learns nothing from a warm start; drop one of the two")
        if self.stopping != "none" and not (self.two_speeds and self.sampler == "bayesian"):
            raise ValueError("stopped trainings are kept to be trained further, which takes two speeds")
        return self

    @property
    def budget(self) -> tuple[BudgetKind, float]:
        """Which budget counts, and how much of it each study has."""
        for kind in BUDGETS:
            amount = getattr(self, kind)
            if amount is not None:
                return kind, float(amount)
        raise AssertionError("validated to have a budget")

    def to_toml(self) -> str:
        """TOML text from which the same description is read."""
        content = self.model_dump(mode="json", exclude_none=True)
        return tomli_w.dumps(content)

    def first_difference(self, other: StudyFile) -> str | None:
        """The first option by which the two are different studies; None where both lead to the same records."""
        for name, spec in specs().items():
            if spec.identity and getattr(self, name) != getattr(other, name):
                return name
        return None


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
            values[name] = _adapter(StudyFile, name).validate_python(value)
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
