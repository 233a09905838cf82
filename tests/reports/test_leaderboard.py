"""The leaderboard and its files, from records written as the driver writes them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gentune.bench.data import DataRef
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_file import StudyFile
from gentune.reports import build_leaderboard, text_table, write_leaderboard, write_report


def test_leaderboard_holds_test_scores_with_ranks_and_reasons(
    tmp_path: Path, write_run: Callable[..., RunFolder]
) -> None:
    folder = write_run(tmp_path / "run")
    board = write_leaderboard(folder)
    content = json.loads((folder.report_path / "leaderboard.json").read_text())
    assert content == json.loads(json.dumps(board.content))
    rows = {row["family"]: row for row in content["rows"]}
    assert next(iter(rows)) == "ddpm"
    assert (rows["ddpm"]["rank"], rows["ddpm"]["rank_low"], rows["ddpm"]["rank_high"]) == (1, 1, 1)
    assert rows["wgan_gp"]["rank"] == rows["gaussian_mixture"]["rank"] == 2
    assert rows["wgan_gp"]["not_separable_from"] == ["gaussian_mixture"]
    finals = [r.metrics["fid"]["value"] for r in folder.records("final") if r.family == "ddpm"]
    cell = rows["ddpm"]["metrics"]["fid"]
    assert cell["value"] == pytest.approx(np.mean([v for v in finals if v is not None]))
    assert cell["low"] < cell["value"] < cell["high"] and cell["unit"] == "squared feature distance"
    assert rows["ddpm"]["metrics"]["bits_per_dim"] == {"undefined": "ddpm has no likelihood"}
    assert rows["ddpm"]["against_default"] == "better"
    assert rows["ddpm"]["metrics"]["failure_rate"]["value"] == 0.25
    assert (rows["ddpm"]["trials"], rows["ddpm"]["failed"], rows["ddpm"]["cost"]) == (4, 1, 4.0)
    assert [r["name"] for r in content["references"]] == ["floor", "gaussian"]
    assert content["references"][0]["metrics"]["fid"]["high"] == 10.0  # its own interval
    assert list(content["metrics"])[-1] == "train_seconds"
    assert rows["ddpm"]["candidate"] and rows["ddpm"]["better_than"] == ["gaussian_mixture", "wgan_gp"]
    assert rows["ddpm"]["not_excluded"] == [] and not rows["wgan_gp"]["candidate"]
    assert content["verdict"].startswith("ddpm leads: it is better than gaussian_mixture and wgan_gp by test fid (20")
    assert content["verdict"].endswith(". The second evaluator agrees.")
    assert 0 < content["detectable_gap"] < 0.5
    ratio = rows["ddpm"]["tuned_against_default"]
    assert ratio["ratio"] == pytest.approx(1 / 1.5) and ratio["low"] < ratio["ratio"] < ratio["high"]
    assert any("3 families that left the default setting is 0.667" in note for note in content["notes"])
    assert any("leave out the variance of the tuning" in note for note in content["notes"])
    assert any("lstm: takes sequences" in note for note in content["notes"])


def test_seeds_that_tell_nothing_of_a_metric_near_zero_say_so_in_its_own_unit(
    tmp_path: Path, write_run: Callable[..., RunFolder]
) -> None:
    folder = write_run(tmp_path / "run", data="two_moons", objective=("mmd",))
    luck = np.random.default_rng(0)
    records = [
        replace(r, metrics={"mmd": {"value": v, "low": None, "high": None}}, objectives=(v,))
        for r, v in zip(folder.records(), 3e-4 * luck.normal(size=len(folder.records())), strict=True)
        if r.objectives is not None
    ]
    content = build_leaderboard(folder, records).content
    assert content["detectable_gap"] is None and 3e-4 < content["detectable_difference"] < 1e-2
    (note,) = [note for note in content["notes"] if "cannot tell differences in mmd below" in note]
    assert "%" not in note.split(":")[0]


def test_the_verdict_says_who_is_ahead_of_the_named_family(
    tmp_path: Path,
    write_run: Callable[..., RunFolder],
    make_record: Callable[..., Record],
    parse_page: Callable[[str], Any],
) -> None:
    folder = write_run(tmp_path / "run")
    for number in range(2):  # by its retrainings on validation, wgan_gp would be the best
        folder.write_record(make_record("choice", "wgan_gp", number, 10.0 + number))
    content = write_leaderboard(folder).content
    assert content["verdict"].startswith("No leader: validation named wgan_gp (51.2 [49.8, 52.6]), but ddpm (20.18 [")
    assert content["verdict"].endswith("and gaussian_mixture (50.4 [49.0, 51.8]) are lower on the test.")
    folder.write_record(make_record("final", "gaussian_mixture", 3, 400.0))
    folder.write_record(make_record("final", "gaussian_mixture", 4, 0.0, state="failed", metrics={}, second_metrics={}))
    text = parse_page(write_report(folder).read_text()).text
    assert "4 of 5 finals" in text and "better mean on the test" in text
    assert "gaussian_mixture cannot be excluded either." in text


def test_where_the_second_evaluator_does_not_agree_the_claim_says_so(
    tmp_path: Path, write_run: Callable[..., RunFolder]
) -> None:
    folder = write_run(tmp_path / "run")
    for record in folder.records("final"):
        if record.family == "wgan_gp":
            folder.write_record(replace(record, second_metrics={"fid": {"value": 10.0, "low": 9.5, "high": 10.5}}))
    verdict = write_leaderboard(folder).content["verdict"]
    assert verdict.endswith("does not agree on wgan_gp: by its means ddpm is not better.")


def test_scores_of_tuning_trials_stand_in_no_leaderboard(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    folder = write_run(tmp_path / "run")
    write_leaderboard(folder)
    best = {r.objectives[0] for r in folder.records("trial") if r.objectives}
    for form in ("json", "csv", "md", "tex"):
        text = (folder.report_path / f"leaderboard.{form}").read_text()
        assert not any(repr(value)[:7] in text for value in best)


def test_one_seed_gives_no_intervals_and_separates_nobody(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    content = write_leaderboard(write_run(tmp_path / "run", seeds=1)).content
    for row in content["rows"]:
        assert (row["rank"], row["rank_low"], row["rank_high"]) == (None, None, None)
        assert not row["candidate"] and not row["not_separable_from"]
        assert row["metrics"]["fid"]["low"] is None and row["metrics"]["fid"]["high"] is None
    assert "single re-trainings cannot separate families" in content["verdict"]
    assert not any("leads" in text for text in [content["verdict"], *content["notes"]])


def test_unfinished_run_is_reported_as_far_as_it_went(
    tmp_path: Path, write_run: Callable[..., RunFolder], parse_page: Callable[[str], Any]
) -> None:
    folder = write_run(tmp_path / "run", finals=False)
    page = write_report(folder).read_text()
    content = json.loads((folder.report_path / "leaderboard.json").read_text())
    assert content["state"] == "running"
    assert all(row["rank"] is None and "fid" not in row["metrics"] for row in content["rows"])
    assert "nothing is ranked" in content["verdict"] and "Score against budget" in page
    empty = RunFolder.create_or_match(
        tmp_path / "empty", StudyFile(data=DataRef("digits"), families=("ddpm",), trainings=1, objective=("fid",))
    )
    assert "ddpm" in parse_page(write_report(empty).read_text()).text


def test_a_time_limit_that_cut_tuning_is_said_at_the_verdict(
    tmp_path: Path, write_run: Callable[..., RunFolder]
) -> None:
    folder = write_run(tmp_path / "run")
    folder.write_json("comparison.json", folder.read_json("comparison.json") | {"cut": ["ddpm", "wgan_gp"]})
    content = build_leaderboard(folder).content
    assert content["cut"][0] == {"family": "ddpm", "repeat": 0, "trials": 4, "spent": 4.0}
    assert "The time limit cut the tuning of ddpm and wgan_gp, so budgets were not equal." in content["verdict"]
    assert any("ended the tuning of ddpm after 4 trials, 100% of its budget" in note for note in content["notes"])
    assert content["notes"][0].endswith("but for those that the time limit cut.")


def test_files_of_equal_runs_differ_in_cost_columns_alone(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    folders = [write_run(tmp_path / name, seconds=seconds) for name, seconds in (("a", 1.0), ("b", 7.5))]
    same = write_run(tmp_path / "c")
    for folder in (*folders, same):
        write_leaderboard(folder)
    for form in ("json", "csv", "md", "tex"):
        texts = [(f.report_path / f"leaderboard.{form}").read_text() for f in (folders[0], same)]
        assert texts[0] == texts[1]
    documents = [json.loads((f.report_path / "leaderboard.json").read_text()) for f in folders]
    assert documents[0] != documents[1]
    for document in documents:
        for row in [*document["rows"], *document["references"]]:
            for part in ("metrics", "second_metrics", "default"):
                row.get(part, {}).pop("train_seconds", None)
            if "leading" in row:
                row["leading"] = [m for m in row["leading"] if m != "train_seconds"]
    assert documents[0] == documents[1]
    tables = [pd.read_csv(f.report_path / "leaderboard.csv") for f in folders]
    columns = list(tables[0].columns)
    cost = next(i for i, c in enumerate(columns) if c.startswith("train_seconds"))
    assert all(c.startswith("train_seconds") for c in columns[cost:])
    pd.testing.assert_frame_equal(tables[0].iloc[:, :cost], tables[1].iloc[:, :cost])


def test_csv_is_flat_and_parses(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    folder = write_run(tmp_path / "run")
    board = write_leaderboard(folder)
    table = pd.read_csv(folder.report_path / "leaderboard.csv")
    assert table["role"].tolist() == ["family"] * 3 + ["reference"] * 2
    row = table.set_index("family").loc["ddpm"]
    cell = board.content["rows"][0]["metrics"]["fid"]
    assert [row["fid"], row["fid_low"], row["fid_high"]] == [cell["value"], cell["low"], cell["high"]]
    assert row["fid_second"] == pytest.approx(1.2 * row["fid"])
    assert np.isnan(row["bits_per_dim"]) and "no likelihood" in row["undefined"]
    assert json.loads(str(row["params"])) == {"learning_rate": 2e-3, "batch_size": 64}


def test_markdown_and_latex(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    board = write_leaderboard(write_run(tmp_path / "run"))
    table = [line for line in board.render("md").splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1 and len(table) == 2 + 3 + 2
    assert "not defined" in table[2] and "| gaussian_mixture |" in board.render("md")
    latex = board.render("tex")
    assert r"gaussian\_mixture" in latex and r"\toprule" in latex
    body = [line for line in latex.splitlines() if not line.startswith("%")]
    assert not re.search(r"(?<!\\)_", "\n".join(body))
    with pytest.raises(ValueError, match="got 'pdf'"):
        board.render("pdf")


def test_terminal_table_fits_a_hundred_columns(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=100).print(text_table(write_leaderboard(write_run(tmp_path / "run")).content))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("…" in line for line in lines) == 0
    assert any("gaussian_mixture" in line and "[" in line for line in lines)


def test_several_objectives_and_repeats(
    tmp_path: Path,
    write_run: Callable[..., RunFolder],
    make_record: Callable[..., Record],
    parse_page: Callable[[str], Any],
) -> None:
    folder = write_run(tmp_path / "run", objective=("fid", "recall"), repeats=2)
    for number in range(3):
        folder.write_record(make_record("final", "ddpm", number, 20.5, repeat=1))
        folder.write_record(make_record("final", "ddpm", number, 30.0 + number, incumbent=1))
    content = write_leaderboard(folder).content
    assert content["rows"][-1]["incumbent"] == 1 and content["rows"][-1]["rank"] is None
    assert content["rows"][0]["metrics"]["fid"]["n"] == 2
    assert any("repeats of the whole tuning" in note for note in content["notes"])
    assert any("several objectives" in note for note in content["notes"])
    assert "ddpm (front, 2)" in parse_page(write_report(folder).read_text()).text


def test_the_size_of_a_study_is_told(tmp_path: Path, write_run: Callable[..., RunFolder]) -> None:
    whole, quarter = (write_leaderboard(write_run(tmp_path / f"{x:g}", size=x)).content for x in (1.0, 0.25))
    assert (whole["size"], quarter["size"]) == (1.0, 0.25)
    said = "The study's size is 0.25: trainings have 0.25 times the steps, networks 0.5 times the width"
    assert any(note.startswith(said) for note in quarter["notes"])
    assert not any("The study's size" in note for note in whole["notes"])
