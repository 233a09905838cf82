"""Evaluators in reports: which they are, and where one is near chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gentune.bench.evaluators.quality import Quality
from gentune.bench.runs.run_folder import RunFolder
from gentune.reports import write_leaderboard, write_report


@pytest.mark.parametrize("poor", [True, False])
def test_an_evaluator_near_chance_is_told_where_figures_stand(
    poor: bool, tmp_path: Path, write_run: Callable[..., RunFolder], parse_page: Callable[[str], Any]
) -> None:
    value = 0.15 if poor else 0.9
    quality = Quality("classes", value, value - 0.02, value + 0.02, 0.1, 400)
    folder = write_run(tmp_path / "run")
    entry = {"role": "primary", "name": "mixer", "fingerprint": "f00d", "accuracy": value}
    hashed = {"source": "the train split", "sha256": "0123456789abcdef" * 4}
    pretrained = {"role": "second", "name": "inception", "fingerprint": "beef", "accuracy": None, "quality": None}
    second = pretrained | {"weights": {"source": "/models/inception.pth", "sha256": "fedcba9876543210" * 4}}
    folder.write_json("evaluators.json", [entry | {"quality": quality.as_json(), "weights": hashed}, second])
    content = write_leaderboard(folder).content
    assert content["evaluators"][0]["quality"]["poor"] is poor
    page = parse_page(write_report(folder).read_text(encoding="utf-8"))
    text, titles = page.text, [attributes.get("title") or "" for _, attributes in page.tags]
    assert "quality · mixer" in text and "second evaluator · inception" in text
    assert any(title.endswith("Through mixer (weights 0123456789ab…).") for title in titles)
    assert str(quality) in text
    for shown in ("0123456789ab…", "/models/inception.pth", "fedcba987654…", "The second evaluator is inception"):
        assert shown in text
    warning = "The primary evaluator, mixer, has learned little of the data"
    assert (warning in text) is poor
    assert ("poor evaluator" in text) is poor
    assert any(note.startswith(warning) for note in content["notes"]) is poor
