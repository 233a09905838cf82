"""Whole comparisons on what users have: each reader once, on files in the real format; two families, two trainings."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gentune

LETTERS = Path(__file__).parents[2] / "plugins" / "letters.py"


def _written_by(name: str) -> ModuleType:
    """A test module of data, which writes files."""
    path = Path(__file__).parents[1] / "data" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"written_by_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _csv(folder: Path) -> Any:
    return {"path": str(_written_by("test_tables").passengers(folder)), "label": "survived"}


def _parquet(folder: Path) -> Any:
    pd.read_csv(_written_by("test_tables").passengers(folder)).to_parquet(folder / "passengers.parquet")
    return folder / "passengers.parquet"


def _text(folder: Path) -> Any:
    return {"path": str(_written_by("test_text").sentences(folder)), "lines": True}


def _mnist(folder: Path) -> Any:
    _written_by("test_torchvision_sets").mnist(folder)
    return {"name": "torchvision:MNIST", "root": str(folder), "resize": 8, "levels": 8}


def _hub(folder: Path) -> Any:
    return f"hf:{_written_by('test_hub_sets').people(folder)}"


def _arrays(folder: Path) -> Any:
    random = np.random.default_rng(0)
    labels = np.arange(120) % 2
    return random.standard_normal((120, 3)) + 2 * labels[:, None], labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "families", "objective", "plugins"),
    [
        (_csv, "gaussian_mixture,kernel_density", "mmd", ()),
        (_parquet, "gaussian_mixture,histogram", "mmd", ()),
        (_text, "letters,more_letters", "bits_per_token", (LETTERS,)),
        (_mnist, "histogram,naive_bayes", "fid", ()),
        (_hub, "gaussian,histogram", "mmd", ()),
        (_arrays, "gaussian_mixture,histogram", "mmd", ()),
    ],
)
def test_a_reader_runs_a_whole_comparison(
    tmp_path: Path, write: Callable[[Path], Any], families: str, objective: str, plugins: tuple[Path, ...]
) -> None:
    run = gentune.compare(
        data=write(tmp_path),
        families=families,
        trainings=2,
        seeds=1,
        choice_seeds=0,
        final_samples=60,
        workers=1,
        plugins=plugins,
        out=tmp_path / "run",
    )
    assert run.leaderboard["state"] == "finished"
    rows = {row["family"]: row for row in run.leaderboard["rows"]}
    assert set(rows) == set(families.split(","))
    for row in rows.values():
        assert np.isfinite(row["metrics"][objective]["value"])
    assert set(run.trials["state"]) == {"complete"}
    for family in rows:
        model = run.model(family)
        if model.data.table is not None:
            drawn = pd.read_csv(run.folder.artifact("samples", f"final-{family}-0-0-000.csv"))
            real = pd.read_csv(run.folder.artifact("samples", "real.csv"))
            conditional = "survived" in drawn
            assert list(drawn) == [name for name in real if conditional or name != "survived"]
