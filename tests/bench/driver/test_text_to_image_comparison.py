"""A whole comparison on images with texts: tuning with two speeds, finals on both splits, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import gentune


@pytest.mark.slow
def test_text_to_image_is_compared_on_captions(tmp_path: Path) -> None:
    run = gentune.compare(
        data="captions",
        families="text_to_image",
        trainings=2,
        two_speeds=True,
        seeds=2,
        choice_seeds=1,
        final_samples=200,
        size=0.15,
        space={"text_to_image": {"steps": {"fix": 10}, "text_layers": {"fix": 1}}},
        objective="text_accuracy",
        out=tmp_path / "run",
    )
    (row,) = run.leaderboard["rows"]
    assert row["failed_finals"] == 0
    (floor,) = (entry for entry in run.leaderboard["references"] if entry["name"] == "floor")
    assert 0.0 <= row["metrics"]["text_accuracy"]["value"] <= floor["metrics"]["text_accuracy"]["value"]
    assert floor["metrics"]["text_accuracy"]["value"] > 0.75
    assert any(entry["role"] == "image-text" for entry in run.leaderboard["evaluators"])
    (told,) = (run.path / "artifacts" / "texts").glob("*.json")
    content = json.loads(told.read_text(encoding="utf-8"))
    assert len(content["texts"]) == 10
    assert [line["name"] for line in content["shares"]["attributes"]] == ["thing", "size", "place"]
    assert all(line["real_new"]["value"] > 0.9 for line in content["shares"]["attributes"])
    with Image.open(told.with_suffix(".png")) as picture:
        assert picture.text["Synthetic"] == "yes"  # type: ignore[attr-defined]
        assert picture.width > 9 * 33 and picture.height > 10 * 32
    page = (run.path / "report" / "index.html").read_text(encoding="utf-8")
    section = page.split('<section id="texts">')[1].split("</section>")[0]
    assert content["texts"][0] in section and "new combinations" in section
