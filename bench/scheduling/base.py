"""The interface between the driver and executors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import UsageError
from ..runs.spool import Delivery
from ..trial.jobs import Job


@dataclass(frozen=True)
class Done:
    """A job ended, and the driver may adopt what it has left; evaluators leave nothing."""

    ticket: int
    delivery: Delivery | None


@dataclass(frozen=True)
class Died:
    """The worker died in the middle of a job; the setting is not blamed at first."""

    ticket: int
    reason: str


@dataclass(frozen=True)
class Progressed:
    """A job has done this share of a part of it: "train", "sample", "score" or "measure", as in `Record.seconds`.

    Where an executor tells when a part begins, the driver ends jobs whose part hangs.
    """

    ticket: int
    share: float
    part: str = "train"


@dataclass(frozen=True)
class Cancelled:
    """A job was ended by `cancel`, and has left nothing."""

    ticket: int


Event = Done | Died | Progressed | Cancelled


@dataclass(frozen=True)
class ExecutorSettings:
    """What an executor gets when a run begins.

    spool: a folder of the run on the driver's machine, in which deliveries wait for the driver.
    plugins: files that every process loads before it is given a job.
    devices, workers: as in the study file; `workers` None: as many as the executor chooses.
    say: called with a line of text when something goes wrong.
    log: file of the run's to which goes what jobs print; None: standard error.
    """

    spool: Path
    plugins: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    workers: int | None = 1
    say: Callable[[str], None] = print
    log: Path | None = None


class Executor(Protocol):
    """Workers that take one job each and hand over what it leaves; they need no access to the run folder.

    A ticket is the driver's number of a job that is running. It ends with one Done, Died or Cancelled.
    A job's `cache` is the driver's folder of kept trainings and evaluators, which local workers share; an executor on
    other machines puts a folder of theirs in its place.
    """

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

    def cancel(self, ticket: int) -> None:
        """Ends a running job and replaces its worker; `wait` tells whether it was cancelled or done before."""

    def left_over(self) -> list[Delivery]:
        """What jobs of an earlier driver of the same run have left, finished but not acknowledged.

        Called once, before the first job.
        """

    def acknowledge(self, delivery: Delivery) -> None:
        """The driver has written the delivery down: it may be removed."""

    def close(self) -> None:
        """Ends the workers, whatever they are doing; deliveries that are not acknowledged stay."""


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
