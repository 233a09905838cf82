"""The short golden comparison gives what its file says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_short_golden_comparison_gives_the_same_figures() -> None:
    script = Path(__file__).parent / "golden.py"
    done = subprocess.run([sys.executable, str(script), "check", "short"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
