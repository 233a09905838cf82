"""Metrics: pure functions on samples, features and likelihoods. Importing this package costs no torch."""

from .base import Measurement, MetricCard, MetricValue, UndefinedError, measure
from .catalogue import METRICS, add_metric
from .cost import CostReport
from .inputs import INPUTS, InputCard, add_input

__all__ = [
    "INPUTS",
    "METRICS",
    "CostReport",
    "InputCard",
    "Measurement",
    "MetricCard",
    "MetricValue",
    "UndefinedError",
    "add_input",
    "add_metric",
    "measure",
]
