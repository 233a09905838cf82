"""The options of a comparison: one schema for the command line, the Python API, STUDY.toml and the frozen study.toml.

An option is one field of `StudyFile`. Its annotation holds its type, its checks and an `OptionSpec` (help text, flags);
its default stands next to it. The command line (`commands/options.py`), the keywords of `gentune.compare` and the
keys of study files are all generated from there (`study_options.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from ..data.reference import DataRef
from .option_values import (
    Names,
    OptionSpec,
    Paths,
    constraints_of,
    evaluators_of,
    reference_of,
    space_of,
    start_of,
    url_of,
)

BudgetKind = Literal["trainings", "flops", "seconds"]
StoppingChoice = Literal["none", "curves", "halving"]
BUDGETS: tuple[BudgetKind, ...] = ("trainings", "flops", "seconds")


class StudyFile(BaseModel):
    """What to compare, under which budget. Exactly one of `trainings`, `flops` and `seconds` is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Annotated[
        DataRef,
        PlainValidator(reference_of),
        PlainSerializer(DataRef.to_value),
        OptionSpec(
            "Data set to learn: a name (see `gentune list data`), or a path to a folder of images or a file of data.",
            "NAME|PATH",
        ),
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
    evaluators: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(evaluators_of),
        OptionSpec(
            "Feature networks: the one through which choices are made, and a second view; each NAME or NAME:WEIGHTS "
            "(see `gentune list evaluators`). Default: trained on the data (images), raw,random_projection (vectors).",
            "a,b",
        ),
    ] = None
    space: Annotated[
        dict[str, dict[str, dict[str, Any]]] | None,
        BeforeValidator(space_of),
        OptionSpec(
            "Change of a search space, for a family or all: KEY is low, high, scale, choices, default, likely, or fix "
            "for a parameter that is not searched; may be repeated.",
            "FAMILY.NAME.KEY=VALUE",
            flag="--set",
            repeated=True,
            tables=True,
        ),
    ] = None
    size: Annotated[
        float,
        Field(gt=0, le=64),
        OptionSpec(
            "Scale of all families, for less or more hardware: trainings have X times the steps, networks √X times the "
            "width, in defaults and ranges; at most 64.",
            "X",
        ),
    ] = 1.0
    start: Annotated[
        dict[str, dict[str, Any] | list[dict[str, Any]]] | None,
        BeforeValidator(start_of),
        OptionSpec(
            "Value of a setting that a family's study tries after the default, from which it has the rest; may be "
            "repeated.",
            "FAMILY.NAME=VALUE",
            repeated=True,
            tables=True,
        ),
    ] = None
    constraints: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(constraints_of),
        OptionSpec(
            "Bound that chosen settings have to keep on validation, next to the default guards; may be repeated. "
            "none, or an empty list: not even the guards.",
            "'METRIC <= X'|none",
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
    max_hours: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False),
        OptionSpec(
            "Most wall time of everything, finals and scores included: tuning ends in time for them, and they take "
            "what there is. A resumed run may have more.",
            "H",
            identity=False,
        ),
    ] = None
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
        if len(set(self.objective)) != len(self.objective):
            raise ValueError(f"a metric is an objective twice: {', '.join(self.objective)}")
        if len(set(self.devices)) != len(self.devices):
            raise ValueError(f"a device is named twice: {', '.join(self.devices)}")
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
