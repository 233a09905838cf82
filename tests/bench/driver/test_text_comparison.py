"""A whole comparison on a text: the project's own documentation, by windows of characters."""

from __future__ import annotations

import html
import json
import math
from pathlib import Path

import pytest

import gentune
from gentune.bench.commands.cli import main
from gentune.bench.data import open_data

ROOT = Path(__file__).parents[3]
FAMILIES = ("ngram", "lstm", "transformer")


@pytest.mark.slow
def test_families_of_sequences_are_compared_on_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENTUNE_CACHE_GIB", "0")
    text = tmp_path / "documentation.txt"
    pages = sorted((ROOT / "docs").glob("*.md"))
    text.write_text("\n".join(page.read_text(encoding="utf-8") for page in pages)[:60_000], encoding="utf-8")
    run = gentune.compare(
        data={"path": str(text), "length": 32},
        families=",".join(FAMILIES),
        trainings=1,
        seeds=2,
        choice_seeds=1,
        final_samples=400,
        size=0.2,
        out=tmp_path / "run",
    )
    rows = {row["family"]: row for row in run.leaderboard["rows"]}
    assert set(rows) == set(FAMILIES)
    spec = open_data(run.folder.study.data).spec
    uniform = math.log2(spec.vocabulary or 0)
    for row in rows.values():
        assert row["failed_finals"] == 0
        assert row["metrics"]["bits_per_token"]["value"] < 0.75 * uniform
        for metric in ("ngram_mmd", "distinct_n", "repetition", "copied_span"):
            assert math.isfinite(row["metrics"][metric]["value"])
        assert "grammar" in row["metrics"]["grammaticality"]["undefined"]
    floor = next(row for row in run.leaderboard["references"] if row["name"] == "floor")
    assert all(row["metrics"]["ngram_mmd"]["value"] > floor["metrics"]["ngram_mmd"]["value"] for row in rows.values())
    page = (run.path / "report" / "index.html").read_text(encoding="utf-8")
    shown = html.unescape(page.split('<section id="samples">')[1].split("</section>")[0])
    first = json.loads((run.path / "artifacts" / "samples" / "real.json").read_text(encoding="utf-8"))["texts"]
    assert len(first) == 12
    assert all(example in shown for example in first)

    beginnings = tmp_path / "beginnings.txt"
    beginnings.write_text("The \n- `", encoding="utf-8")
    out = tmp_path / "completed.npz"
    command = ("sample", str(run.path), "--family", "transformer", "--n", "4", "--complete", str(beginnings))
    with pytest.raises(SystemExit) as exit_info:
        main([*command, "--out", str(out), "--json"])
    assert exit_info.value.code == 0, capsys.readouterr().err
    import numpy as np

    samples = np.load(out)["samples"]
    texts = ["".join(spec.symbols[token] for token in row) for row in samples]
    assert [text[:3] for text in texts] == ["The", "- `", "The", "- `"]
    assert len(texts[0]) == 32
