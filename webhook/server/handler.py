"""The HTTP side of one admission: bytes in, bytes out, and what is told of it."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable
from time import perf_counter
from typing import Final

import orjson
from starlette.types import Message, Receive, Scope, Send

from webhook.accounts.base import Accounts
from webhook.admission.admit import admit
from webhook.admission.identity import AccountsUnavailableError
from webhook.admission.policy import Policy
from webhook.admission.review import BrokenReviewError, Outcome, Review, Verdict, response
from webhook.server import logs, projection
from webhook.server.metrics import ERROR, Metrics

MAX_BODY: Final = 8 << 20
BODY_SECONDS: Final = 5.0
OK: Final = 200
# Answers that may be given before the body was read: the rest of it is not waited for.
UNREAD: Final = frozenset({408, 413, 415})

log = logging.getLogger("webhook.admission")


class RequestError(Exception):
    """The HTTP request cannot be answered with an AdmissionReview; `status` says whose fault that is."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class AdmissionEndpoint:
    """An ASGI app for POSTs of AdmissionReviews.

    `policy` is asked for at each request, since what is known of the cluster may change it.
    """

    def __init__(
        self, accounts: Accounts, policy: Callable[[], Policy], metrics: Metrics, *, namespace_labelled: bool = False
    ) -> None:
        self._accounts = accounts
        self._policy = policy
        self._metrics = metrics
        self._namespace_labelled = namespace_labelled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens there is an answer, and no trace of our inside in it."""
        started = perf_counter()
        try:
            status, body = OK, await self._answer(scope, receive, started)
        except (RequestError, BrokenReviewError, AccountsUnavailableError) as error:
            status, body = self._failure(error.status, error.code, error.message, started)
        except Exception:
            log.exception("an admission failed; this is a fault of the webhook, please report it")
            status, body = self._failure(500, "internal-error", "the webhook failed; its log says more", started)
        # The API server shows its user the body of a failure if it is text.
        kind = b"application/json" if status == OK else b"text/plain; charset=utf-8"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if status in UNREAD:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, started: float) -> bytes:
        review = Review.parse(_decoded(await _body(scope, receive)))
        outcome = await admit(review, self._accounts.find, self._policy(), namespace_labelled=self._namespace_labelled)
        patch = orjson.dumps(outcome.operations) if outcome.operations else b""
        answer = orjson.dumps(response(review, outcome, b64encode(patch).decode() if patch else None))
        self._tell(review, outcome, len(patch), perf_counter() - started)
        return answer

    def _tell(self, review: Review, outcome: Outcome, patch_bytes: int, seconds: float) -> None:
        self._metrics.admitted(outcome.verdict, outcome.reason, seconds, outcome.warnings)
        level = logging.WARNING if outcome.verdict is Verdict.REFUSE else logging.INFO
        if level < logs.threshold():
            return
        fields: dict[str, object] = {
            "namespace": review.namespace,
            "pod": outcome.pod_name,
            "serviceAccount": outcome.service_account,
            "decision": outcome.verdict,
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


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, no more than MAX_BODY bytes of it.

    Raises:
        RequestError: 408, 413, 415, or 400 when the client went away.
    """
    headers = dict(scope["headers"])
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise RequestError(415, "wrong-content-type", "send an AdmissionReview as Content-Type: application/json")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_BODY:
        raise _too_large()
    message = await receive()
    if not message.get("more_body"):
        return _chunk(message)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _rest(_chunk(message), receive)
    except TimeoutError:
        raise RequestError(408, "slow-body", f"the body was not whole after {BODY_SECONDS:g} s") from None


async def _rest(first: bytes, receive: Receive) -> bytes:
    chunks, size, more = [first], len(first), True
    while more:
        message = await receive()
        chunks.append(_chunk(message))
        size += len(chunks[-1])
        if size > MAX_BODY:
            raise _too_large()
        more = message.get("more_body", False)
    return b"".join(chunks)


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise RequestError(400, "client-gone", "the client went away before the body was whole")
    body: bytes = message.get("body", b"")
    return body


def _decoded(body: bytes) -> object:
    try:
        return projection.decode(body)
    except ValueError as error:
        raise RequestError(400, "not-json", f"the body is not JSON: {error}") from None


def _too_large() -> RequestError:
    return RequestError(413, "body-too-large", f"the body is larger than {MAX_BODY >> 20} MiB")
