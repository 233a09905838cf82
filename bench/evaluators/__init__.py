"""The feature networks that metrics look through."""

from .evaluator import Evaluator, Features
from .library import default_cache, evaluators_for, load_or_train

__all__ = ["Evaluator", "Features", "default_cache", "evaluators_for", "load_or_train"]
