"""The program `azwi-webhook`: the server in a process of its own, and this one, which keeps its listening sockets.

When the server is ended by a signal that nobody sent through us (a fault in native code, no memory left, a kill), who
connects meanwhile would be refused until the Service knows, and the API server asks no other endpoint. So the sockets
stay open here, and a second server answers what waits in their queues. It is told of in log and metrics; when a signal
ends it too, so does this process, and Kubernetes sees that and waits before it starts the container anew.

Nothing of the server is loaded here, nor what can be done without: dataclasses would be another mebibyte.
"""

# ruff: noqa: PLC0415  the server is loaded in its own process only

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

from webhook.runtime.handover import Kept

STOP: Final = (signal.SIGTERM, signal.SIGINT)
LONGEST_MESSAGE: Final = 512
# The exit status of a process that a signal ended is this and the signal's number, as shells have it.
SIGNALLED: Final = 128


def keep(serve: Callable[[Kept], int]) -> int:
    """Have `serve` run in a process of its own, and once more if a signal ends it; the exit status."""
    keeper = _Keeper()
    for number in STOP:
        signal.signal(number, keeper.pass_on)
    status = keeper.attend(serve, 0)
    if status < 0 and keeper.sockets and not keeper.asked:
        status = keeper.attend(serve, -status)
    return status if status >= 0 else SIGNALLED - status


class _Keeper:
    """The sockets that are kept, and the process of the server."""

    def __init__(self) -> None:
        self.sockets: dict[bytes, int] = {}
        self.asked = False
        self._server = 0

    def pass_on(self, number: int, _frame: FrameType | None) -> None:
        """Let the server hear a signal that this process has got."""
        self.asked = True
        with suppress(ProcessLookupError):
            os.kill(self._server, number)

    def attend(self, serve: Callable[[Kept], int], ended_by: int) -> int:
        """Run a server to its end; its exit status, negative where a signal ended it."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A signal waits until it is known whom to pass it on to.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        self._server = os.fork()
        if not self._server:
            near.close()
            _begin_anew()
            sys.exit(serve(Kept(far, self.sockets, ended_by)))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
        far.close()
        with near:
            self._gather(near)
        return self._end()

    def _gather(self, link: socket.socket) -> None:
        """Keep the sockets that the server opens, until it lets go of them, and wait for its end."""
        while True:
            message, descriptors, _, _ = socket.recv_fds(link, LONGEST_MESSAGE, 1)
            if not message:
                return
            if descriptors:
                self.sockets[message] = descriptors[0]
            else:
                self._let_go()

    def _let_go(self) -> None:
        while self.sockets:
            os.close(self.sockets.popitem()[1])

    def _end(self) -> int:
        # Who is process 1 of a container also inherits what the server has left running.
        while True:
            process, status = os.wait()
            if process == self._server:
                return os.waitstatus_to_exitcode(status)


def _begin_anew() -> None:
    """Be a process like any other, which the terminal does not tell of Ctrl-C a second time."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)


def _serve(kept: Kept) -> int:
    try:
        from webhook.runtime.main import main
    except ModuleNotFoundError as error:
        from azure_workload_identity.extras import report_missing

        return report_missing("azwi-webhook", "webhook", error)
    return main(sys.argv[1:], kept)


def run() -> None:
    """The console script."""
    sys.exit(keep(_serve))


if __name__ == "__main__":
    run()
