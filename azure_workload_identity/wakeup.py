"""Waiting that a signal ends, even one that comes just before.

Python handles a signal between two instructions. One that arrives just before a blocking system call is thus handled
after the call, which may take hours. The wake-up socket that Python writes to when a signal arrives ends a wait in
select(2) instead: https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd
"""

import select
import signal
import socket
from contextlib import suppress


class Wakeup:
    """Ends waits of this process when a signal that has a handler arrives; used by the main thread, one at a time."""

    def __init__(self) -> None:
        self._readable, self._writable = socket.socketpair()
        self._readable.settimeout(0)
        self._writable.settimeout(0)
        signal.set_wakeup_fd(self._writable.fileno(), warn_on_full_buffer=False)

    def wait(self, *sources: socket.socket) -> bool:
        """Wait for a signal, or until a source can be read; return whether one can be.

        Handlers of signals that arrived have run when this returns.
        """
        ready, _, _ = select.select([self._readable, *sources], [], [])
        with suppress(BlockingIOError):
            self._readable.recv(4096)
        return any(source in ready for source in sources)

    def close(self) -> None:
        """Stop that; a second time does nothing. A process that was forked calls it, too."""
        if self._readable.fileno() >= 0:
            signal.set_wakeup_fd(-1)
            self._readable.close()
            self._writable.close()
