"""Bayesian optimisation: from (space, observations, pending, costs, key) to a proposal, and an Optuna sampler.

Nothing is imported until it is asked for, so that the records cost neither torch nor botorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import incumbents, probability_of_better, propose
    from .records import Costs, Key, Observation, Proposal
    from .sampler import BayesianSampler

_HOMES = {
    "BayesianSampler": "sampler",
    "Costs": "records",
    "Key": "records",
    "Observation": "records",
    "Proposal": "records",
    "incumbents": "engine",
    "probability_of_better": "engine",
    "propose": "engine",
}

__all__ = [
    "BayesianSampler",
    "Costs",
    "Key",
    "Observation",
    "Proposal",
    "incumbents",
    "probability_of_better",
    "propose",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
