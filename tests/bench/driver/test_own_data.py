"""Whole comparisons on files that people have, in their real formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gentune
from gentune.bench.errors import UsageError
from gentune.bench.evaluators import library
from gentune.bench.scheduling import IN_PROCESS


def photographs(path: Path) -> dict[str, Any]:
    """JPEG files of two classes, some of which lie on their side, and two PNG files of 16 bits."""
    random = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    for label, name in enumerate(("bright", "dark")):
        (path / name).mkdir(parents=True)
        for i in range(60):
            coarse = random.integers(100 - 100 * label, 256 - 100 * label, (4, 3, 3), dtype=np.uint8)
            image = Image.fromarray(coarse.repeat(4, 0).repeat(4, 1))
            if i % 3:
                image.save(path / name / f"{i:02}.jpg", quality=95)
            else:
                image.transpose(Image.Transpose.ROTATE_90).save(path / name / f"{i:02}.jpg", quality=95, exif=turned)
    deep = random.integers(0, 65_536, (16, 12), dtype=np.uint16)
    Image.fromarray(deep).save(path / "dark" / "deep.png")
    return {"path": str(path), "crop": "square", "resize": 8, "levels": 32}


def scans(path: Path) -> dict[str, Any]:
    """An .npz with arrays for two splits, and labels."""
    random = np.random.default_rng(1)
    x = random.integers(0, 17, (160, 8, 8), dtype=np.uint8)
    y = np.arange(160) % 2
    x[y == 1, :4] //= 4
    np.savez(path, x_train=x[:120], y_train=y[:120], x_test=x[120:], y_test=y[120:])
    return {"path": f"{path}.npz", "levels": 17}


def compared(data: dict[str, Any], out: Path, **more: Any) -> gentune.api.Run:
    options: dict[str, Any] = {"trainings": 2, "seeds": 1, "choice_seeds": 0, "final_samples": 50, "workers": 1, **more}
    return gentune.compare(data=data, families="gaussian,gaussian_mixture", out=out, executor=IN_PROCESS, **options)


@pytest.mark.slow
@pytest.mark.parametrize("make", [photographs, scans])
def test_a_comparison_runs_to_its_end(
    make: Callable[[Path], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "_FEWEST_STEPS", 30)
    monkeypatch.setattr(library, "_EPOCHS", 1)
    data = make(tmp_path / "own")
    run = compared(data, tmp_path / "run")
    board = run.leaderboard
    assert board["state"] == "finished"
    assert {row["family"]: row["failed_finals"] for row in board["rows"]} == {"gaussian": 0, "gaussian_mixture": 0}
    assert board["name"].startswith("own: ")
    assert any(note.startswith("Data: ") for note in board["notes"])
    assert run.model("gaussian") is not None


def test_a_run_whose_data_have_changed_is_not_resumed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(60, 2)))
    data = {"path": str(tmp_path / "a.npy")}
    compared(data, tmp_path / "run", trainings=1)
    assert compared(data, tmp_path / "run", trainings=1).leaderboard["state"] == "finished"
    np.save(tmp_path / "a.npy", np.random.default_rng(1).normal(size=(60, 2)))
    with pytest.raises(UsageError, match=r"have changed since the run began .* put them back"):
        compared(data, tmp_path / "run", trainings=1, seeds=2)
