"""The interface of a generative model, and the families.

Nothing is imported until it is asked for, so that `gentune.models.data_spec` costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import (
        Adam,
        Batch,
        GenerativeModel,
        Likelihood,
        LikelihoodKind,
        Losses,
        Phase,
        Progress,
        Stage,
        Trainable,
    )
    from .data_spec import ConditionSpec, DataSpec

_HOMES = {
    "Adam": "base",
    "Batch": "base",
    "ConditionSpec": "data_spec",
    "DataSpec": "data_spec",
    "GenerativeModel": "base",
    "Likelihood": "base",
    "LikelihoodKind": "base",
    "Losses": "base",
    "Phase": "base",
    "Progress": "base",
    "Stage": "base",
    "Trainable": "base",
}

__all__ = [
    "Adam",
    "Batch",
    "ConditionSpec",
    "DataSpec",
    "GenerativeModel",
    "Likelihood",
    "LikelihoodKind",
    "Losses",
    "Phase",
    "Progress",
    "Stage",
    "Trainable",
    "load_class",
]


def load_class(reference: str) -> type[GenerativeModel]:
    """The class that a card names: "module:Class", the module relative to this package where it begins with a dot."""
    module, name = reference.split(":")
    found: type[GenerativeModel] = attrgetter(name)(import_module(module, __name__))
    return found


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
