"""A worker process: takes jobs from a pipe, reports progress, and ends with its driver.

First come the study's plug-in files and the spool's folder, and then one job after the other: plug-ins are
loaded before the first job is unpickled.

Arguments: the pipe's file descriptor and the driver's process id.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

_WATCH_EVERY = 0.5  # seconds between looks at whether the driver lives
_TELL_EVERY = 0.5  # seconds between words of progress


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    connection = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    import torch

    from .. import registry
    from ..training.torch_start import load_all_of_torch
    from ..trial.execution import run_job

    torch.set_num_threads(1)
    load_all_of_torch()
    plugins, spool = connection.recv()
    registry.load_plugins(plugins)
    while True:
        try:
            content = connection.recv_bytes()
        except EOFError:
            return
        told = time.monotonic()

        def tell(share: float) -> None:
            nonlocal told
            if time.monotonic() - told >= _TELL_EVERY:
                told = time.monotonic()
                connection.send(("progress", share))

        def tell_part(part: str) -> None:
            connection.send(("part", part))

        result: tuple[str, object]
        try:
            result = ("done", run_job(pickle.loads(content), Path(spool), tell, tell_part))
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver must hear of it
            traceback.print_exc()
            result = ("error", f"{type(error).__name__}: {error}")
        connection.send(result)


def _end_with(driver: int) -> None:
    """Ends this process when its parent is no longer the driver: a dead driver leaves no workers behind."""
    while os.getppid() == driver:
        time.sleep(_WATCH_EVERY)
    os._exit(1)


if __name__ == "__main__":
    main()
