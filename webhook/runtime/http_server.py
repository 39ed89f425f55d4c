"""The HTTP servers of the three ports."""

import contextlib
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from certs.serving import ServingContext
from webhook.server.bounded_protocol import BoundedProtocol

# Longer than the 90 s after which the API server drops an idle connection: if the server dropped it, a review sent at
# that moment would fail with EOF, since a POST is not sent twice.
KEEP_ALIVE_SECONDS: Final = 120
MAX_CONNECTIONS: Final = 2000
GRACE_SECONDS: Final = 10


class HttpServer(uvicorn.Server):
    """A uvicorn server on a given socket. It leaves signals alone, since a process has several."""

    def __init__(self, app: ASGIApp, bound: socket.socket, context: ServingContext | None = None) -> None:
        super().__init__(
            uvicorn.Config(
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
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
                ssl_context_factory=None if context is None else lambda _config, _default: context.ssl,
            )
        )
        self._bound = bound

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`."""
        await super().serve(sockets or [self._bound])

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield
