"""One outgoing request, and every kind of response."""

import asyncio
import ssl
from base64 import b64encode

import pytest
import trustme

from imds_proxy import client
from imds_proxy.client import ClientError, ClientRequest
from imds_proxy.http_proxy import HttpProxy
from imds_proxy.settings import Origin
from tests.support.bytes import Serve, answering, listening

MOST = 1000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def no_tls() -> ssl.SSLContext:
    """Stand for trust that is not needed."""
    raise AssertionError("not asked for")


async def got(origin: Origin) -> tuple[int, bytes]:
    """Send a request and return status and body."""
    answer = await client.send(ClientRequest("GET", origin, "/x", ()), no_tls)
    try:
        return answer.status, await answer.body(MOST)
    finally:
        answer.close()


def fetched(serve: Serve) -> tuple[int, bytes]:
    """Send a request to a server of raw bytes."""

    async def run() -> tuple[int, bytes]:
        async with listening(serve) as origin:
            return await got(origin)

    return asyncio.run(run())


def failed(serve: Serve) -> str:
    """Send a request to a server without a complete response; returns the error."""
    with pytest.raises(ClientError) as caught:
        fetched(serve)
    return str(caught.value)


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], 200, b"hello"),
        ([b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n\r\nhe", b"llo"], 200, b"hello"),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"],
            200,
            b"hello",
        ),
        ([b"HTTP/1.0 404 No\r\n\r\nhel", b"lo"], 404, b"hello"),
        ([b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 200, b""),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
    ],
)
def test_answers(pieces: list[bytes], status: int, body: bytes) -> None:
    """However an answer is framed and cut up, it is read to its end."""
    assert fetched(answering(*pieces)) == (status, body)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "was cut"),
        ([b"HTTP/1.1 200 OK\r\n"], "was cut"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"], "was cut"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n"], "was cut"),
        ([b"SSH-2.0-OpenSSH\r\n"], "does not speak HTTP/1.1"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"], "does not speak HTTP/1.1"),
        ([b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], "does not speak HTTP/1.1"),
        ([b"HTTP/1.1 200 OK\r\n"] + [b"X: " + b"y" * 60_000 + b"\r\n"] * 3, "head is too large"),
        ([b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101 + b"Content-Length: 0\r\n\r\n"], "head is too large"),
        ([b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 100] * 40, "head is too large"),
        ([CHUNKED + b"1\r\nx\r\n0\r\n", *([b"a: " + b"b" * 9_000 + b"\r\n"] * 16)], "trailers are too large"),
        ([CHUNKED + b"1\r\nx\r\n0\r\na: ", *([b"b" * 9_000] * 16)], "trailers are too large"),
        ([CHUNKED + b"1;", *([b"b" * 9_000] * 16)], "trailers are too large"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000], "larger than 0 KiB"),
    ],
)
def test_no_whole_answer(pieces: list[bytes], message: str) -> None:
    """A response that is cut, not HTTP or too large is an error that says so."""
    assert message in failed(answering(*pieces))


def test_trailers_are_dropped() -> None:
    """A trailer is not a header, and blanks around the value of a header are not part of it."""

    async def run() -> list[tuple[str, str]]:
        trailers = b"2\r\nok\r\n0\r\nRetry-After: 9\r\n\r\n"
        head = b"HTTP/1.1 429 x\r\nTransfer-Encoding: chunked\r\nX-A: \t b c \t\r\n\r\n"
        async with listening(answering(head + trailers)) as origin:
            response = await client.send(ClientRequest("GET", origin, "/", ()), no_tls)
            assert await response.body(MOST) == b"ok"
            response.close()
            return response.headers

    assert asyncio.run(run()) == [("transfer-encoding", "chunked"), ("x-a", "b c")]


def test_refused_connection() -> None:
    """Nobody there is an error that names where."""
    with pytest.raises(ClientError, match=r"no connection to 127\.0\.0\.1:1: "):
        asyncio.run(got(Origin("http", "127.0.0.1", 1, "")))


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "nowhere.invalid"])
def test_no_such_host(host: str) -> None:
    """So is a host that is not there, or cannot be."""
    with pytest.raises(ClientError, match=f"no connection to {host}: "):
        asyncio.run(got(Origin("http", host, 80, "")))


def test_request() -> None:
    """The request is complete, and its connection is for one response only."""
    sent = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        sent = await reader.readuntil(b"body")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def run() -> None:
        async with listening(serve) as origin:
            request = ClientRequest("POST", origin, "/a?b", (("x", "y"),), b"body")
            (await client.send(request, no_tls)).close()
            assert "body" not in repr(request)
            host = origin.netloc
        assert sent.decode() == (
            f"POST /a?b HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 4\r\nx: y\r\n\r\nbody"
        )

    asyncio.run(run())


class Tls:
    """A server behind TLS for entra.test on loopback, and an HTTP proxy before it."""

    def __init__(self, *, proxy_status: int = 200) -> None:
        self.ca = trustme.CA()
        self.heads: list[bytes] = []
        self._status = proxy_status
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("entra.test").configure_cert(self._context)

    def trusted(self) -> ssl.SSLContext:
        """Trust the server's authority and no other."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context

    async def proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a CONNECT, then be the server at its other end."""
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 %d x\r\nX-Proxy: y\r\n\r\n" % self._status)
        await writer.drain()
        if self._status == 200:
            await writer.start_tls(self._context)
            await answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(reader, writer)

    async def through(self, authorization: str = "") -> tuple[int, bytes]:
        """Send a request through the proxy."""
        async with listening(self.proxy) as origin:
            via = HttpProxy(origin.host, origin.port, tls=False, authorization=authorization)
            request = ClientRequest("GET", Origin("https", "entra.test", 443, ""), "/x", ())
            answer = await client.send(request, self.trusted, via)
            body = await answer.body(MOST)
            answer.close()
            return answer.status, body


def test_http_proxy() -> None:
    """Through an HTTP proxy TLS is end to end, with the server's name."""
    server = Tls()
    assert asyncio.run(server.through()) == (200, b"ok")
    assert server.heads == [b"CONNECT entra.test:443 HTTP/1.1\r\nHost: entra.test:443\r\n\r\n"]


def test_http_proxy_with_password() -> None:
    """The password goes to the HTTP proxy, never to the server."""
    server, basic = Tls(), "Basic " + b64encode(b"u:p").decode()
    assert asyncio.run(server.through(basic)) == (200, b"ok")
    assert f"Proxy-Authorization: {basic}\r\n".encode() in server.heads[0]


def test_http_proxy_that_refuses() -> None:
    """An HTTP proxy that refuses is named with its status."""
    with pytest.raises(ClientError, match=r"the proxy 127\.0\.0\.1:\d+ answered 407 to CONNECT: check HTTPS_PROXY"):
        asyncio.run(Tls(proxy_status=407).through())


def test_no_http_proxy() -> None:
    """A server that is not an HTTP proxy is named too."""

    async def run() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"\r\n")

        async with listening(silent) as origin:
            via = HttpProxy(origin.host, origin.port, tls=False, authorization="")
            await client.send(ClientRequest("GET", Origin("https", "entra.test", 443, ""), "/", ()), Tls().trusted, via)

    with pytest.raises(ClientError, match="does not answer CONNECT"):
        asyncio.run(run())
