"""Where trials run: in this process, or on local devices in worker processes of one thread each. Costs no torch."""

from .base import Cancelled, Died, Done, Executor, ExecutorSettings, Progressed, place
from .executors import IN_PROCESS, executor, executors, register_executor

__all__ = [
    "IN_PROCESS",
    "Cancelled",
    "Died",
    "Done",
    "Executor",
    "ExecutorSettings",
    "Progressed",
    "executor",
    "executors",
    "place",
    "register_executor",
]
