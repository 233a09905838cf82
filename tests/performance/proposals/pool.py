"""Does runs in worker processes of one thread each, shows how far they are, and may be interrupted."""

from __future__ import annotations

import functools
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

import store

Do = Callable[[store.Job], dict[str, Any]]  # a picklable function: one run, in a worker; what is kept of it


def work(jobs: Sequence[store.Job], do: Do, results: Path, workers: int) -> int:
    """Does the jobs that have no result yet; 1 where any failed, 130 where it was interrupted."""
    queue = [j for j in reversed(jobs) if not j.path(results).exists()]
    total, began, done, failed = len(queue), time.monotonic(), 0, 0
    print(f"{len(jobs) - total} of {len(jobs)} runs are done", flush=True)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare) as pool:
        running: dict[Future[float], store.Job] = {}
        try:
            while queue or running:
                while queue and len(running) < workers:
                    job = queue.pop()
                    running[pool.submit(_keep, do, job, results)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job, error = running.pop(future), future.exception()
                    done, failed = done + (error is None), failed + (error is not None)
                    if error is not None:
                        print(f"{job.method} on {job.task}, seed {job.seed}, failed:", file=sys.stderr)
                        traceback.print_exception(error)
                    took = "failed" if error is not None else f"{future.result():.1f} s"
                    rest = (time.monotonic() - began) / (done + failed) * (total - done - failed) / 60
                    left = f"about {rest:.0f} min left"
                    print(f"{done + failed}/{total}  {job.label} {job.task} {job.seed}: {took}; {left}", flush=True)
        except KeyboardInterrupt:
            for process in list(pool._processes.values()):
                process.terminate()
            print(f"interrupted; {done} runs were done, the same command goes on", file=sys.stderr)
            return 130
    if failed:
        print(f"{failed} of {total} runs failed", file=sys.stderr)
    return 1 if failed else 0


def _prepare() -> None:
    """A worker: Ctrl-C is the parent's affair; what samplers say of themselves is not shown."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.filterwarnings("ignore", module="optuna")
    logging.disable(logging.WARNING)


def _end_with_parent() -> None:
    """However the parent ends, its workers do not go on without it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@functools.cache
def load_engine() -> str:
    """Imports all of the engine, and says which it is: sources may change while a worker lives."""
    import torch

    torch.set_num_threads(1)
    fingerprint = store.engine_fingerprint()
    for path in store.engine_files():
        if path.stem != "__init__":
            importlib.import_module(f"gentune.bench.proposal.{path.stem}")
    return fingerprint


def _keep(do: Do, job: store.Job, results: Path) -> float:
    """One run and its file; the seconds that it took. cpu_seconds: of this process and of those that it waited for."""
    if job.method.startswith("gentune") and load_engine() != job.version:
        raise RuntimeError("the engine's sources have changed since the command began; start it again")
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    content = do(job)
    seconds = time.perf_counter() - began
    times = {"seconds": seconds, "cpu_seconds": sum(os.times()[:4]) - cpu}
    store.write(job.path(results), {**asdict(job), **times, **content})
    return seconds
