"""Bayesian optimisation: from (space, observations, pending, costs, key) to a proposal, and an Optuna sampler.

Nothing is imported until it is asked for, so that the records cost neither torch nor botorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answers import best_settings, incumbents, probabilities_of_better
    from .beliefs import Belief, Likely, stated
    from .engine import propose, propose_batch
    from .explanation import Explanation, explain
    from .records import Costs, Kept, Key, Observation, Proposal
    from .sampler import BayesianSampler
    from .stopping import Curve, Point, StoppingRule

_HOMES = {
    "Belief": "beliefs",
    "Likely": "beliefs",
    "stated": "beliefs",
    "BayesianSampler": "sampler",
    "Costs": "records",
    "Curve": "stopping",
    "Explanation": "explanation",
    "Kept": "records",
    "Key": "records",
    "Observation": "records",
    "Point": "stopping",
    "Proposal": "records",
    "StoppingRule": "stopping",
    "best_settings": "answers",
    "explain": "explanation",
    "incumbents": "answers",
    "probabilities_of_better": "answers",
    "propose": "engine",
    "propose_batch": "engine",
}

__all__ = [
    "BayesianSampler",
    "Belief",
    "Costs",
    "Curve",
    "Explanation",
    "Kept",
    "Key",
    "Likely",
    "Observation",
    "Point",
    "Proposal",
    "StoppingRule",
    "best_settings",
    "explain",
    "incumbents",
    "probabilities_of_better",
    "propose",
    "propose_batch",
    "stated",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
