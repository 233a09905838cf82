"""The feature networks that metrics look through."""

from ..files import default_cache
from .evaluator import Evaluator, Features
from .feature_cache import describe_cached
from .library import NAMES, evaluators_for, load_or_train
from .pretrained import PRETRAINED, load_pretrained, registered

__all__ = [
    "NAMES",
    "PRETRAINED",
    "Evaluator",
    "Features",
    "default_cache",
    "describe_cached",
    "evaluators_for",
    "load_or_train",
    "load_pretrained",
    "registered",
]
