"""The table of defaults at other sizes: who counts as better, and what is trained again."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import default_sizes

    return default_sizes


def row(main: float | None, second: float | None, steps: int = 10) -> dict[str, Any]:
    return {"fid": {"main": main, "second": second}, "steps": steps, "seconds": 1.0, "reason": None}


def test_better_is_better_through_both(script: ModuleType) -> None:
    rows = {
        "gaussian": row(50.0, 5.0),
        "a": row(49.0, 4.9),
        "b": row(20.0, 5.1),
        "c": row(50.0, 1.0),
        "d": row(None, 1.0),
    }
    assert script.better(rows) == ["a"]
    lines = list(script.section({"photo_patches": rows}))
    assert "1 of 4 families are better through both." in lines
    order = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert order == ["c", "b", "a", "gaussian", "d"], "by the mean ratio; what failed comes last"
    assert "| `d` | 10 | – | – | 1.0 | 0.20 | 1 | no |" in lines


def test_a_training_is_done_again_where_its_setting_differs(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def measured(*_: object) -> dict[str, Any]:
        done.append(1)
        return {"fid": {}, "reason": None, "seconds": 0.0}

    monkeypatch.setattr(script, "_measured", measured)
    families = script.families(script.DATA["photo_patches"], ["gan"])
    assert set(families) == {"gaussian", "gan"}
    for _ in range(2):
        found = script.trained(families["gan"], "photo_patches", 0, tmp_path)
    assert script.trained(families["gan"], "photo_patches", 1, tmp_path, only_kept=True) is None
    assert len(done) == 1 and found["setting"] == families["gan"].card.space.default()
    kept = json.loads((tmp_path / "photo_patches-gan-0.json").read_text(encoding="utf-8"))
    (tmp_path / "photo_patches-gan-0.json").write_text(json.dumps(kept | {"steps": 1}), encoding="utf-8")
    script.trained(families["gan"], "photo_patches", 0, tmp_path)
    script.trained(families["gan"], "photo_patches", 1, tmp_path)
    assert len(done) == 3
