"""The page: what it shows, from records written as the driver writes them."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gentune.bench.runs.constraints import parse_constraint
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.reports import write_leaderboard, write_report
from gentune.reports.budget_plots import budget_plots, cost_so_far, reference_levels
from gentune.reports.pictures import common_limits, scatter
from gentune.reports.plots import family_styles
from gentune.reports.text import figure
from gentune.reports.text import number as number_text
from gentune.reports.verdict import measured_guides


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ((44.21, 37.57, 52.03), "44.2 [37.6, 52.0]"),
        ((66.1, 52.2, 83.4), "66 [52, 83]"),
        ((5.97, 0.33, 108.2), "6.0 [0.3, 108.2]"),
        ((0.8522, 0.8473, 0.8572), "0.8522 [0.8473, 0.8572]"),
        ((-2e-4, -5e-4, 1e-4), "-2.0e-4 [-5.0e-4, 1.0e-4]"),
        ((0.0, 0.0, 0.0), "0 [0, 0]"),
        ((223456.0, None, None), "223456"),
    ],
)
def test_figures_show_the_digits_that_their_intervals_warrant(
    cell: tuple[float, float | None, float | None], shown: str
) -> None:
    assert figure(dict(zip(("value", "low", "high"), cell, strict=True))) == shown


def test_large_units_get_prefixes() -> None:
    assert number_text(223456, "parameters") == "223k"
    assert number_text(1.5 * 2**20, "bytes") == "1.50 MiB"
    assert number_text(4.3e11, "operations") == "430G"


def test_page_loads_nothing_and_escapes_everything(
    tmp_path: Path,
    write_run: Callable[..., RunFolder],
    make_record: Callable[..., Record],
    nasty: str,
    parse_page: Callable[[str], Any],
) -> None:
    folder = write_run(tmp_path / "run")
    changes: dict[str, Any] = {
        "params": {"kernel": nasty},
        "undefined": {"nll": nasty},
        "provenance": {"machine": nasty},
    }
    folder.write_record(make_record("final", "x" + nasty.replace("/", "~"), 0, 70.0, **changes))
    text = write_report(folder).read_text()
    page = parse_page(text)
    assert page.loads and all(load.startswith(("data:", "#")) for load in page.loads)
    assert not any(tag in ("iframe", "object", "embed", "base") for tag, _ in page.tags)
    assert "alert(" not in re.sub(r"&lt;script&gt;alert", "", text.split('<script type="application/json"')[0])
    assert sum(tag == "script" for tag, _ in page.tags) == 3  # figures, Plotly, the page's own
    assert f"diverged {nasty}" in page.text  # shown as text
    assert "url(" not in text.split("</style>")[0]
    figures = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.S)
    assert figures and {"objective", "default", "study-0"} <= set(json.loads(figures[1]))


def test_the_head_says_at_which_size_families_were_trained(
    tmp_path: Path, write_run: Callable[..., RunFolder], parse_page: Callable[[str], Any]
) -> None:
    for name, size in (("own", 1.0), ("half", 0.5)):
        text = parse_page(write_report(write_run(tmp_path / name, size=size)).read_text()).text
        assert ("trainings at 0.5 times their size" in text) == (size != 1.0)


def test_page_tells_not_defined_from_missing_and_keeps_references_apart(
    tmp_path: Path, write_run: Callable[..., RunFolder]
) -> None:
    text = write_report(write_run(tmp_path / "run")).read_text()
    assert '<abbr title="ddpm has no likelihood" tabindex="0">not defined</abbr>' in text
    ranked, references = text.split('<tbody class="references">')
    assert "real against real" not in ranked.split('<tbody class="ranked">')[1]
    assert "real against real" in references.split("</tbody>")[0]
    assert '<span class="bounds">dequantised</span>' in text
    csv = re.search(r'download="leaderboard.csv" href="data:text/csv;charset=utf-8;base64,([^"]+)"', text)
    assert csv and len(pd.read_csv(io.BytesIO(base64.b64decode(csv[1])))) == 5


def test_samples_are_shown_next_to_real_data_and_marked(
    tmp_path: Path, write_run: Callable[..., RunFolder], parse_page: Callable[[str], Any]
) -> None:
    folder = write_run(tmp_path / "run")
    png = io.BytesIO()
    Image.new("L", (8, 8)).save(png, "PNG")
    folder.artifact("samples").mkdir()
    for name in ("real", "final-ddpm-0-0-000"):
        folder.artifact("samples", f"{name}.png").write_bytes(png.getvalue())
    folder.artifact("samples", "final-wgan_gp-0-0-000.png").write_bytes(b"no picture")
    folder.write_json("samples/final-gaussian_mixture-0-0-000.json", {"points": [[0.0, 1.0], [9.0, 9.0]]})
    page = parse_page(write_report(folder).read_text())
    images = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert images == ["Real examples of digits", "Synthetic samples of digits, generated by ddpm"]
    labels = [attrs["aria-label"] or "" for tag, attrs in page.tags if tag == "svg"]
    assert len(labels) == 1 and labels[0].startswith("Synthetic points of digits, generated by gaussian_mixture")


def test_scatter_puts_points_where_they_belong() -> None:
    limits = common_limits([np.array([[1.0, -1.0]])])
    drawn = scatter(np.array([[0.0, 0.0], [limits[1], limits[1]], [5.0, 0.0]]), limits)
    assert drawn.path == "M120.0 120.0h0M240.0 0.0h0"
    assert (drawn.shown, drawn.outside) == (3, 1)


def test_budget_plot_shows_the_best_so_far_by_what_was_spent(
    tmp_path: Path, write_run: Callable[..., RunFolder], make_record: Callable[..., Record]
) -> None:
    folder = write_run(tmp_path / "run")
    trials = [
        make_record("trial", "ddpm", 0, 30.0, cost=1.0),
        make_record("trial", "ddpm", 1, 40.0, cost=0.5),
        make_record("trial", "ddpm", 2, 0.0, cost=0.25, state="failed", objectives=None, metrics={}),
        make_record("trial", "ddpm", 3, 20.0, cost=2.0),
    ]
    ((family, drawn),) = budget_plots(write_leaderboard(folder).content, trials, family_styles(["ddpm"]))
    line, points, failed = drawn["data"]
    assert family == "ddpm" and line["line"]["shape"] == "hv"
    assert line["x"][:3] == [1.0, 1.5, 3.75] and line["y"][:3] == [30.0, 30.0, 20.0]
    assert points["y"] == [30.0, 40.0, 20.0] and failed["x"] == [1.75]
    assert "validation" in drawn["layout"]["yaxis"]["title"]["text"]
    assert not drawn["layout"].get("shapes")
    trials += [r for r in folder.records("reference") if r.family == "floor"]
    ((_, drawn),) = budget_plots(write_leaderboard(folder).content, trials, family_styles(["ddpm"]))
    assert [shape["y0"] for shape in drawn["layout"]["shapes"]] == [19.0]  # the validation split's
    without = make_record("reference", "gaussian", 0, 30.0, split="validation", metrics={})
    assert reference_levels(write_leaderboard(folder).content, [*trials, without]) == {"real against real": 19.0}
    assert cost_so_far([make_record("trial", "a", n, 1.0, cost=cost) for n, cost in enumerate((1.0, 0.25))]) == [
        1.0,
        1.25,
    ]


def test_what_breaks_a_bound_is_hollow_and_never_the_best_so_far(
    tmp_path: Path, write_run: Callable[..., RunFolder], make_record: Callable[..., Record]
) -> None:
    seconds = [3.0, 0.5, 2.0, 0.5]
    trials = [
        make_record("trial", "ddpm", n, fid, metrics={"sample_seconds": {"value": s, "low": None, "high": None}})
        for n, (fid, s) in enumerate(zip((10.0, 40.0, 20.0, 30.0), seconds, strict=True))
    ]
    content = write_leaderboard(write_run(tmp_path / "run")).content
    bounds = [parse_constraint("sample_seconds <= 1")]
    ((_, drawn),) = budget_plots(content, trials, {"ddpm": ("#000000", "circle")}, bounds)
    line, points = drawn["data"]
    assert line["y"] == [None, 40.0, 40.0, 30.0, 30.0]
    assert points["marker"]["symbol"] == ["circle-open", "circle", "circle-open", "circle"]
    assert [text.endswith("breaks a bound") for text in points["text"]] == [True, False, True, False]


def test_a_run_that_measurements_guide_is_not_replayable() -> None:
    bounds = [{"metric": "sample_seconds"}, {"metric": "sample_flops"}, {"metric": "authenticity"}]
    assert measured_guides({"objective": ["fid", "train_seconds"], "constraints": bounds}) == [
        "train_seconds",
        "sample_seconds",
    ]


def test_every_family_keeps_a_style_of_its_own() -> None:
    styles = family_styles([str(i) for i in range(40)])
    assert len(set(styles.values())) == 40


def test_formats_can_be_chosen(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    folder = write_run(tmp_path / "run")
    assert write_report(folder, ["csv"]) == folder.report_path / "leaderboard.csv"
    assert [p.name for p in folder.report_path.iterdir()] == ["leaderboard.csv"]
    with pytest.raises(ValueError, match="got 'pdf'"):
        write_report(folder, ["pdf"])


def test_the_page_of_a_users_data_has_their_short_name(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    text = write_report(
        write_run(tmp_path / "run", data={"reader": "table", "path": "/some/people.csv", "label": "group"})
    ).read_text()
    assert "<h1>people</h1>" in text
    assert "<title>people: " in text


def test_store_credentials_stay_out_of_the_page(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    folder = write_run(tmp_path / "run", store="postgresql://me:secret@host/db")
    assert "secret" not in write_report(folder).read_text()


def test_reports_import_no_torch() -> None:
    code = (
        "import sys; import gentune.reports; "
        "print([m for m in ('torch', 'sklearn', 'botorch', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_first_finalists_leave_is_shown(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    folder = write_run(tmp_path / "run")
    record = next(r for r in folder.records("final") if r.number == 0 and r.state == "complete")
    before = write_report(folder).read_text(encoding="utf-8")
    assert "Over the guidance scale" not in before
    assert "Nearest training examples" not in before
    figure = {"value": 0.875, "low": None, "high": None}
    rows = [{"guidance_scale": s, "condition_accuracy": figure, "recall": figure, "fid": figure} for s in (0.0, 1.0)]
    folder.write_json(f"guidance/{record.name}.json", rows)
    picture = folder.artifact("neighbours", f"{record.name}.png")
    picture.parent.mkdir(parents=True)
    Image.new("L", (8, 8)).save(picture)
    page = write_report(folder).read_text(encoding="utf-8")
    assert page.count("0.875") >= 6
    assert f"Top row: synthetic samples of digits by {record.family}" in page
    assert "Completing hidden pixels" not in before + page
    completed = folder.artifact("completions", f"{record.name}.png")
    completed.parent.mkdir(parents=True)
    Image.new("L", (8, 8)).save(completed)
    page = write_report(folder).read_text(encoding="utf-8")
    assert f"bottom row: completed by {record.family}" in page


def test_outlier_detection_and_baselines_are_shown(
    tmp_path: Path,
    write_run: Callable[..., RunFolder],
    make_record: Callable[..., Record],
    parse_page: Callable[[str], Any],
) -> None:
    folder = write_run(tmp_path / "run")
    record = next(r for r in folder.records("final") if r.number == 0 and r.state == "complete")
    before = write_report(folder).read_text(encoding="utf-8")
    assert "Outlier detection" not in before
    assert "logistic regression" not in parse_page(before).text
    sets = [
        {"outliers": "noise", "value": 0.98765, "low": 0.97, "high": 0.99},
        {"foreign": "class 9 left out", "undefined": "it diverged"},  # as earlier runs wrote it
    ]
    folder.write_json(f"outliers/{record.name}.json", {"by": "log-likelihood", "sets": sets})
    metrics = {"bayes_accuracy": {"value": 0.9667, "low": 0.943, "high": 0.981}}
    folder.write_record(
        make_record("reference", "logistic_regression", 0, 1.0, undefined={}, metrics=metrics, second_metrics={})
    )
    text = parse_page(write_report(folder).read_text(encoding="utf-8")).text
    assert "Outlier detection" in text
    assert "class 9 left out" in text and "0.988 [0.970, 0.990]" in text
    assert "logistic regression" in text
    board = write_leaderboard(folder)
    assert [r["name"] for r in board.content["references"]] == ["floor", "gaussian", "logistic_regression"]
    # A narrow table has no column of its own for it, and so no row.
    assert "logistic" not in board.render("md")
