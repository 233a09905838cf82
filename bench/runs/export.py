"""A run's records as plain objects: the same whether the run is going on, has finished, or has crashed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..files import write_atomically
from .records import Record
from .run_folder import RunFolder

ExportForm = Literal["json", "csv", "parquet"]


def export(folder: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """Trials and finalists, one object each; retries of one trial are one row.

    Finalists are all that was trained besides the trials: for the choice ("choice", on validation), for the test
    ("final" and "default"), and the references.
    """
    return {
        "trials": [_trial(record) for record in folder.records("trial")],
        "finalists": [_final(record) for record in folder.records("choice", "final", "default", "reference")],
    }


def flat_rows(rows: Iterable[Mapping[str, Any]], *, intervals: bool = False) -> list[dict[str, Any]]:
    """Rows of `export` without tables within: `params.NAME`, `metrics.NAME`, `second_metrics.NAME`.

    intervals: whether the ends of metrics' intervals stand next to them, as `metrics.NAME.low` and `.high`.
    """
    flat = []
    for row in rows:
        plain = {key: value for key, value in row.items() if not isinstance(value, dict)}
        plain |= {f"params.{name}": value for name, value in row["params"].items()}
        for group in ("metrics", "second_metrics"):
            for name, figure in row.get(group, {}).items():
                plain[f"{group}.{name}"] = figure["value"]
                if intervals:
                    plain |= {f"{group}.{name}.{end}": figure[end] for end in ("low", "high")}
        flat.append(plain)
    return flat


def write_tables(rows: Mapping[str, Sequence[Mapping[str, Any]]], form: ExportForm, out: Path) -> list[Path]:
    """Writes what `export` gives into a folder: NAME.csv or NAME.parquet for each of its lists, or export.json.

    Returns the files.
    """
    if form == "json":
        write_atomically(out / "export.json", json.dumps(rows, indent=1, allow_nan=False) + "\n")
        return [out / "export.json"]
    written = []
    for name, entries in rows.items():
        flat, path = flat_rows(entries, intervals=True), out / f"{name}.{form}"
        columns = list(dict.fromkeys(column for row in flat for column in row))
        write_atomically(path, _csv(flat, columns) if form == "csv" else _parquet(flat, columns))
        written.append(path)
    return written


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    import pandas as pd

    content = io.BytesIO()
    # Settings of several families may hold numbers and texts under one name.
    mixed = pd.DataFrame(rows, columns=list(columns)).convert_dtypes()
    texts = {column: "string" for column in mixed.columns if mixed[column].dtype == object}
    mixed.astype(texts).to_parquet(content, index=False)
    return content.getvalue()


def _trial(record: Record) -> dict[str, Any]:
    return {
        "family": record.family,
        "number": record.number,
        "repeat": record.repeat,
        "state": record.state,
        "move": record.move,
        "parent": record.parent,
        "fidelity": record.fidelity,
        "params": dict(record.params),
        "metrics": {name: dict(figure) for name, figure in record.metrics.items()},
        "cost": record.cost,
        "seconds": record.seconds_spent,
        "seed": record.seed,
        "reason": record.reason,
    }


def _final(record: Record) -> dict[str, Any]:
    row = {"role": record.role, **_trial(record)}
    row["split"] = record.split
    row["incumbent"] = record.incumbent
    row["trial"] = record.trial
    row["second_metrics"] = {name: dict(figure) for name, figure in record.second_metrics.items()}
    return row
