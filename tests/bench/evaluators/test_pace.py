"""What evaluators are said to take before a run begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from gentune.bench.evaluators import library, load_evaluator, paces_of

from .test_evaluators import picture_set, point_set


def test_a_kept_evaluator_has_nothing_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_FEWEST_STEPS", 30)
    data = picture_set()
    before, other = paces_of(data, None, cache=tmp_path)
    assert (before.name, before.steps, before.told) == ("convolutional", 30, "")
    assert before.training > 0 and before.example > 0
    assert before.real == pytest.approx(before.example * (96 + 40 + 40))
    assert not list(tmp_path.iterdir()), "nothing is kept of what was only timed"
    assert "is trained first (30 steps" in str(before)
    evaluator = load_evaluator(data, "convolutional", cache=tmp_path)
    after, unchanged = paces_of(data, None, cache=tmp_path)
    assert (after.steps, after.training, after.told) == (0, 0.0, str(evaluator.quality))
    assert unchanged.steps == other.steps == 30
    assert after.as_json()["quality"] == str(evaluator.quality)


def test_what_is_not_trained_only_looks(tmp_path: Path) -> None:
    raw, projection = paces_of(point_set(), None, cache=tmp_path)
    assert (raw.steps, raw.told, projection.preparing) == (0, "", projection.real)
    assert str(raw).startswith("evaluator raw looks at 1,000 examples in ")
