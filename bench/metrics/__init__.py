"""Metrics: pure functions on samples, features and likelihoods. Importing this package costs no torch."""

from .base import Measurement, MetricCard, MetricValue, UndefinedError, measure
from .catalogue import METRICS
from .cost import CostReport

__all__ = ["METRICS", "CostReport", "Measurement", "MetricCard", "MetricValue", "UndefinedError", "measure"]
