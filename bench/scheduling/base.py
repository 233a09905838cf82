"""What every scheduler offers to the driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import UsageError
from ..runs.records import Record
from ..trial.jobs import Job


@dataclass(frozen=True)
class Done:
    """A job ended; evaluators leave no record."""

    ticket: int
    record: Record | None


@dataclass(frozen=True)
class Died:
    """The worker ended in the middle of a job, which is nobody's setting's fault at first sight."""

    ticket: int
    reason: str


@dataclass(frozen=True)
class Progressed:
    """A job has done this share of its training."""

    ticket: int
    share: float


Event = Done | Died | Progressed


class Pool(Protocol):
    """Workers that take one job each."""

    @property
    def free(self) -> int:
        """How many jobs could start now."""

    @property
    def size(self) -> int:
        """How many jobs run at once at most."""

    def submit(self, ticket: int, job: Job) -> None:
        """Starts a job on a free worker."""

    def wait(self, timeout: float | None = None) -> list[Event]:
        """What happened since the last call; waits for something to happen, `timeout` seconds at most."""

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""


def place(devices: Sequence[str], workers: int | None, *, cuda_devices: int, cores: int) -> list[str]:
    """The device of each worker.

    "auto" stands for every CUDA device, else for the CPU with one worker a core. More workers than devices share
    them in turn. Raises UsageError for devices that are not there.
    """
    named = list(devices)
    if named == ["auto"]:
        named = [f"cuda:{i}" for i in range(cuda_devices)] or ["cpu"]
    for device in named:
        kind, _, index = device.partition(":")
        if kind == "cpu" and not index:
            continue
        if kind != "cuda" or not (index or "0").isdigit():
            raise UsageError(f"unknown device {device!r}; wanted auto, cpu or cuda:N")
        if int(index or 0) >= cuda_devices:
            raise UsageError(f"device {device!r} is not there; CUDA devices here: {cuda_devices}")
    if workers is None:
        workers = cores if named == ["cpu"] else len(named)
    return [named[i % len(named)] for i in range(workers)]
