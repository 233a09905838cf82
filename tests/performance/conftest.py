"""The modules of the proposal benchmark, which is no package, and a toy catalogue of tasks for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent / "proposals"
MODULES = (
    "ablations",
    "choose",
    "methods",
    "page",
    "parts",
    "pipe",
    "pool",
    "report",
    "run",
    "scores",
    "served_method",
    "store",
    "task",
    "two_objectives",
)
TOY = """
from task import FailedTrial, Task
from gentune.search_spaces.space import Parameter, SearchSpace

SPACE = SearchSpace((
    Parameter("kind", "categorical", "a", choices=("a", "b")),
    Parameter("rate", "float", 0.1, low=1e-3, high=1.0, log=True),
    Parameter("depth", "int", 3, low=1, high=9, step=2, when={"kind": ("b",)}),
))

def truth(setting):
    if setting["rate"] > 0.7:
        raise FailedTrial
    return setting["rate"] + setting.get("depth", 5) / 10

TASKS = {"toy": Task("toy", "failing", SPACE, lambda s, rng: truth(s) + 0.1 * rng.standard_normal(), truth)}

def normalised_regret(task, value):
    return value / 0.5
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, ModuleType]]:
    """The benchmark's modules and a toy catalogue next to them, which leave no trace in other tests."""
    (tmp_path / "toy_catalogue.py").write_text(TOY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield {name: __import__(name) for name in (*MODULES, "toy_catalogue")}
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith((str(FOLDER), str(tmp_path))):
            del sys.modules[name]
