"""What a newcomer touches: each addition is one new file (a family has a card, too), and no module changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NEWCOMERS = Path(__file__).parent / "newcomers"
FILES = {"executor.py", "family.py", "family.toml", "metric.py", "reader.py"}


def test_each_addition_is_one_file_and_a_family_has_its_card() -> None:
    assert {path.name for path in NEWCOMERS.iterdir() if path.is_file()} == FILES


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["counting", "local"])
def test_a_comparison_uses_all_four(tmp_path: Path, executor: str) -> None:
    """Through the command: with the newcomer's executor, and with real workers that know the plug-ins."""
    counted = tmp_path / "counted"
    command = [sys.executable, "-m", "gentune.bench", "compare", "--data", "negatives", "--families", "scaled"]
    for name in sorted(FILES - {"family.toml"}):
        command += ["--plugin", str(NEWCOMERS / name)]
    command += ["--objective", "brightness_gap", "--trainings", "2", "--workers", "1"]
    command += ["--seeds", "1", "--choice-seeds", "1"]
    command += ["--executor", executor, "--quiet", "--json", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "COUNTING_LOG": str(counted)}
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["family"] == "scaled"
    assert (row["trials"], row["failed"]) == (2, 0)
    assert 0.0 <= row["metrics"]["brightness_gap"]["value"] < 0.2
    assert counted.exists() == (executor == "counting")
