"""The HTTP servers of the three ports."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from webhook.server.accept import Listener
from webhook.server.bounded_protocol import BoundedProtocol
from webhook.server.connections import Connection, ConnectionTable
from webhook.server.immediate_protocol import NO_ANSWERS, Answer
from webhook.server.read_buffer import BufferedReader, read_buffer

# Longer than the 90 s after which the API server drops an idle connection: if the server dropped it, a review sent at
# that moment would fail with EOF, since a POST is not sent twice.
KEEP_ALIVE_SECONDS: Final = 120
GRACE_SECONDS: Final = 10
BACKLOG: Final = 1024
# What the kernel keeps of a response that is not read (and as much for its own records); unset, it grows to megabytes.
SEND_BUFFER: Final = 128 << 10


class HttpServer(Server):
    """A uvicorn server on a given socket; `context` returns that of the next TLS handshake, None for none.

    `answers` are for requests that need no app. It leaves signals alone, since a process has several servers.
    """

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        table: ConnectionTable,
        context: Callable[[], ssl.SSLContext] | None = None,
        answers: Mapping[bytes, Answer] = NO_ANSWERS,
    ) -> None:
        super().__init__(
            Config(
                app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._bound = bound
        self._table = table
        self._context = context
        self._answers = answers
        self._read_buffer = read_buffer()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  it has its own
        """Listen, with a table that counts connections from their accept on."""
        self._bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # its connections inherit it
        self._bound.listen(BACKLOG)
        self.servers = [Listener(self._bound, self._table, self._new_protocol, self._context)]  # type: ignore[list-item]  # as much of a server as uvicorn uses
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish open requests, and close all else."""
        await super().shutdown(sockets or [self._bound])

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield

    def _new_protocol(self, connection: Connection) -> BufferedReader:
        settings: dict[str, Any] = {"config": self.config, "server_state": self.server_state, "app_state": {}}
        protocol = BoundedProtocol(connection, self._table, self._answers, **settings)
        return BufferedReader(protocol, self._read_buffer)
