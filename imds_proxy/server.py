"""The HTTP/1.1 server that apps connect to, on httptools, with a bound on everything that a client can send or omit.

uvicorn would work, but costs 6 MiB in every pod that has the proxy.
"""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from imds_proxy import responses
from imds_proxy.messages import BODILESS, Handler, Request, Response
from imds_proxy.request import ImdsError

HOSTS: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
BACKLOG: Final = 1024
MAX_CONNECTIONS: Final = 1024
MAX_REQUEST: Final = 32 << 10
MAX_FIELDS: Final = 100
BLANKS: Final = " \t"  # optional around a header's value: RFC 9110, 5.5
# Of the statuses that the proxy sends, and of IMDS's; http.HTTPStatus would cost more than half a mebibyte.
REASONS: Final = {
    200: "OK",
    204: "No Content",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    508: "Loop Detected",
}
MAX_PIPELINED: Final = 16
REQUEST_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 120.0
GRACE_SECONDS: Final = 10.0


class Server:
    """The listeners and the open connections."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.draining = False
        self.connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []

    async def listen(self, port: int) -> None:
        """Listen on the loopback addresses of the pod.

        Raises:
            OSError: when the port is not available.
        """
        loop = asyncio.get_running_loop()
        for bound in _sockets(port):
            self._listeners.append(await loop.create_server(lambda: Connection(self), sock=bound, backlog=BACKLOG))

    async def drain(self) -> None:
        """Accept no new connections, and wait for the open requests, at most GRACE_SECONDS."""
        self.draining = True
        for listener in self._listeners:
            listener.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()
        deadline = asyncio.get_running_loop().time() + GRACE_SECONDS
        while self.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  it happens once
            await asyncio.sleep(0.01)


def _sockets(port: int) -> list[socket.socket]:
    """Bind 127.0.0.1, which always exists, and ::1, which may be disabled."""
    sockets: list[socket.socket] = []
    try:
        for family, host in HOSTS:
            if family is socket.AF_INET or _has_ipv6():
                sockets.append(socket.create_server((host, port), family=family, backlog=BACKLOG))
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class Connection(asyncio.Protocol):
    """One client's connection: its requests are handled one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._has_head = False
        self._received = 0
        self._pending: deque[tuple[Request, bool]] = deque()
        self._responder: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the wait for the first request, or refuse the connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the type checker
        self._transport = transport
        if self._server.draining or len(self._server.connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self._server.connections.add(self)
        self._expect_within(IDLE_SECONDS)

    def connection_lost(self, _error: Exception | None) -> None:
        """Stop everything: nobody reads a response any more."""
        self._server.connections.discard(self)
        self._expect_within(None)
        self._pending.clear()
        self._writable.set()
        del self._parser  # which refers to this connection: a cycle that only the garbage collector would find

    def pause_writing(self) -> None:
        """Pause: the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Resume: the client has caught up."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Parse bytes of one request or of several."""
        self._received += len(data)
        if self._received > MAX_REQUEST:
            self._refuse(431, "the request is too large")
            return
        try:
            self._parse(data)
        except HttpParserError:
            self._refuse(400, "this is not an HTTP/1.1 request that is answered here")

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as offer:
                # Java's client offers HTTP/2 this way. The request itself is parsed, and the offer may be ignored; but
                # the bytes behind it are the next request.
                data = data[offer.args[0] :]
            else:
                return

    def on_message_begin(self) -> None:
        """Start a request: the rest of it must follow in time."""
        self._target, self._headers, self._has_head = b"", [], False
        if self._responder is None:
            self._expect_within(REQUEST_SECONDS)

    def on_url(self, url: bytes) -> None:
        """Add a part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; a trailer, which comes after the body, is dropped."""
        if not self._has_head and len(self._headers) <= MAX_FIELDS:
            self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(BLANKS)))

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self._has_head = True

    def on_message_complete(self) -> None:
        """Queue a complete request; its body and trailers, if any, are ignored."""
        self._received = 0
        if len(self._headers) > MAX_FIELDS:
            self._refuse(431, f"the request has more than {MAX_FIELDS} header fields")
            return
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, self._target.decode("latin-1"), tuple(self._headers))
        self._pending.append((request, self._parser.should_keep_alive()))
        if len(self._pending) > MAX_PIPELINED:
            self._transport.abort()
        elif self._responder is None:
            self._expect_within(None)
            self._responder = self._loop.create_task(self._respond_all())

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being handled."""
        if self._responder is None:
            self._transport.close()

    async def _respond_all(self) -> None:
        while self._pending:
            request, keep = self._pending.popleft()
            response = await self._server.handler(request)
            if self._transport.is_closing():
                return
            keep = keep and not self._server.draining
            if not await self._send(response, keep=keep, with_body=request.method != "HEAD"):
                self._transport.abort()
                return
            if not keep:
                self._pending.clear()
                self._transport.close()
        self._responder = None
        self._expect_within(IDLE_SECONDS)

    async def _send(self, response: Response, *, keep: bool, with_body: bool) -> bool:
        """Send a response; False when its body broke off."""
        if response.status in BODILESS:
            self._transport.write(_head(response, None, keep=keep))
            return True
        if isinstance(response.body, bytes):
            length = ("content-length", str(len(response.body)))
            self._transport.write(_head(response, length, keep=keep) + (response.body if with_body else b""))
            return True
        self._transport.write(_head(response, ("transfer-encoding", "chunked"), keep=keep))
        return await self._send_chunks(response.body)

    async def _send_chunks(self, chunks: AsyncGenerator[bytes]) -> bool:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                    async with asyncio.timeout(REQUEST_SECONDS):
                        await self._writable.wait()
                    if self._transport.is_closing():
                        return False
        except Exception:  # noqa: BLE001  the head is sent: the client can only be shown that the body broke off
            return False
        self._transport.write(b"0\r\n\r\n")
        return True

    def _refuse(self, status: int, message: str) -> None:
        if self._responder is None:
            self._transport.write(_error(status, message))
            self._transport.close()
        else:
            self._transport.abort()

    def _expect_within(self, seconds: float | None) -> None:
        """Cut the connection if nothing arrives in time; None for no limit."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._transport.abort)


def _head(response: Response, length: tuple[str, str] | None, *, keep: bool) -> bytes:
    # Some clients cannot parse a status line without a reason phrase.
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if length is not None:
        lines.append(f"{length[0]}: {length[1]}")
    if not keep:
        lines.append("connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _error(status: int, message: str) -> bytes:
    response = responses.error_response(ImdsError(status, "bad_request", message))
    assert isinstance(response.body, bytes)  # noqa: S101  for the type checker
    return _head(response, ("content-length", str(len(response.body))), keep=False) + response.body
