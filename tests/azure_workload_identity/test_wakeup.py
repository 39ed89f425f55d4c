"""Waiting that a signal ends."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from azure_workload_identity.wakeup import Wakeup


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Handle SIGUSR1, and return the numbers of the handled signals."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGUSR1, before)


def test_signal_before_the_wait(handled: list[int]) -> None:
    """A signal that arrived before the wait ends it: its handler ran already, but nobody knows what it changed."""
    with closing(Wakeup()) as wakeup:
        signal.raise_signal(signal.SIGUSR1)
        assert wakeup.wait() is False
    assert handled == [signal.SIGUSR1]


def test_signal_that_interrupts_nothing(handled: list[int]) -> None:
    """A signal that does not interrupt the main thread's system call ends the wait, and is handled by then.

    It is sent to another thread, which is as if it had come just before the system call.
    """
    others = threading.Timer(0.05, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    with closing(Wakeup()) as wakeup:
        others.start()
        assert wakeup.wait() is False
        assert handled == [signal.SIGUSR1]
    others.join()


def test_source() -> None:
    """A source that can be read ends the wait; one that cannot does not count."""
    near, far = socket.socketpair()
    silent, other = socket.socketpair()
    with near, far, silent, other, closing(Wakeup()) as wakeup:
        far.send(b"x")
        assert wakeup.wait(silent, near) is True
        assert near.recv(2) == b"x"


def test_close() -> None:
    """Once closed, nothing is written for a signal any more; closing again does nothing, also to another one."""
    first = Wakeup()
    first.close()
    with closing(Wakeup()):
        first.close()
        assert signal.set_wakeup_fd(-1) >= 0
    assert signal.set_wakeup_fd(-1) == -1
