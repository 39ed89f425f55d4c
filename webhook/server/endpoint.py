"""The HTTP side of one admission: bytes in, bytes out, and what is told of it."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable
from time import perf_counter
from typing import Final

import orjson
from starlette.types import Message, Receive, Scope, Send

from azure_workload_identity import logs
from webhook.accounts.base import Accounts
from webhook.admission.admit import admit
from webhook.admission.identity import AccountsUnavailableError
from webhook.admission.policy import Policy
from webhook.admission.review import AdmissionOutcome, BrokenReviewError, Decision, Review, response
from webhook.server import decode
from webhook.server.metrics import ERROR, Metrics

MAX_BODY: Final = 8 << 20
MAX_BODIES: Final = 64 << 20
BODY_SECONDS: Final = 5.0
OK: Final = 200

log = logging.getLogger("webhook.admission")


class RequestError(Exception):
    """The HTTP request cannot be answered with an AdmissionReview; `status` says whose fault that is."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Room:
    """The memory that bodies may hold together, in bytes: a few clients with large ones would take all there is."""

    def __init__(self, size: int = MAX_BODIES) -> None:
        self._free = size

    def take(self, size: int) -> None:
        """Hold so many bytes.

        Raises:
            RequestError: when they are not to be had now.
        """
        if size > self._free:
            raise RequestError(500, "overloaded", "too many large requests at once; try again")
        self._free -= size

    def give(self, size: int) -> None:
        """Give so many bytes back."""
        self._free += size


class AdmissionEndpoint:
    """An ASGI app for POSTs of AdmissionReviews.

    `policy` is asked for at each request, since what is known of the cluster may change it.
    """

    def __init__(
        self,
        accounts: Accounts,
        policy: Callable[[], Policy],
        metrics: Metrics,
        room: Room,
        *,
        namespace_labelled: bool = False,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._accounts = accounts
        self._policy = policy
        self._metrics = metrics
        self._room = room
        self._draining = draining
        self._namespace_labelled = namespace_labelled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens there is an answer, and no trace of our inside in it."""
        started, unread = perf_counter(), False
        try:
            status, body = OK, await self._answer(scope, receive, started)
        except (RequestError, BrokenReviewError, AccountsUnavailableError) as error:
            status, body = self._failure(error.status, error.code, error.message, started)
            unread = isinstance(error, RequestError)
        except Exception:
            log.exception("an admission failed; this is a fault of the webhook, please report it")
            status, body = self._failure(500, "internal-error", "the webhook failed; its log says more", started)
        # The API server shows its user the body of a failure if it is text.
        kind = b"application/json" if status == OK else b"text/plain; charset=utf-8"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if unread or self._draining():
            # The body may not have been read to its end, and is not waited for; or this server is about to stop.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, started: float) -> bytes:
        body = await _body(scope, receive, self._room)
        try:
            return await self._admitted(body, started)
        finally:
            self._room.give(len(body))

    async def _admitted(self, body: bytes, started: float) -> bytes:
        review = Review.parse(_decoded(body))
        outcome = await admit(review, self._accounts.find, self._policy(), namespace_labelled=self._namespace_labelled)
        patch = orjson.dumps(outcome.operations) if outcome.operations else b""
        answer = orjson.dumps(response(review, outcome, b64encode(patch).decode() if patch else None))
        self._tell(review, outcome, len(patch), perf_counter() - started)
        return answer

    def _tell(self, review: Review, outcome: AdmissionOutcome, patch_bytes: int, seconds: float) -> None:
        self._metrics.admitted(outcome.decision, outcome.reason, seconds, outcome.warnings)
        level = logging.WARNING if outcome.decision is Decision.REFUSE else logging.INFO
        if level < logs.threshold():
            return
        fields: dict[str, object] = {
            "namespace": review.namespace,
            "pod": outcome.pod_name,
            "serviceAccount": outcome.service_account,
            "decision": outcome.decision,
            "reason": outcome.reason,
            "patchBytes": patch_bytes,
            "milliseconds": round(seconds * 1000, 3),
            "uid": review.uid,
        }
        if outcome.message:
            fields["detail"] = outcome.message
        if outcome.warnings:
            fields["warnings"] = [warning.code for warning in outcome.warnings]
        logs.write(level, log.name, "admission", fields)

    def _failure(self, status: int, code: str, message: str, started: float) -> tuple[int, bytes]:
        seconds = perf_counter() - started
        self._metrics.admitted(ERROR, code, seconds)
        fields = {"status": status, "decision": ERROR, "reason": code, "detail": message}
        logs.write(logging.WARNING, log.name, "admission", {**fields, "milliseconds": round(seconds * 1000, 3)})
        return status, f"azure-workload-identity: {message} ({code})".encode()


async def _body(scope: Scope, receive: Receive, room: Room) -> bytes:
    """The whole body, no more than MAX_BODY bytes of it; its size has been taken from `room`.

    Raises:
        RequestError: 408, 413, 415, 500, or 400 when the client went away.
    """
    headers = dict(scope["headers"])
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise RequestError(415, "wrong-content-type", "send an AdmissionReview as Content-Type: application/json")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit():
        _check_size(int(declared))
    message = await receive()
    first = _chunk(message)
    if not message.get("more_body"):
        room.take(len(first))
        return first
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _whole(first, receive, room)
    except TimeoutError:
        raise RequestError(408, "slow-body", f"the body was not whole after {BODY_SECONDS:g} s") from None


async def _whole(first: bytes, receive: Receive, room: Room) -> bytes:
    """The body that begins with `first`; what it took from `room` is given back if it does not become whole."""
    chunks, size, more = [first], 0, True
    try:
        while True:
            room.take(len(chunks[-1]))
            size += len(chunks[-1])
            _check_size(size)
            if not more:
                return b"".join(chunks)
            message = await receive()
            chunks.append(_chunk(message))
            more = message.get("more_body", False)
    except BaseException:
        room.give(size)
        raise


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise RequestError(400, "client-gone", "the client went away before the body was whole")
    body: bytes = message.get("body", b"")
    return body


def _decoded(body: bytes) -> object:
    try:
        return decode.decode(body)
    except ValueError as error:
        raise RequestError(400, "not-json", f"the body is not JSON: {error}") from None


def _check_size(size: int) -> None:
    if size > MAX_BODY:
        raise RequestError(413, "body-too-large", f"the body is larger than {MAX_BODY >> 20} MiB")
