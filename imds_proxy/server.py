"""The HTTP/1.1 side that apps connect to, on httptools, with a bound on whatever they can send or leave undone.

uvicorn would do, but costs 6 MiB in every pod that has the proxy.
"""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from imds_proxy import answer
from imds_proxy.messages import Handler, Request, Response
from imds_proxy.request import ImdsError

HOSTS: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
BACKLOG: Final = 1024
MAX_CONNECTIONS: Final = 1024
MAX_REQUEST: Final = 32 << 10
MAX_PIPELINED: Final = 16
REQUEST_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 120.0
GRACE_SECONDS: Final = 10.0


class Server:
    """The listeners, and the connections that are open."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.draining = False
        self.connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []

    async def listen(self, port: int) -> None:
        """Listen on the loopback addresses that the pod has.

        Raises:
            OSError: when the port cannot be had.
        """
        loop = asyncio.get_running_loop()
        for bound in _sockets(port):
            self._listeners.append(await loop.create_server(lambda: Connection(self), sock=bound, backlog=BACKLOG))

    async def drain(self) -> None:
        """Take nothing new, and wait until what is open has been answered, but no longer than GRACE_SECONDS."""
        self.draining = True
        for listener in self._listeners:
            listener.close()
        for connection in tuple(self.connections):
            connection.end_if_idle()
        until = asyncio.get_running_loop().time() + GRACE_SECONDS
        while self.connections and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110  it happens once
            await asyncio.sleep(0.01)


def _sockets(port: int) -> list[socket.socket]:
    """127.0.0.1 there is always; ::1 may be switched off."""
    found: list[socket.socket] = []
    try:
        for family, host in HOSTS:
            if family is socket.AF_INET or _has_ipv6():
                found.append(socket.create_server((host, port), family=family, backlog=BACKLOG))
    except OSError:
        for each in found:
            each.close()
        raise
    return found


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class Connection(asyncio.Protocol):
    """One client's connection: its requests are answered one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._received = 0
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._answering: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there, and may take some time to say something."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the type checker
        self._transport = transport
        if self._server.draining or len(self._server.connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self._server.connections.add(self)
        self._expect_within(IDLE_SECONDS)

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody is there to be answered."""
        self._server.connections.discard(self)
        self._expect_within(None)
        self._waiting.clear()
        self._writable.set()
        del self._parser  # which holds this connection, and would have to be found by the garbage collector

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Bytes of one request or of several."""
        self._received += len(data)
        if self._received > MAX_REQUEST:
            self._refuse(431, "the request is too large")
            return
        try:
            self._parse(data)
        except HttpParserError:
            self._refuse(400, "this is no HTTP/1.1 request that is answered here")

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as offer:
                # Java's client offers HTTP/2 so. The request itself has been taken, the offer may be ignored; but what
                # came behind it in one piece is the next request.
                data = data[offer.args[0] :]
            else:
                return

    def on_message_begin(self) -> None:
        """The first byte of a request has come; the rest must follow."""
        self._target, self._headers = b"", []
        if self._answering is None:
            self._expect_within(REQUEST_SECONDS)

    def on_url(self, url: bytes) -> None:
        """A piece of the target has come."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header is whole."""
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_message_complete(self) -> None:
        """A request is whole; its body, if it had one, is of no interest."""
        self._received = 0
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, self._target.decode("latin-1"), tuple(self._headers))
        self._waiting.append((request, self._parser.should_keep_alive()))
        if len(self._waiting) > MAX_PIPELINED:
            self._transport.abort()
        elif self._answering is None:
            self._expect_within(None)
            self._answering = self._loop.create_task(self._answer_all())

    def end_if_idle(self) -> None:
        """Close a connection on which nothing is under way."""
        if self._answering is None:
            self._transport.close()

    async def _answer_all(self) -> None:
        while self._waiting:
            request, keep = self._waiting.popleft()
            response = await self._server.handler(request)
            if self._transport.is_closing():
                return
            keep = keep and not self._server.draining
            if not await self._send(response, keep=keep, with_body=request.method != "HEAD"):
                self._transport.abort()
                return
            if not keep:
                self._waiting.clear()
                self._transport.close()
        self._answering = None
        self._expect_within(IDLE_SECONDS)

    async def _send(self, response: Response, *, keep: bool, with_body: bool) -> bool:
        """Send a response; False when its body did not come to an end."""
        if isinstance(response.body, bytes):
            length = ("content-length", str(len(response.body)))
            self._transport.write(_head(response, length, keep=keep) + (response.body if with_body else b""))
            return True
        self._transport.write(_head(response, ("transfer-encoding", "chunked"), keep=keep))
        return await self._stream(response.body)

    async def _stream(self, pieces: AsyncGenerator[bytes]) -> bool:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    async with asyncio.timeout(REQUEST_SECONDS):
                        await self._writable.wait()
                    if self._transport.is_closing():
                        return False
        except Exception:  # noqa: BLE001  the head is gone: all that is left is to let the client see that this broke
            return False
        self._transport.write(b"0\r\n\r\n")
        return True

    def _refuse(self, status: int, message: str) -> None:
        if self._answering is None:
            self._transport.write(_refusal(status, message))
            self._transport.close()
        else:
            self._transport.abort()

    def _expect_within(self, seconds: float | None) -> None:
        """Cut the connection if nothing comes in time; None for no limit."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._transport.abort)


def _head(response: Response, length: tuple[str, str], *, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} "]  # the phrase may be left out
    lines += [f"{name}: {value}" for name, value in response.headers]
    lines.append(f"{length[0]}: {length[1]}")
    if not keep:
        lines.append("connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _refusal(status: int, message: str) -> bytes:
    response = answer.failure(ImdsError(status, "bad_request", message))
    assert isinstance(response.body, bytes)  # noqa: S101  for the type checker
    return _head(response, ("content-length", str(len(response.body))), keep=False) + response.body
