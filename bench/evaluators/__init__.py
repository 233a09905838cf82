"""The feature networks that metrics look through."""

from ..files import default_cache
from .evaluator import Evaluator, Features
from .feature_cache import describe_cached
from .library import evaluators_for, load_evaluator, load_or_train
from .pace import EvaluatorPace, paces_of
from .pretrained import check_content, load_pretrained, registered

__all__ = [
    "Evaluator",
    "EvaluatorPace",
    "Features",
    "check_content",
    "default_cache",
    "describe_cached",
    "evaluators_for",
    "load_evaluator",
    "load_or_train",
    "load_pretrained",
    "paces_of",
    "registered",
]
