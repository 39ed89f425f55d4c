"""The paths that are forwarded to the node's IMDS."""

import asyncio

import pytest

from imds_proxy import passthrough
from imds_proxy.client import ClientError
from imds_proxy.messages import Headers, Request, Response
from imds_proxy.passthrough import PassThrough
from imds_proxy.request import ImdsError, path_of
from imds_proxy.settings import Origin
from testbed.processes import MAX_WAIT_SECONDS
from tests.support.bytes import Serve, answering, listening

ALLOWED = ("/metadata/instance",)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def passed(serve: Serve, target: str = "/metadata/instance", headers: Headers = ()) -> tuple[Response, bytes]:
    """Forward a request to an IMDS of raw bytes; returns its response and the whole body."""

    async def run() -> tuple[Response, bytes]:
        async with listening(serve) as origin:
            response = await PassThrough(ALLOWED, origin)(Request("GET", target, headers), path_of(target))
            assert not isinstance(response.body, bytes)
            return response, b"".join([piece async for piece in response.body])

    return asyncio.run(run())


def forwarded(target: str, headers: Headers = ()) -> list[str]:
    """Forward a request; returns the lines that IMDS receives."""
    lines: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.extend((await reader.readuntil(b"\r\n\r\n")).decode().splitlines())
        writer.write(OK)

    passed(serve, target, headers)
    return lines


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/metadata/instance", True),
        ("/metadata/instance/compute/vmid", True),
        ("/metadata/instances", False),
        ("/metadata/versions", False),
        ("/metadata/identity/oauth2/token", False),
        ("/metadata/identity/info", False),
    ],
)
def test_allowed(path: str, allowed: bool) -> None:  # noqa: FBT001  a parameter of the test
    """Listed paths and those below them are passed, and no others."""
    assert PassThrough(ALLOWED).allows(path) is allowed


def test_nothing_by_default() -> None:
    """Without a list nothing is passed."""
    assert not PassThrough(()).allows("/metadata/instance")


def test_answer() -> None:
    """Status, headers and body of the real response are passed on."""
    response, body = passed(answering(OK))
    assert (response.status, body) == (200, b"{}")
    assert response.headers == (("content-type", "application/json"),)
    assert passed(answering(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))[0].status == 404


def test_request() -> None:
    """The forwarded path is the checked one, with the query and the headers that IMDS needs."""
    lines = forwarded(
        "/Metadata//instance/../instance/compute?api-version=2021-02-01&format=json",
        (
            *(("metadata", "true"), ("user-agent", "x"), ("connection", "close, X-Hop"), ("x-hop", "1")),
            *(
                ("cookie", "s"),
                ("authorization", "s"),
                ("x-forwarded-host", "x"),
                ("x-original-url", "/metadata/identity"),
            ),
            *(("transfer-encoding", "chunked"), ("te", "trailers"), ("upgrade", "h2c"), ("proxy-authorization", "s")),
            *(("host", "evil.test"), ("content-length", "3")),
        ),
    )
    assert lines[0] == "GET /metadata/instance/compute?api-version=2021-02-01&format=json HTTP/1.1"
    assert {line.partition(":")[0] for line in lines[1:] if line} == {
        *("host", "connection", "content-length", "metadata", "user-agent", "via")
    }
    assert "connection: close" in lines
    assert not any("evil" in line for line in lines)


def test_path_is_encoded_again() -> None:
    """Encoded characters of a path cannot become a query or a second request."""
    assert forwarded("/metadata/instance/a%20HTTP%2F1.1%3Fb")[0] == "GET /metadata/instance/a%20http/1.1%3Fb HTTP/1.1"


def test_headers_of_the_answer() -> None:
    """Only the headers that a client of IMDS needs are passed on, and a trailer never is."""
    answer = b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n"
    trailers = b"2\r\nok\r\n0\r\nServer: trailer\r\n\r\n"
    response, body = passed(answering(answer + b"Set-Cookie: a=b\r\nServer: IMDS\t \r\n\r\n" + trailers))
    assert (response.headers, body) == ((("server", "IMDS"),), b"ok")


@pytest.mark.parametrize("status", [204, 304])
def test_answer_without_a_body(status: int) -> None:
    """A response that cannot have a body is passed on without one."""

    async def run() -> Response:
        async with listening(answering(b"HTTP/1.1 %d x\r\nETag: a\r\n\r\n" % status)) as origin:
            return await PassThrough(ALLOWED, origin)(Request("GET", "/", ()), "/metadata/instance")

    response = asyncio.run(run())
    assert (response.status, response.body, response.headers) == (status, b"", (("etag", "a"),))


def test_redirect_is_not_followed() -> None:
    """A redirect is handed on as it is."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/metadata/identity\r\nContent-Length: 0\r\n\r\n"
    assert passed(answering(answer))[0].status == 302


def test_loop() -> None:
    """A request of this proxy that returns to it is not forwarded again."""
    with pytest.raises(ImdsError, match="uid 1501") as caught:
        passed(answering(OK), headers=(("via", "1.1 azwi-proxy"),))
    assert caught.value.status == 508


def test_no_imds() -> None:
    """A missing IMDS is reported."""
    with pytest.raises(ImdsError, match="did not answer") as caught:
        asyncio.run(
            PassThrough(ALLOWED, Origin("http", "127.0.0.1", 1, ""))(Request("GET", "/", ()), "/metadata/instance")
        )
    assert caught.value.status == 502


def test_slow_imds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer has a time limit."""
    monkeypatch.setattr(passthrough, "SECONDS", 0.1)

    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ImdsError, match=r"within 0\.1 s") as caught:
        passed(silent)
    assert caught.value.status == 504


def test_slow_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that drips is cut when the time of its head and of itself is over."""

    async def drips(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async def run() -> None:
        async with listening(drips) as origin:
            response = await PassThrough(ALLOWED, origin)(Request("GET", "/", ()), "/metadata/instance")
            assert not isinstance(response.body, bytes)
            loop = asyncio.get_running_loop()
            real = loop.time
            monkeypatch.setattr(loop, "time", lambda: real() + passthrough.SECONDS)
            async for _ in response.body:
                pass

    monkeypatch.setattr(passthrough, "SECONDS", MAX_WAIT_SECONDS)
    with pytest.raises(TimeoutError):
        asyncio.run(run())


def test_broken_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is cut, or too large, is not made to look whole."""
    with pytest.raises(ClientError, match="cut"):
        passed(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    monkeypatch.setattr(passthrough, "MAX_BODY", 10)
    with pytest.raises(ClientError, match="more than"):
        passed(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20))
