"""The options that every reader of users' data takes next to its own. Free of torch and numpy."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import UsageError

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class CommonOptions:
    """How what a source holds becomes three splits.

    subset: number of examples to draw from all, by `split_seed`; 0: all.
    split: shares of train, validation and test; the last is what is left. Splits of the source's own stay.
    split_seed: of the drawing.

    Raises UsageError for values that make no splits.
    """

    subset: int = 0
    split: tuple[float, ...] = (0.6, 0.2, 0.2)
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.subset < 0:
            raise UsageError(f"option subset is {self.subset}; wanted a number of examples, 0 for all")
        if self.split_seed < 0:
            raise UsageError(f"option split_seed is {self.split_seed}; wanted at least 0")
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.split)
        if not (
            numbers
            and len(self.split) == len(_SPLITS)
            and min(self.split) > 0
            and math.isclose(sum(self.split), 1.0, abs_tol=1e-6)
        ):
            raise UsageError(
                f"option split is {list(self.split)}; wanted the shares of {', '.join(_SPLITS)}, "
                "for example [0.6, 0.2, 0.2]"
            )

    def trained(self, count: int) -> int:
        """About how many of `count` examples come into the train split."""
        return max(round(min(count, self.subset or count) * self.split[0]), 1)


NAMES = tuple(field.name for field in fields(CommonOptions))


def parameters() -> list[inspect.Parameter]:
    """The common options as keyword parameters."""
    return list(inspect.signature(CommonOptions).parameters.values())


def divide(options: Mapping[str, Any]) -> tuple[dict[str, Any], CommonOptions]:
    """A reader's own options, and the common ones."""
    common = {name: value for name, value in options.items() if name in NAMES}
    return {name: value for name, value in options.items() if name not in NAMES}, CommonOptions(**common)


def check_types(reader: str, options: Mapping[str, Any], taken: Mapping[str, inspect.Parameter]) -> None:
    """Raises UsageError for an option whose value is of another type than its default."""
    for name, value in options.items():
        default = taken[name].default
        if default is inspect.Parameter.empty or default is None:
            continue
        wanted = type(default)
        fits = isinstance(value, (int, float) if wanted is float else wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise UsageError(f"data reader {reader!r}: option {name} is {value!r}; wanted {_WORDS[wanted]}")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list"}
