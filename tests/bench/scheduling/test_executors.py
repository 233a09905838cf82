"""The built-in executors keep the contract."""

from __future__ import annotations

import pytest

from gentune.bench.scheduling import Executor, ExecutorSettings, executor
from gentune.testing import ExecutorContract


class TestInProcess(ExecutorContract):
    runs_while_away = False

    def start(self, settings: ExecutorSettings) -> Executor:
        return executor("in_process").start(settings)


@pytest.mark.slow  # starts three workers
class TestLocal(ExecutorContract):
    def start(self, settings: ExecutorSettings) -> Executor:
        return executor("local").start(settings)
