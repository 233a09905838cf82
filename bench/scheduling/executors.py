"""Executors by name: the built-in ones and those that plug-ins register. Costs no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from ..errors import UsageError
from ..registry import check_name, load_entry_points, look_up, note_origin
from .base import Executor, ExecutorSettings

ExecutorFactory = Callable[[ExecutorSettings], Executor]


@dataclass(frozen=True)
class ExecutorEntry:
    """An executor that is known by name.

    factory: makes it for a run, or "module:function" of this package, imported when it is used.
    where: the file that registers it.
    """

    name: str
    summary: str
    where: str
    factory: ExecutorFactory | str

    def start(self, settings: ExecutorSettings) -> Executor:
        """Starts the executor for a run."""
        if not isinstance(self.factory, str):
            return self.factory(settings)
        module, function = self.factory.split(":")
        started: Executor = getattr(import_module(f".{module}", __package__), function)(settings)
        return started


IN_PROCESS = "in_process"
_BUILT_IN = {
    entry.name: entry
    for entry in (
        ExecutorEntry("local", "Worker processes on this machine, one thread each.", "Gentune", "local:start"),
        ExecutorEntry(IN_PROCESS, "One job at a time, in the driver's process.", "Gentune", "in_process:start"),
    )
}
_registered: dict[str, ExecutorEntry] = {}


def executors() -> Mapping[str, ExecutorEntry]:
    """Every known executor, by name."""
    load_entry_points("executors")
    return {**_BUILT_IN, **_registered}


def register_executor(name: str, factory: ExecutorFactory) -> None:
    """Makes an executor known by name, for the option `executor` of a study.

    factory: called with the run's ExecutorSettings; its docstring's first line describes the executor in listings.

    Raises UsageError for a name that is taken or not plain.
    """
    home = getattr(factory, "__module__", None) or type(factory).__module__
    where = getattr(sys.modules.get(home), "__file__", None) or home
    check_name(name, "an executor", where)
    there = {**_BUILT_IN, **_registered}.get(name)
    if there is not None and there.where != where:
        raise UsageError(f"executor {name!r} is registered twice: in {there.where} and in {where}")
    summary = (factory.__doc__ or "").strip().split("\n")[0]
    _registered[name] = ExecutorEntry(name, summary, where, factory)
    note_origin("executors", name)


def executor(name: str) -> ExecutorEntry:
    """An executor by name. Raises UsageError for an unknown one."""
    return look_up(name, executors(), "executor")
