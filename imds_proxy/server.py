"""The HTTP/1.1 server that apps connect to, on httptools, with a bound on everything that a client can send or omit.

uvicorn would work, but costs 6 MiB in every pod that has the proxy.
"""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncGenerator, Awaitable
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
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_message = self._has_head = False
        self._received = 0
        self._pending: deque[tuple[Request, bool]] = deque()
        self._responder: asyncio.Task[None] | None = None
        self._deadline = 0.0
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
        if self._timer is not None:
            self._timer.cancel()
        self._pending.clear()
        self._writable.set()
        del self._parser  # which refers to this connection: a cycle that only the garbage collector would find

    def pause_writing(self) -> None:
        """Pause: the client reads too slowly, so nothing more is read from it either."""
        self._writable.clear()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume: the client has caught up."""
        self._writable.set()
        self._transport.resume_reading()
        self._await_client()

    def data_received(self, data: bytes) -> None:
        """Parse bytes of one request or of several, and respond to those that are complete."""
        self._received += len(data)
        if self._received > MAX_REQUEST:
            self._refuse(431, "the request is too large")
            return
        was_in_message = self._in_message
        try:
            self._parse(data)
        except HttpParserError:
            self._respond_if_free()
            self._refuse(400, "this is not an HTTP/1.1 request that is answered here")
            return
        self._respond_if_free()
        if self._in_message and not was_in_message:
            self._await_client()

    def _respond_if_free(self) -> None:
        if self._pending and self._responder is None:
            self._respond()

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
        """Start a request."""
        self._target, self._headers = b"", []
        self._in_message, self._has_head = True, False

    def on_url(self, url: bytes) -> None:
        """Add a part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; a trailer, which comes after the body, is dropped."""
        if not self._has_head and len(self._headers) <= MAX_FIELDS:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self._has_head = True

    def on_message_complete(self) -> None:
        """Queue a complete request; its body and trailers, if any, are ignored."""
        self._received, self._in_message = 0, False
        if len(self._headers) > MAX_FIELDS:
            self._refuse(431, f"the request has more than {MAX_FIELDS} header fields")
            return
        method = self._parser.get_method().decode("latin-1")
        headers = tuple(
            [(name.decode("latin-1").lower(), value.decode("latin-1").strip(BLANKS)) for name, value in self._headers]
        )
        request = Request(method, self._target.decode("latin-1"), headers)
        self._pending.append((request, self._parser.should_keep_alive()))
        if len(self._pending) > MAX_PIPELINED:
            self._transport.abort()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is being handled."""
        if self._responder is None:
            self._transport.close()

    def _respond(self) -> None:
        """Respond to the pending requests; where one has to be waited for, a task goes on."""
        while self._pending and not self._transport.is_closing():
            request, keep = self._pending.popleft()
            response = self._server.handler(request)
            if not isinstance(response, Response) or not isinstance(response.body, bytes):
                self._responder = self._loop.create_task(self._respond_later(response, request, keep=keep))
                return
            self._send(response, response.body, request, keep=keep)
        self._await_client()

    async def _respond_later(self, response: Response | Awaitable[Response], request: Request, *, keep: bool) -> None:
        ready = response if isinstance(response, Response) else await response
        if self._transport.is_closing():
            return
        if isinstance(ready.body, bytes):
            self._send(ready, ready.body, request, keep=keep)
        elif not await self._send_stream(ready, ready.body, keep=keep):
            self._transport.abort()
            return
        self._responder = None
        self._respond()

    def _send(self, response: Response, body: bytes, request: Request, *, keep: bool) -> None:
        keep = keep and not self._server.draining
        if response.status in BODILESS:
            self._transport.write(_head(response, "", keep=keep))
        else:
            head = _head(response, f"content-length: {len(body)}\r\n", keep=keep)
            self._transport.write(head if request.method == "HEAD" else head + body)
        if not keep:
            self._end()

    async def _send_stream(self, response: Response, chunks: AsyncGenerator[bytes], *, keep: bool) -> bool:
        """Send a response chunk by chunk; False when its body broke off."""
        keep = keep and not self._server.draining
        self._transport.write(_head(response, "transfer-encoding: chunked\r\n", keep=keep))
        if not await self._send_chunks(chunks):
            return False
        if not keep:
            self._end()
        return True

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

    def _end(self) -> None:
        self._pending.clear()
        self._transport.close()

    def _refuse(self, status: int, message: str) -> None:
        if self._transport.is_closing():
            return
        if self._responder is None and not self._pending:
            self._transport.write(_error(status, message))
            self._transport.close()
        else:
            self._transport.abort()

    def _await_client(self) -> None:
        """Bound the wait for a request, for the rest of one, or for the client to read its responses."""
        if self._responder is None:
            is_unfinished = self._in_message or not self._writable.is_set()
            self._expect_within(REQUEST_SECONDS if is_unfinished else IDLE_SECONDS)

    def _expect_within(self, seconds: float) -> None:
        """Cut the connection if nothing arrives in time. A timer that would be too early looks again when it fires."""
        self._deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= self._deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._responder is not None:
            self._expect_within(IDLE_SECONDS)
        elif (seconds := self._deadline - self._loop.time()) > 0:
            self._expect_within(seconds)
        else:
            self._transport.abort()


def _head(response: Response, length: str, *, keep: bool) -> bytes:
    # Some clients cannot parse a status line without a reason phrase.
    status = f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}\r\n"
    headers = "".join([f"{name}: {value}\r\n" for name, value in response.headers])
    end = "\r\n" if keep else "connection: close\r\n\r\n"
    return (status + headers + length + end).encode("latin-1")


def _error(status: int, message: str) -> bytes:
    response = responses.error_response(ImdsError(status, "bad_request", message))
    assert isinstance(response.body, bytes)  # noqa: S101  for the type checker
    return _head(response, f"content-length: {len(response.body)}\r\n", keep=False) + response.body
