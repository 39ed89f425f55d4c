"""The program `azwi-webhook`: runs the server in a child process and keeps its listening sockets open.

A server killed by a signal that this process did not forward (a fault in native code, no memory left, a kill) would
refuse connections until the Service's endpoints change, and the API server tries no other endpoint. So the sockets stay
open here, and a replacement server accepts what waits in their queues. Log and metrics report it. When a signal kills
the replacement too, this process exits, and Kubernetes restarts the container with its own back-off.

Imports no server code, to stay small; even typing and dataclasses would cost a mebibyte each.
"""

# ruff: noqa: PLC0415  the server is loaded in its own process only

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from types import FrameType

from azure_workload_identity.wakeup import Wakeup
from webhook.runtime.handover import Handover

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
MAX_MESSAGE = 512
# A process killed by signal N exits with 128 + N, as shells report it.
SIGNAL_STATUS = 128


def run_supervised(serve: Callable[[Handover], int]) -> int:
    """Run `serve` in a child process, and once more if a signal kills it; return the exit status."""
    with closing(Wakeup()) as wakeup:
        supervisor = _Supervisor(wakeup)
        # While no server runs, a signal stays pending: the next one gets it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        for number in STOP_SIGNALS:
            signal.signal(number, supervisor.forward)
        status = supervisor.run_server(serve, 0)
        if status < 0 and supervisor.sockets and not supervisor.stopping:
            status = supervisor.run_server(serve, -status)
    return status if status >= 0 else SIGNAL_STATUS - status


class _Supervisor:
    """The listening sockets, and the server's process."""

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self.sockets: dict[bytes, int] = {}
        self.stopping = False
        self._server = 0

    def forward(self, number: int, _frame: FrameType | None) -> None:
        """Send a signal that this process received on to the server."""
        self.stopping = True
        with suppress(ProcessLookupError):
            os.kill(self._server, number)

    def run_server(self, serve: Callable[[Handover], int], killed_by: int) -> int:
        """Run a server until it exits; return its exit status, negative if a signal killed it.

        STOP_SIGNALS are blocked when this is called, and when it returns.
        """
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server = os.fork()
        if not self._server:
            near.close()
            self._wakeup.close()
            _become_server()
            sys.exit(serve(Handover(far, self.sockets, killed_by)))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        far.close()
        with near:
            self._collect_sockets(near)
        status = self._wait()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        return status

    def _collect_sockets(self, link: socket.socket) -> None:
        """Keep the sockets that the server opens until it releases them, and return when it exits."""
        while True:
            if not self._wakeup.wait(link):
                continue
            message, descriptors, _, _ = socket.recv_fds(link, MAX_MESSAGE, 1)
            if not message:
                return
            if descriptors:
                self.sockets[message] = descriptors[0]
            else:
                self._release()

    def _release(self) -> None:
        while self.sockets:
            os.close(self.sockets.popitem()[1])

    def _wait(self) -> int:
        # Process 1 of a container also inherits the orphans of the server.
        while True:
            process, status = os.wait()
            if process == self._server:
                return os.waitstatus_to_exitcode(status)


def _become_server() -> None:
    """Reset signals, and leave the terminal's process group, so that Ctrl-C does not arrive twice."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Until the server handles it itself, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _serve(handover: Handover) -> int:
    try:
        from webhook.runtime.main import main

        return main(sys.argv[1:], handover)
    except ModuleNotFoundError as error:
        from azure_workload_identity.extras import report_missing

        return report_missing("azwi-webhook", "webhook", error)


def run() -> None:
    """The console script."""
    sys.exit(run_supervised(_serve))


if __name__ == "__main__":
    run()
