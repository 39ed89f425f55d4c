"""Which requests are answered at once, and which are handed over to the app."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import pytest

from testbed.processes import until_in_loop
from testbed.program import review
from webhook.admission.identity import Account, Defaults
from webhook.admission.policy import Policy, ProxySettings
from webhook.runtime.http_server import HttpServer
from webhook.server.body import SMALL_BODY, BodyBudget
from webhook.server.connections import ConnectionTable, Limits
from webhook.server.endpoint import CHEAP_CONTAINERS, AdmissionEndpoint
from webhook.server.metrics import Metrics

BODY: Final = b'{"a": 1}'
RESPONSE: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfast"
FIELDS: Final = [(b"content-type", b"application/json")]


def request(head: bytes = b"POST /fast HTTP/1.1\r\n", body: bytes = BODY, fields: bytes = b"") -> bytes:
    """Write a request with a Content-Length."""
    return head + b"host: x\r\n" + fields + b"content-length: %d\r\n\r\n" % len(body) + body


class Recorded:
    """What was answered at once, and what the app was asked; the app's answer is the size of the body."""

    def __init__(self, response: bytes | None = RESPONSE) -> None:
        self.at_once: list[bytes] = []
        self.by_app: list[bytes] = []
        self.reasons = Counter[str]()
        self._response = response

    def answer(self, _fields: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes | None:
        """Answer at once."""
        if self._response is not None:
            self.at_once.append(body)
        return self._response

    async def app(self, _scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI's signature
        """Read the whole body and answer."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.by_app.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": b"app"})

    def exchange(self, *pieces: bytes, responses: int = 1) -> bytes:
        """Send the pieces, each when the one before was read, until so many responses have arrived."""

        async def run() -> bytes:
            table = ConnectionTable("test", Limits(9, 9), lambda _, reason: self.reasons.update([reason]))
            bound = socket.create_server(("127.0.0.1", 0))
            server = HttpServer(self.app, bound, table, answers={b"/fast": self.answer})
            task = asyncio.create_task(server.serve())
            await until_in_loop(lambda: server.started)
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            received = b""
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.01)
            while received.count(b"HTTP/1.1 ") < responses or not received.endswith((b"fast", b"app")):
                part = await reader.read(1 << 16)
                if not part:
                    break
                received += part
            writer.close()
            server.should_exit = server.force_exit = True
            await task
            return received

        return asyncio.run(run())


@pytest.mark.parametrize(
    "pieces",
    [[request()], [request(b"POST /fast?timeout=10s HTTP/1.1\r\n")], [request()[:9], request()[9:]]],
    ids=["whole", "with a query", "its head in pieces"],
)
def test_at_once(pieces: list[bytes]) -> None:
    """A request whose body is complete with its head needs no app."""
    recorded = Recorded()
    assert recorded.exchange(*pieces) == RESPONSE
    assert (recorded.at_once, recorded.by_app) == ([BODY], [])


LARGE: Final = request(body=b"x" * 50_000)
CHUNKED: Final = b"POST /fast HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([request(b"PUT /fast HTTP/1.1\r\n")], BODY),
        ([request(b"POST /slow HTTP/1.1\r\n")], BODY),
        ([request(b"POST /fast HTTP/1.0\r\n")], BODY),
        ([request(fields=b"connection: close\r\n")], BODY),
        ([request(fields=b"connection: upgrade\r\nupgrade: h2c\r\n")], b""),
        ([request(fields=b"expect: 100-continue\r\n")], BODY),
        ([request()[:-3], request()[-3:]], BODY),
        ([LARGE[:40_000], LARGE[40_000:]], b"x" * 50_000),
        ([CHUNKED], b"abcde"),
    ],
    ids=[
        *("method", "path", "HTTP/1.0", "to be closed", "upgrade", "expectation", "body in pieces", "large body"),
        "chunks",
    ],
)
def test_handed_over(pieces: list[bytes], body: bytes) -> None:
    """Everything else is the app's, with the body that uvicorn reads: none of an upgrade."""
    recorded = Recorded()
    assert recorded.exchange(*pieces).endswith(b"app")
    assert (recorded.at_once, recorded.by_app) == ([], [body])


def test_no_answer() -> None:
    """A request that has no answer at once is the app's, and so is the next."""
    recorded = Recorded(None)
    assert recorded.exchange(request(), request(), responses=2).count(b"app") == 2
    assert recorded.by_app == [BODY, BODY]


def test_both_on_one_connection() -> None:
    """Requests that are answered at once and by the app follow each other on a connection."""
    recorded = Recorded()
    pieces = [request(), request(b"PUT /fast HTTP/1.1\r\n"), request()]
    received = recorded.exchange(*pieces, responses=3)
    assert (received.count(b"fast"), received.count(b"app")) == (2, 1)
    assert not recorded.reasons


def test_next_request_in_the_same_read() -> None:
    """A request that follows before the response ends the connection, as it does everywhere."""
    recorded = Recorded()
    recorded.exchange(request() + request())
    assert recorded.reasons == {"pipelined": 1}
    assert recorded.at_once == []


class Known:
    """One account, known without waiting or only after it."""

    def __init__(self, *, is_cached: bool = True) -> None:
        self._account = Account("8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5")
        self._is_cached = is_cached

    def cached(self, namespace: str, name: str) -> Account | None:  # noqa: ARG002  the interface's
        """The account, if it is cached."""
        return self._account if self._is_cached else None

    async def find(self, namespace: str, name: str) -> Account | None:  # noqa: ARG002  the interface's
        """The account."""
        return self._account

    async def close(self) -> None:
        """Hold nothing."""


def pod(containers: int = 1) -> bytes:
    """Write the review of an opted-in pod."""
    spec = {"containers": [{"name": f"c{number}"} for number in range(containers)]}
    return json.dumps(review({"metadata": {"labels": {"azure.workload.identity/use": "true"}}, "spec": spec})).encode()


def endpoint(known: Known, *, draining: bool = False) -> AdmissionEndpoint:
    """Make an endpoint."""
    policy = Policy(Defaults("9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"), "https://login.test/", ProxySettings("proxy:1"))
    return AdmissionEndpoint(known, lambda: policy, Metrics(), BodyBudget(), draining=lambda: draining)


def test_usual_review() -> None:
    """A usual review is answered at once with the response that the app gives."""
    answer = endpoint(Known()).answer_at_once(FIELDS, pod())
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d" % len(body)
    assert json.loads(body)["response"]["patchType"] == "JSONPatch"


@pytest.mark.parametrize(
    ("known", "fields", "body", "draining"),
    [
        (Known(is_cached=False), FIELDS, pod(), False),
        (Known(), FIELDS, pod(CHEAP_CONTAINERS + 1), False),
        (Known(), FIELDS, pod() + b" " * SMALL_BODY, False),
        (Known(), FIELDS, b"{", False),
        (Known(), FIELDS, b"{}", False),
        (Known(), [(b"content-type", b"text/plain")], pod(), False),
        (Known(), FIELDS, pod(), True),
    ],
    ids=["account to be read", "many containers", "large", "not JSON", "no review", "content type", "draining"],
)
def test_unusual_review(known: Known, fields: list[tuple[bytes, bytes]], body: bytes, *, draining: bool) -> None:
    """What takes waiting or a turn, an error, and a connection that is to be closed are left to the app."""
    assert endpoint(known, draining=draining).answer_at_once(fields, body) is None
