"""What torch loads late is loaded before any clock runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json
import sys
import torch
from gentune.bench.training.torch_start import load_all_of_torch
assert "torch._dynamo" not in sys.modules, "torch loads it by itself: the function has nothing left to do"
load_all_of_torch()
before = set(sys.modules)
weight = torch.zeros(3, requires_grad=True)
adam = torch.optim.Adam([weight])
weight.sum().backward()
adam.step()
adam.zero_grad()
print(json.dumps(sorted(name for name in set(sys.modules) - before if name.startswith("torch."))))
"""


@pytest.mark.slow
def test_the_first_optimiser_loads_next_to_nothing() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert len(json.loads(found.stdout)) < 10
