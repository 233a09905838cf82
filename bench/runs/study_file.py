"""A comparison's description: the STUDY.toml that people write and the study.toml that a run folder freezes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)

from ...search_spaces.space import suggest
from ..data.reference import DataRef
from ..errors import UsageError

BudgetKind = Literal["trainings", "flops", "seconds"]
StoppingChoice = Literal["none", "curves", "halving"]
BUDGETS: tuple[BudgetKind, ...] = ("trainings", "flops", "seconds")

# What may differ between the command that began a run and the one that takes it up again.
NOT_IDENTITY = frozenset({"workers", "devices"})


def _reference(value: object) -> DataRef:
    try:
        return DataRef.from_value(value)
    except UsageError as error:
        raise ValueError(str(error)) from None


class StudyFile(BaseModel):
    """What to compare, under which budget. Exactly one of `trainings`, `flops` and `seconds` is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Annotated[DataRef, PlainValidator(_reference), PlainSerializer(DataRef.to_value)]
    families: tuple[str, ...] = Field(min_length=1)
    trainings: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    flops: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    objective: tuple[str, ...] = Field(min_length=1)
    seeds: int = Field(default=3, ge=1)
    repeats: int = Field(default=1, ge=1)
    sampler: Literal["bayesian", "random"] = "bayesian"
    seed: int = Field(default=0, ge=0)
    plugins: tuple[str, ...] = ()
    warm_start: tuple[str, ...] = ()
    two_speeds: bool = False
    stopping: StoppingChoice = "none"
    store: str | None = None
    workers: int | None = Field(default=None, ge=1)
    devices: tuple[str, ...] = ("auto",)

    @model_validator(mode="after")
    def _one_budget(self) -> StudyFile:
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

    def is_same_study(self, other: StudyFile) -> bool:
        """Whether two descriptions lead to the same records (workers and devices do not count)."""
        return self.model_dump(exclude=set(NOT_IDENTITY)) == other.model_dump(exclude=set(NOT_IDENTITY))


def parse_study(content: dict[str, Any], where: str) -> StudyFile:
    """A checked description. Raises UsageError with file, key and reason."""
    try:
        return StudyFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = suggest(key, StudyFile.model_fields)
            raise UsageError(f"{where}: unknown key {key!r}{hint}") from None
        if first["type"] == "missing":
            raise UsageError(f"{where}: {key} is missing") from None
        message = first["msg"].removeprefix("Value error, ")
        got = "" if not key else f"; got {first['input']!r}"
        raise UsageError(f"{where}: {key + ': ' if key else ''}{message}{got}") from None


def read_study(path: Path) -> dict[str, Any]:
    """The keys of a STUDY.toml, unchecked. Raises UsageError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
