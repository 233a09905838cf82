"""The leaderboard as CSV, Markdown, LaTeX and a table for the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .text import figure, number, rank, standing

if TYPE_CHECKING:
    from rich.table import Table

# One of each, in this order, where a family has it: what a narrow table shows next to the objective.
_HANDFUL = (
    ("fid", "mmd"),
    ("precision",),
    ("recall",),
    ("coverage",),
    ("bits_per_dim", "bits_per_token", "kl_to_truth", "nll"),
    ("condition_accuracy", "clip_score"),
)
_COST = ("train_seconds", "samples_per_second")
_REFERENCES = {
    "floor": "real against real",
    "perfect_model": "a perfect model",
    "gaussian": "one Gaussian",
    "bicubic": "bicubic interpolation",
    "train_mean": "hidden parts at the train mean",
    "untranslated": "conditions as they are",
    "logistic_regression": "logistic regression",
    "png": "PNG",
    "zlib": "zlib",
}
_FLOORS = ("floor", "perfect_model")  # whose scores depend on their counts
# What the terminal's table leaves out, in this order, until it fits into 100 characters.
_DROPPED = ("samples_per_second", "coverage", "precision", "condition_accuracy", "recall", "train_seconds")
_CAPTION = (
    "standing: against the candidate, the best on validation (open: not excluded) · rank: among all pairs\n"
    "brackets: 95% intervals · n/d: not defined for the family · –: not recorded"
)
_WORDS = ("family", "standing")  # columns of words, which stand to the left
_LISTS = ("better_than", "not_excluded", "not_separable_from")
_RATIO = ("tuned_against_default", "tuned_against_default_low", "tuned_against_default_high")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "…": r"\ldots{}",
}


def to_csv(content: Mapping[str, Any]) -> str:
    """One flat row a family, then one a reference: name, name_low, name_high, name_second, … for each metric.

    Metrics without a value are empty; `undefined` names those that have none, with the reasons, as JSON.
    """
    metrics = content["metrics"]
    cost = [m for m in metrics if metrics[m]["group"] == "cost"]
    plain = [m for m in metrics if m not in cost]
    header = ["role", "family", "incumbent", "candidate", *_LISTS[:2], "rank", "rank_low", "rank_high", *_LISTS[2:]]
    header += [name for m in plain for name in _csv_names(m, content)]
    defaults = [m for m in metrics if any(m in row["default"] for row in content["rows"])]
    header += [f"{m}_default" for m in defaults if m in plain]
    header += [
        "against_default",
        *_RATIO,
        "likelihood",
        "finals",
        "failed_finals",
        "trials",
        "failed",
        "cost",
        "params",
        "flags",
        "undefined",
    ]
    header += [name for m in cost for name in _csv_names(m, content)]
    header += [f"{m}_default" for m in defaults if m in cost]
    out = io.StringIO()
    writer = csv.DictWriter(out, header, lineterminator="\n", restval="")
    writer.writeheader()
    for row in [*content["rows"], *content["references"]]:
        is_family = "family" in row
        flat: dict[str, Any] = {"role": "family", **row} if is_family else {"role": "reference", "family": row["name"]}
        if is_family:
            flat["likelihood"] = row["likelihood"].get("kind")
            flat |= {key: " ".join(row[key]) for key in _LISTS} | {"flags": "; ".join(row["flags"])}
            flat |= dict(zip(_RATIO, (row["tuned_against_default"] or {}).values(), strict=False))
            flat["params"] = "" if row["params"] is None else json.dumps(row["params"])
            flat |= {f"{m}_default": c["value"] for m, c in row["default"].items() if "value" in c}
        reasons = {m: c["undefined"] for m, c in row["metrics"].items() if "undefined" in c}
        flat["undefined"] = json.dumps(reasons) if reasons else ""
        for m in metrics:
            for cell, suffix in ((row["metrics"].get(m), ""), (row["second_metrics"].get(m), "_second")):
                if cell and "value" in cell:
                    flat |= {f"{m}{suffix}": cell["value"]}
                    flat |= {f"{m}{suffix}_{end}": cell[end] for end in ("low", "high")}
        writer.writerow({k: flat[k] for k in header if flat.get(k) is not None})
    return out.getvalue()


def to_markdown(content: Mapping[str, Any]) -> str:
    """A heading, the verdict, a table of few columns and the notes."""
    columns = table_columns(content)
    lines = [
        f"# {_md(content['data'])}: {_md(', '.join(content['objective']))}",
        "",
        _md(content["verdict"]),
        "",
        "| " + " | ".join(_md(" ".join(c[0].split("\n"))) for c in columns) + " |",
        "|" + "|".join("---" if c[0] in _WORDS else "---:" for c in columns) + "|",
    ]
    lines += ["| " + " | ".join(_md(cell) for cell in row) + " |" for row in table_rows(content, columns)]
    lines += ["", *(f"- {_md(note)}" for note in content["notes"])]
    return "\n".join(lines) + "\n"


def to_latex(content: Mapping[str, Any]) -> str:
    """A booktabs tabular; its document loads the package booktabs."""
    columns = table_columns(content)
    rows = table_rows(content, columns)
    ranked = len(content["rows"])
    lines = [
        f"% {' '.join(content['verdict'].split())}",
        r"\begin{tabular}{" + "".join("l" if c[0] in _WORDS else "r" for c in columns) + "}",
        r"\toprule",
    ]
    lines.append(" & ".join(_tex(" ".join(c[0].split("\n"))) for c in columns) + r" \\")
    lines.append(r"\midrule")
    for place, row in enumerate(rows):
        if place == ranked:
            lines.append(r"\midrule")
        lines.append(" & ".join(_tex(cell) for cell in row) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def text_table(content: Mapping[str, Any], width: int = 100) -> Table:
    """The leaderboard for a terminal of `width` columns; content: the document of leaderboard.json."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = table_columns(content)
    for metric in _DROPPED:
        if _text_width(content, columns) <= width:
            break
        columns = [c for c in columns if c[1] != metric or c[1] in content["objective"]]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.title = Text(content["verdict"], "not italic", justify="left")
    for column in columns:
        is_name = column[0] == "family"
        table.add_column(
            _text_title(column, content),
            justify="left" if column[0] in _WORDS else "right",
            style="bold" if is_name else "",
            no_wrap=True,
        )
    ranked = len(content["rows"])
    for place, row in enumerate(table_rows(content, columns)):
        cells = [Text(_short(c), style="dim" if c in ("not defined", "–") else "") for c in row]
        table.add_row(*cells, style="dim" if place >= ranked else None, end_section=place == ranked - 1)
    table.caption = Text(_CAPTION, "dim")
    return table


def _text_title(column: Column, content: Mapping[str, Any]) -> str:
    """A heading broken at every underscore, but for the objective's own."""
    title, metric, second = column
    return title if metric in content["objective"] and not second else title.replace("_", "\n")


def _text_width(content: Mapping[str, Any], columns: Sequence[Column]) -> int:
    """Characters that the terminal's table takes: the widest cell of each column, and two between columns."""
    widths = [max(map(len, _text_title(c, content).split("\n"))) for c in columns]
    for row in table_rows(content, columns):
        widths = [max(w, len(_short(cell))) for w, cell in zip(widths, row, strict=True)]
    return sum(widths) + 2 * len(widths)


def _short(cell: str) -> str:
    return "n/d" if cell == "not defined" else cell


Column = tuple[str, str, bool]  # title, metric ("" for none), through the second evaluator


def table_columns(content: Mapping[str, Any]) -> list[Column]:
    """The columns of a narrow table: family, standing against the candidate, objectives, rank among all pairs, a
    handful of defined metrics, cost."""
    rows = content["rows"]

    def defined(metric: str, part: str = "metrics") -> bool:
        return any("value" in row[part].get(metric, {}) for row in rows)

    columns: list[Column] = [("family", "", False), ("standing", "", False)]
    for metric in content["objective"]:
        columns.append((metric, metric, False))
        if defined(metric, "second_metrics"):
            columns.append((f"{metric}\nsecond", metric, True))
    columns.append(("rank", "", False))
    for choice in _HANDFUL:
        for metric in choice:
            if metric in content["objective"]:
                break
            if defined(metric):
                columns.append((metric, metric, False))
                break
    columns += [(m, m, False) for m in _COST if defined(m) and m not in content["objective"]]
    return columns


def table_rows(content: Mapping[str, Any], columns: Sequence[Column]) -> list[list[str]]:
    """The cells of the narrow table: families by mean, then the references that have a value in it."""
    cells = []
    parts = [("second_metrics" if second else "metrics", metric) for _, metric, second in columns]
    references = [
        row for row in content["references"] if any("value" in row[part].get(metric, {}) for part, metric in parts)
    ]
    for row in [*content["rows"], *references]:
        line = []
        for title, metric, second in columns:
            if title == "rank":
                line.append(rank(row) if "rank" in row else "")
            elif title == "standing":
                line.append(standing(row, content) if "rank" in row else "")
            elif title == "family":
                line.append(row_name(row) + finals_text(row))
            else:
                cell = row["second_metrics" if second else "metrics"].get(metric)
                wanted = metric in content["objective"] and not second
                unit = content["metrics"].get(metric, {}).get("unit", "")
                if wanted or cell is None or "undefined" in cell:
                    line.append(figure(cell, unit))
                else:
                    line.append(number(cell["value"], unit))
        cells.append(line)
    return cells


def row_name(row: Mapping[str, Any]) -> str:
    """A family's name, with the number of a further incumbent; what a reference is."""
    if "family" not in row:
        name = _REFERENCES.get(row["name"], row["name"])
        return f"{name}, n = {row['samples']:,}" if row["name"] in _FLOORS and row.get("samples") else name
    return row["family"] if row["incumbent"] == 0 else f"{row['family']} (front, {row['incumbent'] + 1})"


def finals_text(row: Mapping[str, Any]) -> str:
    """ " (4 of 5)" finals, where some failed."""
    failed = row.get("failed_finals", 0)
    return f" ({row['finals']} of {row['finals'] + failed})" if failed else ""


def _csv_names(metric: str, content: Mapping[str, Any]) -> list[str]:
    names = [metric, f"{metric}_low", f"{metric}_high"]
    if any(metric in row["second_metrics"] for row in [*content["rows"], *content["references"]]):
        names += [f"{metric}_second", f"{metric}_second_low", f"{metric}_second_high"]
    return names


def _md(text: str) -> str:
    for mark in "\\|*`<":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.replace("](", "]\\(").split())


def _tex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)
