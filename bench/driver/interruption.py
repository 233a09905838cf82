"""A polite end of a run that is asked for from outside."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def terminable() -> Iterator[Callable[[], None]]:
    """Turns SIGTERM into the same clean stop as Ctrl-C, a KeyboardInterrupt.

    Gives a function for the work to call often: it raises KeyboardInterrupt where one was raised before and got lost.
    Python swallows what is raised while it deletes objects or collects garbage.
    """
    asked = False

    def stop(number: int, _: object) -> None:
        nonlocal asked
        asked = True
        if number == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends it twice; the end is under way
        raise KeyboardInterrupt

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, or the caller's to handle
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
