"""The report's page: one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ..bench.files import write_atomically
from ..bench.runs.constraints import Constraint
from ..bench.runs.looks import seeds_of
from ..bench.runs.records import Record
from ..bench.runs.run_folder import RunFolder
from . import text
from .budget_plots import DASHES, budget_plots, reference_levels
from .finalist_artifacts import first_finals, guidance, outliers, texts
from .finalist_artifacts import pictures as pictures_of
from .finals import card
from .formats import row_name, to_csv
from .latent import latent
from .leaderboard import FILES, Leaderboard, build_leaderboard
from .moves import moves
from .pictures import common_limits, load_png, load_points, load_texts, scatter
from .plots import default_plot, family_styles, objective_plot
from .surrogate_plots import surrogate_plots
from .times import costs, times
from .verdict import budget_text

FORMATS = ("html", *FILES)
TEMPLATES = Path(__file__).parent / "templates"
_DATA = ("kind", "shape", "source", "licence", "consent")


def write_report(folder: RunFolder, formats: Collection[str] | None = None) -> Path:
    """Writes the page and the leaderboard files; returns the path of the page, or of the last file written.

    formats: some of "html", "md", "csv", "json", "tex"; None: all. Raises ValueError for any other.
    """
    wanted = FORMATS if formats is None else tuple(formats)
    for form in wanted:
        if form not in FORMATS:
            raise ValueError(f"reports are written as {', '.join(FORMATS)}; got {form!r}")
    records = folder.records()
    board = build_leaderboard(folder, records)
    written = folder.report_path
    for form in FILES:
        if form in wanted:
            written = folder.report_path / f"leaderboard.{form}"
            write_atomically(written, board.render(form))
    if "html" in wanted:
        written = folder.report_path / "index.html"
        write_atomically(written, render_page(folder, board, records))
    return written


def current_report(folder: RunFolder) -> Path | None:
    """The page of a finished run, where it and the leaderboard were written after its end, added seeds included."""
    page, board = folder.report_path / "index.html", folder.report_path / "leaderboard.json"
    if not page.is_file() or not board.is_file():
        return None
    content = json.loads(board.read_text(encoding="utf-8"))
    return page if (content["state"], content["seeds"]) == ("finished", seeds_of(folder)) else None


def render_page(folder: RunFolder, board: Leaderboard, records: list[Record]) -> str:
    """The page as one HTML document."""
    content = board.content
    study = folder.study
    comparison = folder.read_json("comparison.json") or {}
    families = list(dict.fromkeys([*study.families, *(row["family"] for row in content["rows"])]))
    styles = family_styles([f for f in families if f != "all"])
    figures, studies = _board_figures(content, records, styles, folder.bounds(study.constraints, records))
    explained, surrogate_figures = surrogate_plots(folder, list(styles), styles)
    figures |= surrogate_figures
    finals = first_finals(records, content)
    over_guidance, guidance_plot = guidance(folder, finals, styles)
    if guidance_plot:
        figures["guidance"] = guidance_plot
    csv = base64.b64encode(to_csv(content).encode()).decode("ascii")
    return (
        _environment()
        .get_template("index.html")
        .render(
            board=content,
            data_name=study.data.label,
            data=_data_facts(comparison.get("data") or {}),
            budget=budget_text(content["budget"]),
            summaries={f: about.get("summary") for f, about in (comparison.get("families") or {}).items()},
            clock={key: comparison.get(key) for key in ("started", "finished")},
            times=times(records, comparison),
            costs=costs(records, content),
            columns=_columns(content),
            absent=_absent(content),
            rows=[_table_row(row, content, styles) for row in content["rows"]],
            references=[_table_row(row, content, styles) for row in content["references"]],
            colours={f: c for f, (c, _) in styles.items()},
            samples=_samples(folder, records, content, styles),
            guidance=over_guidance,
            neighbours=pictures_of(folder, "neighbours", finals, styles),
            texts=texts(folder, finals, styles),
            completions=pictures_of(folder, "completions", finals, styles),
            outliers=outliers(folder, finals, styles),
            latent=latent(folder, styles),
            studies=studies,
            reference_lines=[
                f"{name} ({dash})"
                for name, dash in zip(reference_levels(content, records), DASHES.values(), strict=False)
            ],
            moves=moves(records, content),
            explanations=explained,
            settings=_settings(content),
            failures=_failures(records),
            provenance=_provenance(records),
            study=study.model_dump(mode="json", exclude_none=True, exclude={"store"}),
            folder=str(folder.path),
            csv_uri=f"data:text/csv;charset=utf-8;base64,{csv}",
            figures=figures,
            plotly=Markup(get_plotlyjs()) if figures else "",
        )
    )


def _environment() -> Environment:
    """The templates with the filters that they use."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        f.__name__: f for f in (text.setting, text.figure, text.rank, text.number, text.standing, text.percent)
    }
    return environment


def _board_figures(
    content: Mapping[str, Any],
    records: list[Record],
    styles: Mapping[str, tuple[str, str]],
    bounds: Sequence[Constraint],
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Figures of the test scores and of each study's course, by key; and which study has which."""
    figures: dict[str, Any] = {}
    if any("value" in row["metrics"].get(content["objective"][0], {}) for row in content["rows"]):
        figures["objective"] = objective_plot(content, styles)
    against = default_plot(content, styles)
    if against:
        figures["default"] = against
    studies = []
    for place, (family, drawn) in enumerate(budget_plots(content, records, styles, bounds)):
        figures[f"study-{place}"] = drawn
        studies.append({"family": family, "figure": f"study-{place}"})
    return figures, studies


def _data_facts(described: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of the data set.

    Runs of schema 1 have the condition's kind as a string and the number of classes next to it.
    """
    condition = described.get("condition") or {"kind": "none"}
    if isinstance(condition, str):
        condition = {"kind": condition, "classes": described.get("classes")}
    return {key: described.get(key) for key in _DATA} | {
        "classes": condition.get("classes"),
        "conditions": condition["kind"] if condition["kind"] in ("image", "text") else None,
    }


def _columns(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Metric columns in the leaderboard's order: those that any family has a value of."""
    columns = []
    by_role = {e.get("role"): e for e in content["evaluators"]}
    for metric, about in content["metrics"].items():
        for part, second in (("metrics", False), ("second_metrics", True)):
            looks = card(metric).through_evaluator
            if any("value" in row[part].get(metric, {}) for row in content["rows"]):
                columns.append(
                    {
                        "metric": metric,
                        "second": second,
                        "objective": metric in content["objective"],
                        **_through(by_role.get("second" if second else "primary") if looks else None),
                        "summary": card(metric).summary,
                        **about,
                    }
                )
    return columns


def _through(evaluator: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a column's heading says of the evaluator that its figures are through; None: they are through none."""
    about = evaluator or {}
    weights = about.get("weights") or {}
    hashed = f" (weights {weights['sha256'][:12]}…)" if weights.get("sha256") else ""
    return {
        "evaluator": about.get("name"),
        "evaluator_told": f" Through {about['name']}{hashed}." if about.get("name") else "",
        "poor": bool((about.get("quality") or {}).get("poor")),
    }


def _absent(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Metrics that no family has a value of, with the first reason."""
    absent = []
    for metric in content["metrics"]:
        cells = [row["metrics"][metric] for row in content["rows"] if metric in row["metrics"]]
        if cells and all("undefined" in cell for cell in cells):
            absent.append((metric, cells[0]["undefined"]))
    return absent


def _table_row(
    row: Mapping[str, Any], content: Mapping[str, Any], styles: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    cells = []
    for column in _columns(content):
        cell = row["second_metrics" if column["second"] else "metrics"].get(column["metric"])
        shown: dict[str, Any] = {"column": column, "sort": "", "text": "–", "bounds": "", "kind": "", "reason": None}
        if cell is not None and "undefined" in cell:
            shown |= {"text": "not defined", "reason": cell["undefined"]}
        elif cell is not None:
            value, bounds = text.estimate(cell["value"], cell["low"], cell["high"], column["unit"])
            shown |= {"text": value, "bounds": bounds, "sort": repr(cell["value"])}
        if column["group"] == "likelihood" and shown["sort"]:
            shown["kind"] = _likelihood_kind(row.get("likelihood") or {})
        shown["leading"] = column["objective"] and not column["second"] and column["metric"] in row.get("leading", ())
        cells.append(shown)
    family = row.get("family", "")
    return {"name": row_name(row), "row": row, "cells": cells, "colour": styles.get(family, ("", ""))[0]}


def _likelihood_kind(likelihood: Mapping[str, Any]) -> str:
    kind = str(likelihood.get("kind", "")).replace("_", " ")
    if (likelihood.get("samples") or 1) > 1:
        kind += f", {likelihood['samples']} noise samples"
    return f"{kind}, given the {likelihood['given']}" if likelihood.get("given") else kind


def _samples(
    folder: RunFolder, records: list[Record], content: Mapping[str, Any], styles: Mapping[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    """Real data first, then each family's first re-training (not the best looking one), then the references."""
    wanted: list[tuple[str, str, str, str]] = [("real data", "real", "", "")]
    for row in content["rows"]:
        mine = [r for r in records if r.family == row["family"]]
        finals = [r for r in mine if r.role == "final" and r.incumbent == row["incumbent"] and r.state == "complete"]
        found = next((r for r in finals if _has_samples(folder, r.name)), None)
        note = "first re-training" if found else "default setting, before the final training"
        found = found or next((r for r in mine if r.role == "trial" and _has_samples(folder, r.name)), None)
        if found:
            wanted.append((row_name(row), found.name, note, styles[row["family"]][0]))
    for reference in content["references"]:
        names = [r.name for r in records if r.role == "reference" and r.family == reference["name"]]
        drawn = next((name for name in names if _has_samples(folder, name)), None)
        if drawn and reference["name"] != "floor":  # the floor's samples are real
            wanted.append((row_name(reference), drawn, "reference", ""))
    pictures = []
    clouds = {name: load_points(folder.artifact("samples", f"{name}.json")) for _, name, _, _ in wanted}
    there = [points for points in clouds.values() if points is not None]
    for title, name, note, colour in wanted:
        image = load_png(folder.artifact("samples", f"{name}.png"))
        points = clouds[name]
        plot = None if points is None else scatter(points, common_limits(there))
        texts = load_texts(folder.artifact("samples", f"{name}.json"))
        if image or plot or texts:
            shown = {"image": image, "plot": plot, "texts": texts}
            pictures.append({"title": title, "note": note, "colour": colour, "real": name == "real", **shown})
    return pictures


def _has_samples(folder: RunFolder, name: str) -> bool:
    return any(folder.artifact("samples", f"{name}.{end}").is_file() for end in ("png", "json"))


def _settings(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each row with a winning setting: every parameter, tuned and default, and whether they differ."""
    tables = []
    for row in content["rows"]:
        if not row["params_by_repeat"]:
            continue
        default = row["default_params"] or {}
        names = dict.fromkeys(name for params in [*row["params_by_repeat"], default] for name in params)
        lines = []
        for name in names:
            values = [(params.get(name), name in params) for params in row["params_by_repeat"]]
            differs = any(not there or value != default.get(name) for value, there in values) or name not in default
            lines.append(
                {
                    "name": name,
                    "values": values,
                    "default": default.get(name),
                    "known": name in default,
                    "differs": differs,
                }
            )
        tables.append({"name": row_name(row), "family": row["family"], "lines": lines, "default": bool(default)})
    return tables


def _failures(records: list[Record]) -> list[dict[str, Any]]:
    names = {
        "trial": "trial",
        "choice": "re-training for the choice",
        "final": "re-training",
        "default": "default re-training",
        "reference": "reference",
    }
    return [
        {
            "family": r.family,
            "what": f"{names[r.role]} {r.number}{f' of repeat {r.repeat}' if r.repeat else ''}",
            "reason": r.reason or "no reason recorded",
            "params": ", ".join(f"{k} = {text.setting(v)}" for k, v in r.params.items()),
        }
        for r in records
        if r.state == "failed"
    ]


def _provenance(records: list[Record]) -> list[tuple[str, str]]:
    """Every key of the records' provenance with its values; more than one where records differ."""
    found: dict[str, dict[str, None]] = {}

    def gather(prefix: str, content: Mapping[str, Any]) -> None:
        for key, value in content.items():
            if isinstance(value, Mapping):
                gather(f"{prefix}{key} ", value)
            else:
                found.setdefault(f"{prefix}{key}".replace("_", " "), {})[text.setting(value)] = None

    for record in records:
        gather("", record.provenance)
    return [
        (key, "; ".join(list(values)[:4]) + (f"; and {len(values) - 4} more" if len(values) > 4 else ""))
        for key, values in found.items()
    ]
