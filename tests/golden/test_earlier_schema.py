"""A run of an earlier version, with records of schema 1: it can be read and reported, and is not resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import gentune
from gentune.bench.commands.cli import main

EARLIER = Path(__file__).parent / "run_schema_1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(EARLIER, folder)
    return folder


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_the_report_gives_the_same_standings(run: Path) -> None:
    assert command("report", str(run)) == 0
    earlier, now = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (EARLIER / "leaderboard.json", run / "report" / "leaderboard.json")
    )
    assert [_standing(row) for row in now["rows"]] == [_standing(row) for row in earlier["rows"]]
    assert [_standing(row) for row in now["references"]] == [_standing(row) for row in earlier["references"]]
    assert "naive_bayes" in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_export_and_status_read_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", str(run), "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["family"], row["number"]) for row in rows["trials"]] == [
        ("gaussian", 0),
        ("gaussian", 1),
        ("naive_bayes", 0),
        ("naive_bayes", 1),
    ]
    assert all(row["metrics"]["fid"]["value"] > 0 for row in rows["finalists"] if row["role"] == "final")
    assert command("status", str(run), "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "finished"


def test_its_tables_and_models_load(run: Path) -> None:
    loaded = gentune.load(run)
    assert len(loaded.trials) == (loaded.finalists["role"] == "final").sum() == 4
    assert loaded.model("naive_bayes").data.name == "digits"


@pytest.mark.parametrize("how", ["resume", "compare"])
def test_it_is_not_resumed(run: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    again = f"--data digits --families naive_bayes,gaussian --trainings 2 --seeds 2 --out {run}"
    assert command(*(["resume", str(run)] if how == "resume" else ["compare", *again.split()])) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "earlier version (records of schema 1, wanted 2)" in told[0]


def _standing(row: dict[str, Any]) -> dict[str, Any]:
    """The row without its intervals, which follow this version's rules."""
    kept = ("family", "rank", "rank_low", "rank_high", "not_separable_from", "params")
    values = {
        part: {name: cell.get("value") for name, cell in row[part].items()} for part in ("metrics", "second_metrics")
    }
    return {key: row.get(key) for key in kept} | values
