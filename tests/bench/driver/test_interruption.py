"""A run that is asked to stop stops, wherever the interrupt is raised."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from gentune.bench.driver.interruption import terminable


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Where the tests run in the background of a shell, interrupts are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_python_swallowed_is_raised_again(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable() as check:
        check()
        with contextlib.suppress(KeyboardInterrupt):  # as in a destructor
            os.kill(os.getpid(), number)
        check()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_interrupt_that_the_caller_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with terminable() as check:
        os.kill(os.getpid(), signal.SIGINT)
        check()
