"""Gentune: tune and compare generative models under equal budgets, and publish only what holds up.

The public Python interface. Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import models, testing
    from .api import Run, compare, load, tune
    from .bench.proposal import BayesianSampler
    from .bench.registry import register_data, register_family, register_metric
    from .bench.registry import register_family as register
    from .bench.scheduling import register_executor

__version__ = "0.1.0"

__all__ = [
    "BayesianSampler",
    "Run",
    "compare",
    "load",
    "models",
    "register",
    "register_data",
    "register_executor",
    "register_family",
    "register_metric",
    "testing",
    "tune",
]

_HOMES = {
    "BayesianSampler": "bench.proposal",
    "Run": "api",
    "compare": "api",
    "load": "api",
    "register_data": "bench.registry",
    "register_executor": "bench.scheduling",
    "register_family": "bench.registry",
    "register_metric": "bench.registry",
    "tune": "api",
}


def __getattr__(name: str) -> Any:
    if name in ("models", "testing"):
        return import_module(f".{name}", __name__)
    if name == "register":  # the name that it had first
        name = "register_family"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
