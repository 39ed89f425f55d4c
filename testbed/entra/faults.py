"""Failures of Entra that a test switches on."""

import threading
from collections import Counter
from collections.abc import Callable, Generator
from typing import Final

import anyio
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from testbed.entra import errors
from testbed.entra.assertion import Claimed
from testbed.entra.directory import FederatedCredential
from testbed.entra.errors import AadstsError

MEBIBYTE: Final = 1 << 20
HALF_AN_ANSWER: Final = '{"token_type":"Bearer","expires_in":3599,"access_token":"eyJ'
Reply = Callable[[], Response]


class Faults:
    """Switches for failures; each stays on until `healthy`, or for a number of `times`.

    A new one replaces the last, except `slow` and `hold`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.healthy()

    def healthy(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._delay = 0.0
            self._held: threading.Event | None = None
            self._reply: Reply | None = None
            self._left: int | None = None
            self._lag = 0
            self._lag_code = 700213
            self._asked: Counter[tuple[str, FederatedCredential]] = Counter()

    def slow(self, seconds: float) -> None:
        """Wait for some seconds before each response."""
        self._delay = seconds

    def hold(self) -> threading.Event:
        """Send no response before `healthy`; the event is set as soon as a request waits."""
        self._held = threading.Event()
        return self._held

    async def wait(self) -> None:
        """Wait as long as a response takes at present."""
        held = self._held
        while held is not None and self._held is held:
            held.set()
            await anyio.sleep(0.01)
        await anyio.sleep(self._delay)

    def throttle(self, retry_after: int, times: int | None = None) -> None:
        """Respond 429 with Retry-After in seconds; that the body is not JSON is an inference."""
        headers = {"Retry-After": str(retry_after)}
        self._answer(lambda: PlainTextResponse("Too Many Requests", 429, headers), times)

    def fail(self, status: int, times: int | None = None) -> None:
        """Respond with 500, 503 or any other status, and an error body like Entra's."""
        self._answer(lambda: _failure(status), times)

    def garbage(self, text: str = HALF_AN_ANSWER, times: int | None = None) -> None:
        """Respond 200 with a body that is not a token response."""
        self._answer(lambda: Response(text, media_type="application/json"), times)

    def huge(self, mebibytes: int = 64, times: int | None = None) -> None:
        """Respond 200 with an enormous body."""
        self._answer(lambda: StreamingResponse(_pieces(mebibytes), media_type="application/json"), times)

    def cut(self, times: int | None = None) -> None:
        """Close the connection in the middle of a response."""
        self._answer(CutResponse, times)

    def lag(self, times: int, code: int = 700213) -> None:
        """Reject a credential in the first exchanges with it: it is new, and has not propagated yet."""
        with self._lock:
            self._lag, self._lag_code = times, code
            self._asked.clear()

    def _answer(self, reply: Reply, times: int | None) -> None:
        with self._lock:
            self._reply, self._left = reply, times

    def reply(self) -> Response | None:
        """The faulty response for this request, if a fault is on."""
        with self._lock:
            if self._reply is None or self._left == 0:
                return None
            if self._left is not None:
                self._left -= 1
            return self._reply()

    def check_propagation(self, client_id: str, credential: FederatedCredential, claimed: Claimed) -> None:
        """Fail as if the credential had not propagated yet.

        Raises:
            AadstsError: The code given to `lag`.
        """
        with self._lock:
            self._asked[client_id, credential] += 1
            lags = self._asked[client_id, credential] <= self._lag
        if lags:
            raise AadstsError(
                self._lag_code,
                client_id=client_id,
                issuer=claimed.issuer,
                subject=claimed.subject,
                audience=" ".join(claimed.audiences),
                **dict.fromkeys(("now", "valid_from", "expires"), "1970-01-01T00:00:00.0000000Z"),
            )


def _failure(status: int) -> Response:
    error = AadstsError(90033 if status == 503 else 50000)
    return JSONResponse(errors.body(error), status)


def _pieces(mebibytes: int) -> Generator[bytes]:
    yield b'{"token_type":"Bearer","expires_in":3599,"access_token":"'
    for _ in range(mebibytes):
        yield b"A" * MEBIBYTE
    yield b'"}'


class CutResponse(Response):
    """Announces more bytes than it sends; the server then closes the connection."""

    def __init__(self) -> None:
        super().__init__(HALF_AN_ANSWER, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head of a complete response and half of its body."""
        del scope, receive
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1800")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
