"""Parameters and search spaces."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Value = float | int | str | bool | None
Setting = Mapping[str, Value]  # one point of a search space: the active parameters' values

Kind = Literal["float", "int", "categorical"]
Role = Literal["train", "sample", "loop", "average"]


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter: a range on a linear or logarithmic scale, or a choice.

    role: "train" goes to the family's constructor, "sample" to its `sample`, "loop" to the training loop; "average"
        says which average of the weights a training ends with, and is chosen after it, as "sample" is.
    when: the values of other parameters under which this one is active; empty: always.
    step: spacing of a float or integer grid counted from `low`; None: continuous, or every integer.
    likely: where good settings usually lie: of a number (low, high), the central 68%; of a choice those values that
        hold 68%. Empty: nothing is known. It is a prior that observations overrule.
    width: whether it is one of a network's widths, which a study's `size` scales.
    """

    name: str
    kind: Kind
    default: Value
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] = ()
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    role: Role = "train"
    source: str = ""
    summary: str = ""
    likely: tuple[Value, ...] = ()
    width: bool = False

    def __post_init__(self) -> None:
        if self.width and (self.kind == "categorical" or (self.low or 0) <= 0):
            raise ValueError(f"parameter {self.name!r} is a width; wanted a number above 0, not {self.range_text}")
        if self.kind == "categorical":
            if not self.choices:
                raise ValueError(f"parameter {self.name!r} has no choices")
            if len(set(self.choices)) != len(self.choices):
                raise ValueError(f"parameter {self.name!r} names a choice twice: {list(self.choices)}")
        else:
            if self.low is None or self.high is None:
                raise ValueError(f"parameter {self.name!r} needs a low and a high")
            if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.low > self.high:
                raise ValueError(f"parameter {self.name!r} has an empty range: low {self.low}, high {self.high}")
            if self.log and self.low <= 0:
                raise ValueError(f"parameter {self.name!r} is on a log scale but its low is {self.low}")
            if self.step is not None and self.step <= 0:
                raise ValueError(f"parameter {self.name!r} has a step of {self.step}; wanted more than 0")
        if not self.contains(self.default):
            raise ValueError(
                f"parameter {self.name!r} has a default out of range: {self.default!r}, wanted {self.range_text}"
            )
        if self.likely:
            self._check_likely()

    def _check_likely(self) -> None:
        about = f"parameter {self.name!r} has likely = {list(self.likely)!r}"
        for value in self.likely:
            if not self.contains(value):
                raise ValueError(f"{about}; wanted values that are {self.range_text}")
        if self.kind == "categorical":
            if len(set(self.likely)) != len(self.likely) or len(self.likely) >= len(self.choices):
                raise ValueError(f"{about}; wanted some of the choices, each once, and not all of them")
        elif len(self.likely) != 2 or not self.likely[0] < self.likely[1]:  # type: ignore[operator]
            raise ValueError(f"{about}; wanted two numbers, the lower first")

    @property
    def range_text(self) -> str:
        """The range as people read it."""
        if self.kind == "categorical":
            return "one of " + ", ".join(str(c) for c in self.choices)
        return f"{self.kind} from {self.low:g} to {self.high:g}" + (" (log)" if self.log else "")

    def contains(self, value: object) -> bool:
        """Whether `value` has this parameter's type and lies in its range."""
        if self.kind == "categorical":
            return any(value == c and type(value) is type(c) for c in self.choices)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.kind == "int" and not isinstance(value, int):
            return False
        assert self.low is not None and self.high is not None
        return self.low <= value <= self.high


@dataclass(frozen=True)
class SearchSpace:
    """Parameters in a fixed order. A parameter's `when` may only name parameters that stand before it."""

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        seen: dict[str, Parameter] = {}
        for parameter in self.parameters:
            if parameter.name in seen:
                raise ValueError(f"parameter {parameter.name!r} is defined twice in the space")
            for parent, values in parameter.when.items():
                if parent not in seen:
                    raise ValueError(
                        f"`when` of {parameter.name!r} names {parent!r}, which is no parameter before it"
                        + suggest(parent, seen)
                    )
                for value in values:
                    if not seen[parent].contains(value):
                        raise ValueError(
                            f"`when` of {parameter.name!r} wants {parent} = {value!r}, "
                            f"which is not {seen[parent].range_text}"
                        )
            seen[parameter.name] = parameter

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __contains__(self, name: object) -> bool:
        return any(p.name == name for p in self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(f"no parameter {name!r}" + suggest(name, self.names))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    def only(self, *roles: Role) -> SearchSpace:
        """The parameters of these roles. Conditions on parameters that are left out are dropped with them."""
        kept = [p for p in self.parameters if p.role in roles]
        names = {p.name for p in kept}
        return SearchSpace(tuple(p for p in kept if set(p.when) <= names))

    def default(self) -> dict[str, Value]:
        """The default setting, active parameters only."""
        return self.activate({p.name: p.default for p in self.parameters})

    def activate(self, values: Setting) -> dict[str, Value]:
        """Drops the values of inactive parameters and fills in the defaults of active ones that are missing."""
        setting: dict[str, Value] = {}
        for p in self.parameters:
            if self.is_active(p, setting):
                setting[p.name] = values.get(p.name, p.default)
        return setting

    def is_active(self, parameter: Parameter, setting: Setting) -> bool:
        """Whether `parameter` counts, given the parameters before it."""
        return all(parent in setting and setting[parent] in values for parent, values in parameter.when.items())

    def validate(self, setting: Setting) -> None:
        """Raises ValueError with what was got and what was wanted, unless `setting` is a point of this space."""
        for name in setting:
            if name not in self:
                raise ValueError(f"unknown parameter {name!r}" + suggest(name, self.names))
        expected = self.activate(setting)
        for name, value in setting.items():
            if name not in expected:
                raise ValueError(f"parameter {name!r} is not active under this setting")
            if not self[name].contains(value):
                raise ValueError(f"parameter {name!r} is {value!r}; wanted {self[name].range_text}")
        missing = [name for name in expected if name not in setting]
        if missing:
            raise ValueError(f"parameter {missing[0]!r} is missing")


def suggest(name: str, known: object) -> str:
    """`; did you mean 'x'?` for the nearest known name, or the list of names where none is near."""
    names = [str(k) for k in known]  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
