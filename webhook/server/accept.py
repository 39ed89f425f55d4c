"""Accepts the connections of a port: each is counted from its accept on, and its TLS handshake is bounded in time.

asyncio's own servers report a TLS connection only after its handshake, so one that never sends a ClientHello would not
be counted.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from webhook.server.connections import Connection, ConnectionTable, source_of

HANDSHAKE_SECONDS: Final = 10.0
# Accepted at once, before established connections have their turn.
BATCH: Final = 16
# How long to wait for file descriptors to be closed when there are none left.
PAUSE_SECONDS: Final = 0.1


class Listener:
    """Accepts connections on a listening socket and gives each a protocol, over TLS if there is a context.

    `context` returns the TLS context of the next handshake.
    """

    def __init__(
        self,
        bound: socket.socket,
        table: ConnectionTable,
        protocol: Callable[[Connection], asyncio.BaseProtocol],
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._bound = bound
        self._table = table
        self._protocol = protocol
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._paused: asyncio.TimerHandle | None = None
        bound.settimeout(0)
        self._loop.add_reader(bound, self._accept)

    def close(self) -> None:
        """Accept no more connections."""
        self._loop.remove_reader(self._bound)
        if self._paused is not None:
            self._paused.cancel()

    async def wait_closed(self) -> None:
        """End the handshakes that are still open."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                client, peer = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._pause()
                return
            connection = Connection(source_of(peer))
            if not self._table.add(connection):
                client.close()
                continue
            task = self._loop.create_task(self._open(client, connection))
            connection.set_opening(task)
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _pause(self) -> None:
        self._table.report("no-file-descriptors")
        self._loop.remove_reader(self._bound)
        self._paused = self._loop.call_later(PAUSE_SECONDS, self._loop.add_reader, self._bound, self._accept)

    async def _open(self, client: socket.socket, connection: Connection) -> None:
        client.settimeout(0)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context, limit = (None, None) if self._context is None else (self._context(), HANDSHAKE_SECONDS)
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._protocol(connection), client, ssl=context, ssl_handshake_timeout=limit
            )
        except asyncio.CancelledError:
            client.close()
            self._table.remove(connection)
            raise
        except (OSError, ssl.SSLError) as error:
            client.close()
            slow = isinstance(error, TimeoutError | ConnectionAbortedError)
            self._table.close(connection, "slow-handshake" if slow else "failed-handshake")
