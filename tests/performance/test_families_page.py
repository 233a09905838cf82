"""docs/families.md: its matrix is what the TOMLs say, and its results are a leaderboard's."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gentune.search_spaces import load_card, shipped_cards

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def families_page(performance_script: Callable[[str], ModuleType]) -> ModuleType:
    return performance_script("families_page")


def test_the_matrix_on_the_page_is_what_the_cards_say(families_page: ModuleType) -> None:
    text = (DOCS / "families.md").read_text(encoding="utf-8")
    wanted = families_page.matrix(families_page.cards())
    assert wanted in text, "run `python tests/performance/families_page.py`"
    assert families_page.RESULTS in text


def test_every_page_of_a_family_is_linked_and_says_what_it_must(families_page: ModuleType) -> None:
    names = {load_card(path).name for path in shipped_cards()}
    matrix = families_page.matrix(families_page.cards())
    pages = sorted((DOCS / "families").glob("*.md"))
    assert pages
    for page in pages:
        assert page.stem in names, f"{page.name} belongs to no family"
        assert f"[{page.stem}](families/{page.stem}.md)" in matrix
        text = page.read_text(encoding="utf-8").lower()
        for part in ("strengths", "known failure"):
            assert part in text, f"{page.name} says nothing of: {part}"
        assert re.search(r"arxiv:\d|doi:|bishop 2006", text), f"{page.name} names no paper"


def _row(family: str, rank: int, **metrics: float) -> dict[str, Any]:
    return {
        "family": family,
        "incumbent": 0,
        "rank": rank,
        "rank_low": rank,
        "rank_high": rank + 1,
        "finals": 3,
        "metrics": {m: {"value": v, "low": 0.9 * v, "high": 1.1 * v} for m, v in metrics.items()},
        "likelihood": {"kind": "importance_weighted", "samples": 50},
        "against_default": "better",
    }


def test_results_are_those_of_the_leaderboard(families_page: ModuleType) -> None:
    cards = families_page.cards()
    board = {
        "data": "digits",
        "objective": ["fid"],
        "budget": {"kind": "trainings", "amount": 10.0},
        "seeds": 3,
        "rows": [
            _row("gaussian", 1, fid=10.0),
            _row("pca", 2, fid=20.0, bits_per_dim=3.49, authenticity=0.9),
            {**_row("ddpm", 3), "finals": 0, "rank": None},
        ],
        "references": [
            {"name": "floor", "metrics": {"fid": {"value": 1.9, "low": 0.0, "high": 3.9}}},
            {"name": "png", "metrics": {"compression_ratio": {"value": 1.1, "low": None, "high": None}}},
        ],
        "metrics": {"fid": {"unit": "squared feature distance"}},
        "verdict": "The verdict.",
        "notes": ["A note."],
        "skipped": {"histogram": "takes no such data"},
    }
    lines = families_page.results(board, cards).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "gaussian" in table[2] and "10.0 [9.0, 11.0]" in table[2] and "1–2" in table[2]
    assert "pca" in table[3] and "3.49 [3.14, 3.84] importance weighted, K = 50" in table[3]
    by_family = {line.split("|")[2].strip().split("]")[0].strip("["): line for line in table[2:]}
    assert "not run yet" in by_family["ddpm"] and "not run yet" in by_family["wgan_gp"]
    assert "takes no such data" in by_family["histogram"]
    assert any("*floor* (reference)" in line and "1.9 [0.0, 3.9]" in line for line in table)
    assert not any("png" in line for line in table)
    assert "The verdict." in lines and "- A note." in lines


def test_without_a_run_the_results_stay(
    families_page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, run = tmp_path / "families.md", tmp_path / "run"
    monkeypatch.setattr(families_page, "PAGE", page)
    written = f"{families_page.RESULTS}\nwhat was measured\n\n{families_page.FINDINGS}\nwhat was found\n"
    page.write_text(f"what stood above\n{written}", encoding="utf-8")
    there = ["families_page.py", "--run", str(run), "--speed", str(tmp_path / "speed.json"), "--out", str(page)]
    monkeypatch.setattr(sys, "argv", there)
    families_page.main()
    first = page.read_text(encoding="utf-8")
    assert written in first and "stood above" not in first
    assert first.rstrip().endswith(families_page.NONE_YET)  # of speed
    families_page.main()
    assert page.read_text(encoding="utf-8") == first
    ratio = {"pair": "pca", "rival": "theirs", "part": "train", "ours_ms": 2.228, "theirs_ms": 2.288}
    (tmp_path / "speed.json").write_text(json.dumps([{**ratio, "ratio": 0.979, "low": 0.95, "high": 1.009}]))
    families_page.main()
    second = page.read_text(encoding="utf-8")
    assert written in second
    assert "| pca | theirs | train | 2.23 | 2.29 | 0.98 [0.95, 1.01] |" in second
    (tmp_path / "speed.json").unlink()
    families_page.main()
    assert page.read_text(encoding="utf-8") == second
