"""What all tests share: one thread, and caches of their own."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import pytest  # noqa: E402 - after the threads are set
import torch  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for this test run alone, shared by its processes."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "gentune-cache"
    os.environ["GENTUNE_CACHE"] = str(cache)
    return cache


@pytest.fixture(scope="session")
def performance_script() -> Callable[[str], ModuleType]:
    """Imports a script of tests/performance by its name."""

    def load(name: str) -> ModuleType:
        before = list(sys.path)
        sys.path.insert(0, str(Path(__file__).parent / "performance"))
        try:
            return importlib.import_module(name)
        finally:
            sys.path[:] = before  # scripts add folders of their own

    return load


@pytest.fixture
def tiny_plugin() -> Path:
    """A plug-in file with a family that trains in an instant, or fails as it is told."""
    return Path(__file__).parent / "plugins" / "tiny.py"
