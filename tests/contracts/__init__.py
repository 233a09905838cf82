"""Contracts that authors of plug-ins can hold their work to; installed as `gentune.testing`."""

from .data import DataContract
from .executors import ExecutorContract
from .families import FamilyContract
from .metrics import MetricContract

__all__ = ["DataContract", "ExecutorContract", "FamilyContract", "MetricContract"]
