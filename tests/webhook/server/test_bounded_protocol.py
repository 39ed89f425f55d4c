"""The bounds on requests and connections of a port."""

import asyncio
import gc
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from testbed.processes import MAX_WAIT_SECONDS, until_in_loop
from webhook.runtime.http_server import HttpServer
from webhook.server import bounded_protocol
from webhook.server.connections import ConnectionTable, Limits

WIDE = Limits(100, 100)


async def answer(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401, ARG001  ASGI's signature
    """Answer everything with 200."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serving(
    app: Any = answer,  # noqa: ANN401  an ASGI app
    limits: Limits = WIDE,
    keep_alive: int = 1,
) -> AsyncIterator[tuple[tuple[str, int], Counter[str]]]:
    """Serve with these bounds; yield the address, and the reasons of closed connections."""
    reasons = Counter[str]()
    table = ConnectionTable("test", limits, lambda _, reason: reasons.update([reason]))
    bound = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(app, bound, table)
    server.config.timeout_keep_alive = keep_alive
    task = asyncio.create_task(server.serve())
    await until_in_loop(lambda: server.started)
    try:
        yield bound.getsockname(), reasons
    finally:
        server.should_exit = server.force_exit = True
        await task


async def exchanged(*pieces: bytes, pause: float = 0.0, app: Any = answer) -> tuple[bytes, float, Counter[str]]:  # noqa: ANN401  an ASGI app
    """Send the pieces; return the answer, the seconds until the server closed, and the reasons."""
    async with serving(app) as (address, reasons):
        start = time.monotonic()
        reader, writer = await asyncio.open_connection(*address)
        received = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause)
            received = await asyncio.wait_for(reader.read(), MAX_WAIT_SECONDS)
        except ConnectionError:
            pass
        seconds = time.monotonic() - start
        writer.close()
    return received, seconds, reasons


HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_slow_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is not whole in time ends the connection, even if bytes keep coming."""
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 0.3)
    received, seconds, _ = asyncio.run(exchanged(HEAD[:20], pause=0.1))
    assert received == b""
    assert seconds > 0.2


def test_large_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that grows past the limit ends the connection."""
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 3600.0)
    received, _, _ = asyncio.run(exchanged(b"GET / HTTP/1.1\r\n", *([b"x: " + b"y" * 30_000] * 3), pause=0.01))
    assert received == b""


def test_second_slow_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock runs for later requests of a connection too."""
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 0.3)
    received, _, _ = asyncio.run(exchanged(HEAD, HEAD[:10], pause=0.1))
    assert received.startswith(b"HTTP/1.1 200")


def test_unused_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing is sent ends after its own, longer time."""
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 0.01)
    monkeypatch.setattr(bounded_protocol, "UNUSED_SECONDS", 0.3)
    received, seconds, _ = asyncio.run(exchanged())
    assert received == b""
    assert seconds > 0.2


CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
LARGE = 4 << 20
FIELD = b"x-filler: " + b"y" * 100 + b"\r\n"


async def read_all(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI's signature
    """Read the whole body and answer with its size."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"x-fields", str(len(scope["headers"])).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("app", [answer, read_all])
@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([CHUNKED + b"1\r\nx\r\n0\r\n", *([FIELD] * 150)], "too-many-fields"),
        ([CHUNKED + b"1\r\nx\r\n0\r\nx-long: ", *([b"y" * 20_000] * 4)], "too-much-framing"),
        ([CHUNKED, *([b"1;" + b"e" * 20_000 + b"\r\nx\r\n"] * 4)], "too-much-framing"),
        ([CHUNKED, *([b"1;" + b"e" * 10_000] * 8)], "too-much-framing"),
        ([b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n"], "too-many-fields"),
        ([b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello" + HEAD], "pipelined"),
    ],
    ids=["trailers", "a long trailer", "chunk extensions", "an endless extension", "fields", "pipelining"],
)
def test_framing(app: Any, pieces: list[bytes], reason: str) -> None:  # noqa: ANN401  an ASGI app
    """Whatever surrounds a body has a bound, whether or not the app reads it."""
    _, seconds, reasons = asyncio.run(exchanged(*pieces, pause=0.005, app=app))
    assert reasons[reason] == 1
    assert seconds < bounded_protocol.BODY_SECONDS


def test_trailers_are_dropped() -> None:
    """A few trailers do no harm, and never become header fields."""
    request = CHUNKED + b"1\r\nx\r\n0\r\nx-evil: 1\r\n\r\n"
    received, _, reasons = asyncio.run(exchanged(request[:40], request[40:], pause=0.02, app=read_all))
    assert b"x-fields: 2\r\n" in received
    assert received.endswith(b"\r\n\r\n1")
    assert not reasons


def test_small_chunks_of_a_large_body() -> None:
    """A body in chunks of a KiB, as programs send them, is read to its end."""
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    received, _, _ = asyncio.run(exchanged(CHUNKED, *[chunk * 100] * 10, b"0\r\n\r\n", app=read_all))
    assert received.endswith(b"1024000")


@pytest.mark.parametrize("sizes", [[100_000] * 4, [300_000, 40_000, 5, 300_000], [5, 300_000, 5]])
def test_large_bodies_on_one_connection(sizes: list[int]) -> None:
    """Large requests that follow each other, each in parts, are all answered: every request is counted by itself."""
    assert asyncio.run(answers_on_one_connection(sizes)) == sizes


async def answers_on_one_connection(sizes: list[int]) -> list[int]:
    """Send bodies of these sizes one after the other on one connection; return the sizes that the app has read."""
    async with serving(read_all) as (address, _):
        reader, writer = await asyncio.open_connection(*address)
        read = []
        with closing(writer):
            for size in sizes:
                head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode()
                writer.write(head + b"x" * (size // 2))
                await asyncio.sleep(0.005)
                writer.write(b"x" * (size - size // 2))
                await reader.readuntil(b"\r\n\r\n")
                read.append(int(await reader.readexactly(len(str(size)))))
        return read


def test_slow_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is not complete in time ends the connection, though the app has answered."""
    monkeypatch.setattr(bounded_protocol, "BODY_SECONDS", 0.3)
    request = b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\n"
    received, _, reasons = asyncio.run(exchanged(request, b"x"))
    assert received.startswith(b"HTTP/1.1 200")
    assert reasons == {"slow-body": 1}


def test_nothing_is_left_of_a_reset_connection() -> None:
    """A connection that its client resets after a response leaves nothing behind, such as a timer."""

    async def run() -> int:
        async with serving(keep_alive=3600) as (address, _):
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(HEAD)
                await reader.readuntil(b"\r\n\r\n")
                reset = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                writer.transport.abort()
            await until_in_loop(lambda: not protocols())
            return len(protocols())

    def protocols() -> list[object]:
        gc.collect()
        return [item for item in gc.get_objects() if isinstance(item, bounded_protocol.BoundedProtocol)]

    assert asyncio.run(run()) == 0


async def large(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI's signature
    """Answer with more than the kernel keeps for a connection."""
    headers = [(b"content-length", str(LARGE).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * LARGE})


@pytest.mark.parametrize("head", [HEAD, HEAD[:-2] + b"connection: close\r\n\r\n"], ids=["kept", "closing"])
def test_response_that_nobody_reads(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    """A client that does not read its response is disconnected, also where the server closes after the response."""
    monkeypatch.setattr(bounded_protocol, "RESPONSE_SECONDS", 0.2)

    async def run() -> Counter[str]:
        async with serving(large) as (address, reasons):
            client = socket.create_connection(address)
            client.send(head)
            await until_in_loop(lambda: reasons)
            client.close()
            return reasons

    monkeypatch.setattr("webhook.server.connections.MAX_UNREAD", LARGE)
    assert asyncio.run(run()) == {"slow-reader": 1}


def test_unread_responses_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses that nobody reads have a bound together: the oldest is cut, one that is read arrives whole."""
    monkeypatch.setattr("webhook.server.connections.MAX_UNREAD", LARGE * 2)

    async def run() -> tuple[Counter[str], bytes]:
        async with serving(large) as (address, reasons):
            clients = []
            for _ in range(4):
                clients.append(await asyncio.open_connection(*address, limit=1024))
                clients[-1][1].write(HEAD)
                await clients[-1][0].readuntil(b"\r\n\r\n")
            await until_in_loop(lambda: reasons)
            received = await clients[-1][0].readexactly(LARGE)
            for _, writer in clients:
                writer.close()
            return reasons, received

    reasons, received = asyncio.run(run())
    assert reasons == {"too-much-unread": 2}
    assert received == b"x" * LARGE


def test_unfinished_heads_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unfinished heads have a bound together: the oldest is cut, the newest is answered."""
    monkeypatch.setattr("webhook.server.connections.MAX_PENDING", 100_000)

    async def run() -> tuple[Counter[str], bytes]:
        async with serving() as (address, reasons):
            clients = []
            for _ in range(12):
                clients.append(await asyncio.open_connection(*address))
                clients[-1][1].write(b"GET / HTTP/1.1\r\nx: " + b"y" * 15_000)
                await asyncio.sleep(0.01)
            await until_in_loop(lambda: reasons)
            clients[-1][1].write(b"\r\n\r\n")
            received = await clients[-1][0].readuntil(b"\r\n")
            for _, writer in clients:
                writer.close()
            return reasons, received

    reasons, received = asyncio.run(run())
    assert reasons["too-much-unfinished"] >= 5
    assert received == b"HTTP/1.1 200 OK\r\n"
