"""A limit on the seconds that a family's own code may take in this process."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator


class TookTooLongError(BaseException):
    """The code has not come back within its limit.

    No `Exception`: a family, or a metric, that goes on after any exception would go on after its time as well.
    """


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[Callable[[], None]]:
    """Raises TookTooLongError in the block after `seconds`; `what` it does begins the message.

    Yields a function that begins the time from the start again. Limits may be nested: that of the outer block stands
    still meanwhile. The operating system's alarm interrupts waiting and Python code, and an operation of torch when
    that ends. Where there is none, in threads other than the main one, and with infinite `seconds`, the block may take
    as long as it likes.
    """
    alarms = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not alarms or math.isinf(seconds):
        yield lambda: None
        return

    def ring(*_: object) -> None:
        raise TookTooLongError(f"{what} took longer than {seconds:g} s")

    def begin() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    left, _ = signal.getitimer(signal.ITIMER_REAL)
    before = signal.signal(signal.SIGALRM, ring)
    begin()
    try:
        yield begin
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, left)
