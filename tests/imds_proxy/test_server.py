"""The HTTP side: what clients may send, leave undone or do too often."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from imds_proxy import server as module
from imds_proxy.messages import Handler, Request, Response
from imds_proxy.server import Server
from testbed.processes import MAX_WAIT_SECONDS, free_ports, until_in_loop

GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n"
LAST = CLOSE.replace(b"/x", b"/last")
LAST_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


async def echo(request: Request) -> Response:
    """Respond with the method and target."""
    return Response(200, f"{request.method} {request.target}".encode(), (("x-a", "b"),))


async def never(_request: Request) -> Response:
    """Answer nothing."""
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def serving(handler: Handler = echo) -> AsyncIterator[tuple[Server, int]]:
    """Run a server, and drain it at the end."""
    server, (port,) = Server(handler), free_ports(1)
    await server.listen(port)
    try:
        yield server, port
    finally:
        await server.drain()


def exchanged(*pieces: bytes, handler: Handler = echo) -> bytes:
    """Send segments on a connection; returns all bytes until the server closes it, as it must."""

    async def run() -> bytes:
        async with serving(handler) as (_, port):
            return await sent(port, *pieces)

    return asyncio.run(run())


async def sent(port: int, *pieces: bytes) -> bytes:
    """Send segments, the first one before the server accepts the connection; returns all received bytes."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(0)
        with suppress(ConnectionError):
            for piece in pieces:
                await asyncio.get_running_loop().sock_sendall(client, piece)
                await asyncio.sleep(0.002)
        return await until_the_end(client)


async def until_the_end(client: socket.socket) -> bytes:
    """Read until the server closes or resets the connection."""
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(MAX_WAIT_SECONDS):
            while data := await asyncio.get_running_loop().sock_recv(client, 65536):
                received += data
    return received


def kept(*pieces: bytes, handler: Handler = echo) -> bytes:
    """Send segments on a connection; returns all bytes before the response to a last request on it."""

    async def or_last(request: Request) -> Response:
        if request.target == "/last":
            return Response(200, b"")
        answered = handler(request)
        return answered if isinstance(answered, Response) else await answered

    received = exchanged(*pieces, LAST, handler=or_last)
    assert received.endswith(LAST_ANSWER)
    return received.removesuffix(LAST_ANSWER)


def test_answer() -> None:
    """A request is answered, and the connection is kept."""
    assert kept(GET) == b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 6\r\n\r\nGET /x"


def test_pieces() -> None:
    """However a request is cut up, it is one."""
    assert kept(*(GET[at : at + 5] for at in range(0, len(GET), 5))).endswith(b"GET /x")


def test_request_is_what_was_sent() -> None:
    """Target and headers reach the handler as they came, header names in lower case."""
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, b"")

    kept(b"GET //A%20b?c=D#e HTTP/1.1\r\nMetaData: True\r\nX-Empty:\r\n\r\n", handler=handler)
    assert (seen[0].target, seen[0].header("metadata"), seen[0].header("x-empty")) == ("//A%20b?c=D#e", "True", "")
    assert seen[0].header("missing") is None


def test_pipeline() -> None:
    """Pipelined requests are handled one after the other."""
    received = kept(b"".join(GET.replace(b"/x", b"/%d" % number) for number in range(5)))
    assert [received.index(b"GET /%d" % number) for number in range(5)] == sorted(
        received.index(b"GET /%d" % number) for number in range(5)
    )


def at_once(request: Request) -> Response:
    """Respond without waiting for anything."""
    return Response(200, f"{request.method} {request.target}".encode())


def test_response_at_once() -> None:
    """A handler that has its response at once needs no task, and its responses keep their order among the others."""

    def mixed(request: Request) -> Response | Awaitable[Response]:
        return echo(request) if request.target == "/1" else at_once(request)

    received = kept(b"".join(GET.replace(b"/x", b"/%d" % number) for number in range(5)), handler=mixed)
    assert [received.index(b"GET /%d" % number) for number in range(5)] == sorted(
        received.index(b"GET /%d" % number) for number in range(5)
    )
    assert exchanged(CLOSE + GET, handler=at_once).endswith(b"connection: close\r\n\r\nGET /x")
    assert exchanged(GET * 40, handler=at_once) == b""


def test_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more requests are read from a client that does not read its responses, and it is cut off in time."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.05)
    handled = 0

    def large(_request: Request) -> Response:
        nonlocal handled
        handled += 1
        return Response(200, b"x" * 3_000_000)

    async def run() -> None:
        async with serving(large) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            with suppress(ConnectionError):
                for _ in range(20):
                    writer.write(GET)
                    await asyncio.sleep(0)
            await until_in_loop(lambda: handled and not server.connections)
            writer.transport.abort()

    asyncio.run(run())
    assert handled < 20


def test_too_many_in_a_pipeline() -> None:
    """A client that sends too many requests ahead is cut off."""
    assert exchanged(GET * 40, handler=never) == b""


def test_close() -> None:
    """A connection is closed on request."""
    received = exchanged(CLOSE)
    assert received.endswith(b"GET /x")
    assert b"connection: close\r\n" in received


def test_http_1_0() -> None:
    """A client of HTTP/1.0 gets its response and the end of the connection."""
    assert b"connection: close\r\n" in exchanged(b"GET /x HTTP/1.0\r\n\r\n")


def test_body_is_ignored() -> None:
    """A body is discarded; the next request is parsed behind it."""
    post = b"POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    assert kept(post + GET).count(b"HTTP/1.1 200") == 2


def test_head() -> None:
    """The response to HEAD has no body, so that the next response starts where a client expects it."""
    received = kept(b"HEAD /x HTTP/1.1\r\n\r\n" + GET)
    assert received.startswith(b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 7\r\n\r\nHTTP/1.1 200")


def test_upgrade_offer() -> None:
    """An offer of HTTP/2, as Java's client sends it, is ignored, and requests behind it are handled."""
    offer = b"GET /x HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n\r\n"
    assert kept(offer, GET).count(b"GET /x") == 2
    assert kept(offer + offer + GET).count(b"GET /x") == 3


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /x HTTP/1.1\r\nA B: c\r\n\r\n",
        b"GET /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX: a\nb\x00\r\n\r\n",
    ],
)
def test_junk(junk: bytes) -> None:
    """Anything but HTTP/1.1 gets an error and is cut."""
    received = exchanged(junk)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b'"error":"bad_request"' in received
    assert b"connection: close" in received


def test_large_head() -> None:
    """An endless head is cut."""
    assert exchanged(GET[:-2], *([b"X: " + b"y" * 10_000 + b"\r\n"] * 4)).startswith(b"HTTP/1.1 431 ")


def test_many_fields() -> None:
    """A head has at most 100 fields."""
    assert exchanged(GET[:-2] + b"a: b\r\n" * 100 + b"\r\n").startswith(
        b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    )
    assert kept(GET[:-2] + b"a: b\r\n" * 99 + b"\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_trailers_are_no_headers() -> None:
    """A trailer cannot become a header of the request, and trailers without end are cut."""
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, b"")

    chunked = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nMetadata: true\r\n"
    kept(chunked + b"\r\n", handler=handler)
    assert [seen[0].header("metadata"), seen[0].header("transfer-encoding")] == [None, "chunked"]
    assert exchanged(chunked, *([b"a: " + b"b" * 9_000 + b"\r\n"] * 4)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("value", [b"true ", b"true\t", b" \t true \t "])
def test_blanks_around_a_value(value: bytes) -> None:
    """Blanks around a header's value are not part of it."""
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, b"")

    kept(b"GET /x HTTP/1.1\r\nMetadata:" + value + b"\r\n\r\n", handler=handler)
    assert seen[0].header("metadata") == "true"


@pytest.mark.parametrize(("status", "phrase"), [(200, "OK"), (429, "Too Many Requests"), (503, "Service Unavailable")])
def test_reason_phrase(status: int, phrase: str) -> None:
    """Every status has its reason phrase."""

    async def handler(_request: Request) -> Response:
        return Response(status, b"")

    assert kept(GET, handler=handler).startswith(f"HTTP/1.1 {status} {phrase}\r\n".encode())


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_a_body(status: int) -> None:
    """A response that cannot have a body has no chunk either, so the next response starts where it should."""

    async def handler(_request: Request) -> Response:
        return Response(status, b"")

    received = kept(GET, handler=handler)
    assert received.endswith(b"\r\n\r\n")
    assert received.count(b"\r\n") == 2


def test_large_body() -> None:
    """So is an endless body."""
    head = b"POST /x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"
    assert exchanged(head, *([b"y" * 20_000] * 2)).startswith(b"HTTP/1.1 431 ")


def test_junk_behind_a_request_that_is_answered() -> None:
    """Junk while a request is handled ends the connection, not the server."""

    async def never_x(request: Request) -> Response:
        return await (never if request.target == "/x" else echo)(request)

    async def run() -> tuple[bytes, bytes]:
        async with serving(never_x) as (_, port):
            return await sent(port, GET, b"\x00\x01\r\n"), await sent(port, LAST)

    cut, answered = asyncio.run(run())
    assert cut == b""
    assert answered.endswith(b"GET /last")


def test_slow_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is not complete in time is cut, behind a complete one too; so is an idle connection."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.05)
    assert exchanged(GET[:9]) == b""
    assert exchanged(GET + GET[:9]).endswith(b"GET /x")
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    assert exchanged() == b""


def test_answer_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither limit applies while a request is handled."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.05)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)

    async def slow(_request: Request) -> Response:
        await asyncio.sleep(0.12)
        return Response(200, b"late")

    assert exchanged(CLOSE, handler=slow).endswith(b"late")


def test_too_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection over the limit is cut; the others keep working."""
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 1)

    async def run() -> tuple[bytes, bytes]:
        async with serving() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            cut = await sent(port, GET)
            writer.write(CLOSE)
            answer = await reader.read()
            writer.close()
            return answer, cut

    answer, cut = asyncio.run(run())
    assert answer.endswith(b"GET /x")
    assert cut == b""


def streaming(*pieces: bytes, fails: bool = False) -> Handler:
    """Make a handler whose response is sent in chunks."""

    async def body() -> AsyncGenerator[bytes]:
        for piece in pieces:
            yield piece
        if fails:
            raise OSError

    async def handler(_request: Request) -> Response:
        return Response(200, body())

    return handler


def test_stream() -> None:
    """A generated body is sent in chunks, and the connection is kept."""
    received = kept(GET, handler=streaming(b"hello", b"w" * 17))
    assert received.endswith(
        b"\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n11\r\n" + b"w" * 17 + b"\r\n0\r\n\r\n"
    )


def test_stream_that_breaks() -> None:
    """A body that breaks off does not look complete."""
    received = exchanged(GET, handler=streaming(b"hello", fails=True))
    assert not received.endswith(b"0\r\n\r\n")


def test_stream_to_a_client_that_does_not_read() -> None:
    """A body is not buffered for a client that does not read; when it disconnects, the source is closed."""
    made, closed = 0, asyncio.Event()

    async def handler(_request: Request) -> Response:
        return Response(200, body())

    async def body() -> AsyncGenerator[bytes]:
        nonlocal made
        try:
            while True:
                made += 1
                yield b"x" * 100_000
        finally:
            closed.set()

    async def run() -> None:
        async with serving(handler) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(GET)
            await until_in_loop(lambda: made)
            await asyncio.sleep(0.1)
            assert made < 900
            writer.transport.abort()
            await asyncio.wait_for(closed.wait(), MAX_WAIT_SECONDS)

    asyncio.run(run())


def test_stream_to_a_client_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never reads does not keep it open."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.05)
    closed = asyncio.Event()

    async def handler(_request: Request) -> Response:
        return Response(200, body())

    async def body() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            closed.set()

    async def run() -> None:
        async with serving(handler) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(GET)
            await asyncio.wait_for(closed.wait(), MAX_WAIT_SECONDS)
            writer.transport.abort()

    asyncio.run(run())


def test_drain() -> None:
    """Open requests are finished, idle connections closed, and new connections refused."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> Response:
        begun.set()
        await go_on.wait()
        return Response(200, b"late")

    async def run() -> tuple[bytes, bytes]:
        async with serving(slow) as (server, port):
            busy, one = await asyncio.open_connection("127.0.0.1", port)
            idle, two = await asyncio.open_connection("127.0.0.1", port)
            one.write(GET)
            await begun.wait()
            await until_in_loop(lambda: len(server.connections) == 2)
            draining = asyncio.create_task(server.drain())
            ended = await asyncio.wait_for(idle.read(), MAX_WAIT_SECONDS)
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", port)
            go_on.set()
            answer = await busy.read()
            await draining
            one.close()
            two.close()
            return answer, ended

    answer, ended = asyncio.run(run())
    assert answer.endswith(b"connection: close\r\n\r\nlate")
    assert ended == b""


def test_drain_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that takes too long does not delay the stop."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)
    begun = asyncio.Event()

    async def begin(request: Request) -> Response:
        begun.set()
        return await never(request)

    async def run() -> None:
        async with serving(begin) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await begun.wait()
            await asyncio.wait_for(server.drain(), MAX_WAIT_SECONDS)
            assert server.connections
        writer.transport.abort()

    asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_loopback(host: str) -> None:
    """It listens on both loopback addresses."""

    async def run() -> None:
        async with serving() as (_, port):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()

    asyncio.run(run())


def test_no_other_address() -> None:
    """It listens on no other address of the machine."""

    async def run() -> None:
        async with serving() as (_, port):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.2", port)

    asyncio.run(run())


def test_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where IPv6 is disabled, IPv4 is enough."""
    real: Callable[..., socket.socket] = socket.create_server

    def without_ipv6(address: tuple[str, int], **options: object) -> socket.socket:
        if options.get("family") is socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(address, **options)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    assert kept(GET).endswith(b"GET /x")


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
def test_port_in_use(taken: str) -> None:
    """A port in use on either address is an error, and the other address is released."""
    family, [port] = socket.AF_INET6 if ":" in taken else socket.AF_INET, free_ports(1)
    with socket.create_server((taken, port), family=family), pytest.raises(OSError, match="in use"):
        asyncio.run(Server(echo).listen(port))
    socket.create_server(("127.0.0.1", port)).close()
