"""Tables: CSV and Parquet files as vectors, with what is needed to write samples as rows again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ....models.data_spec import ConditionSpec, DataSpec
from ....search_spaces.space import suggest
from ...errors import UsageError
from ..found import Found
from ..reference import plain_name
from ..source import SourceReader

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..tables.columns import Described

MOST_DIMENSIONS = 4_096  # entries of an encoded row
_SEED = 81_231  # of the noise on values that lie on a lattice
_MISSING = ("model", "drop")


class Tables(SourceReader):
    """A CSV or Parquet file with one example a row."""

    name = "table"
    suffixes = (".csv", ".tsv", ".parquet")

    def find(
        self,
        *,
        path: str,
        label: str = "",
        columns: tuple[str, ...] = (),
        drop: tuple[str, ...] = (),
        categorical: tuple[str, ...] = (),
        group: str = "",
        missing: str = "model",
        missing_values: tuple[str, ...] = (),
        separator: str = "",
        encoding: str = "utf-8",
        decimal: str = ".",
        header: bool = True,
    ) -> Found:
        """The rows of a table.

        label: column that is the class; it becomes the condition.
        columns: those that are used, next to the label and the group; none: all. drop: those that are not.
        categorical: columns of numbers that are names of categories.
        group: column whose equal values stay in one split; it is not modelled, unless `columns` names it.
        missing: "model" learns which values are missing, "drop" leaves out rows in which one is.
        The others are those of `read_csv`.
        """
        from ..tables.columns import describe
        from ..tables.files import read_csv, read_parquet

        if missing not in _MISSING:
            raise UsageError(f"option missing is {missing!r}; wanted {' or '.join(_MISSING)}")
        file = Path(path)
        if file.suffix.lower() == ".parquet":
            frame = read_parquet(file)
        else:
            frame = read_csv(
                file,
                separator=separator,
                encoding=encoding,
                decimal=decimal,
                header=header,
                missing_values=missing_values,
            )
        _check_columns(path, frame, [*columns, *drop, *categorical, *filter(None, (label, group))])
        kept = [name for name in frame.columns if (name in columns if columns else name != group)]
        used = frame[[name for name in frame.columns if name == label or (name in kept and name not in drop)]]
        notes = []
        if missing == "drop":
            whole = used.notna().all(axis=1).to_numpy()
            if not whole.all():
                notes.append(f"{int((~whole).sum()):,} of {len(whole):,} rows are left out: a value is missing")
            used, frame = used[whole], frame[whole]
            if used.empty:
                raise UsageError(f"{path}: a value is missing in every row, so nothing is left")
        described = describe(used, where=path, label=label, categorical=categorical)
        groups = None if not group else frame[group].astype(object).factorize(use_na_sentinel=False)[0]
        return as_found(plain_name(file.stem) or self.name, path, described, groups=groups, notes=notes)


def as_found(
    name: str,
    where: str,
    described: Described,
    *,
    groups: np.ndarray | None = None,
    notes: Iterable[str] = (),
) -> Found:
    """The vectors of a table.

    where: the table's place, in messages and as its source. groups, notes: as `Found` has them; notes on columns join.
    """
    import numpy as np

    from ..duplicates import NO_PAIRS, Duplicates, same_rows
    from ..tables.codec import encode

    table = described.table
    if table.dimensions > MOST_DIMENSIONS:
        raise UsageError(f"{where} makes vectors of {table.dimensions:,} entries; wanted at most {MOST_DIMENSIONS:,}")
    label = table.label_column
    rows = np.stack([described.codes[column.name] for column in table.modelled], axis=1, dtype=np.float64)
    spec = DataSpec(
        name,
        "vector",
        (table.dimensions,),
        condition=ConditionSpec() if label is None else ConditionSpec("label", classes=len(label.categories)),
        table=table,
        source=where,
    )
    return Found(
        spec,
        encode(table, described.codes, _SEED),
        None if label is None else described.codes[label.name],
        groups=groups,
        notes=(*notes, *described.notes),
        class_names=() if label is None else tuple(map(str, label.categories)),
        duplicates=Duplicates(same_rows(rows), NO_PAIRS),  # the vectors differ by their noise
    )


def _check_columns(where: str, frame: pd.DataFrame, names: Iterable[str]) -> None:
    for name in names:
        if name not in frame.columns:
            raise UsageError(f"{where} has no column {name!r}{suggest(name, list(frame.columns))}")
