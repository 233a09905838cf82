"""The columns of a table: how its rows become vectors, and samples rows again. Free of torch and numpy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

ColumnKind = Literal["number", "category", "time"]
Value = str | int | float | bool


@dataclass(frozen=True)
class TableColumn:
    """One column.

    kind: "number"; "category", one of few values; "time", a date or a point of time in whole steps of `unit`.
    dtype: of the values, by pandas' names.
    missing: whether values may be missing.
    categories: the values of a category in the order of their codes; one alone is a constant, which nothing models.
    low, high: range of numbers, and of times in steps since `origin`; samples are clipped to it.
    decimals: numbers are whole multiples of 10^-decimals; None: any number.
    unit, origin: of times: the step ("D", "s", "ms", "us", "ns"), and where counting begins, in steps since 1970.
    between: of times that are text: what stands between date and time of day.
    """

    name: str
    kind: ColumnKind
    dtype: str
    missing: bool = False
    categories: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    decimals: int | None = None
    unit: str = ""
    origin: int = 0
    between: str = ""

    @property
    def states(self) -> int:
        """Of a category: its values, and one more if they may be missing."""
        return len(self.categories) + self.missing

    @property
    def width(self) -> int:
        """How many entries of a vector stand for it: a number, and whether it is missing; one for each state of a
        category, but a single one for two states and none for a constant."""
        if self.kind == "category":
            return {1: 0, 2: 1}.get(self.states, self.states)
        return 1 + self.missing


@dataclass(frozen=True)
class TableSpec:
    """The columns of a table in their order.

    label: the name of the column that is the class; it is the condition, not a part of the vectors.
    """

    columns: tuple[TableColumn, ...]
    label: str | None = None

    @property
    def modelled(self) -> tuple[TableColumn, ...]:
        """The columns that vectors are made of."""
        return tuple(column for column in self.columns if column.name != self.label)

    @property
    def label_column(self) -> TableColumn | None:
        """The column that is the class."""
        return next((column for column in self.columns if column.name == self.label), None)

    @property
    def dimensions(self) -> int:
        """Entries of a vector."""
        return sum(column.width for column in self.modelled)

    @property
    def places(self) -> tuple[tuple[TableColumn, slice], ...]:
        """Each modelled column, and where its entries stand in a vector."""
        ends = tuple(accumulate(column.width for column in self.modelled))
        return tuple((column, slice(end - column.width, end)) for column, end in zip(self.modelled, ends, strict=True))
