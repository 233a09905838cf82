"""What a record needs to be made again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gentune.bench.runs.provenance import provenance

ROOT = Path(__file__).parents[3]


def test_the_revision_is_that_of_the_repository() -> None:
    """The module looks for the repository above itself: a wrong depth would lose the revision without a word."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not in a git repository")
    assert provenance()["revision"] == done.stdout.strip()
