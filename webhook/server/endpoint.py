"""The HTTP side of one admission: reads the request, writes the response, records logs and metrics."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Callable, Sequence
from math import inf
from time import perf_counter
from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from azure_workload_identity import logs
from webhook.accounts.base import Accounts
from webhook.admission.admit import FindAccount, admit
from webhook.admission.errors import HttpError
from webhook.admission.identity import Account, AccountsUnavailableError
from webhook.admission.pod import size
from webhook.admission.policy import Policy
from webhook.admission.review import AdmissionOutcome, Decision, Review, response
from webhook.server import decode
from webhook.server.body import SMALL_BODY, BodyBudget, RequestError, is_json
from webhook.server.metrics import ERROR, Metrics

OK: Final = 200
_RESPONSE: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
# A pod of more containers, or a large body, takes its turn among its like, so that usual pods need not wait for more
# than one of them. A container with the identity costs 8 µs.
CHEAP_CONTAINERS: Final = 100
# Failed requests that are logged, for each code: so many a second, after so many at once. The metrics count all.
LOGGED_FAILURES: Final = 5.0
LOGGED_BURST: Final = 20.0
# Of a response; most have one part.
PART: Final = 16 << 10

log = logging.getLogger("webhook.admission")


class _CostlyError(Exception):
    """The admission must take its turn."""


class _NotCachedError(Exception):
    """The account must be read first."""

    def __init__(self, namespace: str, name: str) -> None:
        super().__init__()
        self.namespace = namespace
        self.name = name


class AdmissionEndpoint:
    """An ASGI app for POSTs of AdmissionReviews.

    `policy` is called at each request, since a change in the cluster may change it.
    """

    def __init__(
        self,
        accounts: Accounts,
        policy: Callable[[], Policy],
        metrics: Metrics,
        budget: BodyBudget,
        *,
        namespace_labelled: bool = False,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._accounts = accounts
        self._policy = policy
        self._metrics = metrics
        self._budget = budget
        self._turn = asyncio.Semaphore(1)
        self._log_limit = logs.RateLimit(LOGGED_FAILURES, LOGGED_BURST)
        self._draining = draining
        self._namespace_labelled = namespace_labelled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. There is always an answer; internal details are never exposed."""
        started, unread = perf_counter(), False
        try:
            status, body = OK, await self._answer(scope, receive, started)
        except HttpError as error:
            status, body = self._failure(error.status, error.code, error.message, started)
            unread = isinstance(error, RequestError)
        except Exception:
            log.exception("an admission failed; this is an internal error, please report it")
            status, body = self._failure(500, "internal-error", "the webhook failed; its log says more", started)
        # The API server shows its user the body of a failure if it is text.
        kind = b"application/json" if status == OK else b"text/plain; charset=utf-8"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if unread or self._draining():
            # The rest of the body is not waited for, or this server is about to stop.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        # In parts, each sent when there is room: over TLS uvloop takes what is written at once, however much it is.
        for begin in range(PART, len(body), PART):
            await send({"type": "http.response.body", "body": body[begin - PART : begin], "more_body": True})
        await send({"type": "http.response.body", "body": body[(len(body) - 1) // PART * PART :]})

    def answer_at_once(self, fields: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes | None:
        """The HTTP response to a review that is whole; None where it takes waiting, or is an error.

        None has no effect: the app is asked next, and answers.
        """
        if len(body) > SMALL_BODY or not is_json(fields) or self._draining():
            return None
        try:
            answer = self._admit(body, self._find_cached, perf_counter(), CHEAP_CONTAINERS)
        except Exception:  # noqa: BLE001  the app meets it again
            return None
        return _RESPONSE % (len(answer), answer)

    async def _answer(self, scope: Scope, receive: Receive, started: float) -> bytes:
        async with self._budget.body(scope, receive) as body:
            find: FindAccount = self._find_cached
            is_costly = len(body) > SMALL_BODY
            while True:
                try:
                    if not is_costly:
                        return self._admit(body, find, started, CHEAP_CONTAINERS)
                    async with self._turn:
                        # Others are answered before it.
                        await asyncio.sleep(0)
                        return self._admit(body, find, started)
                except _CostlyError:
                    is_costly = True
                    continue
                except _NotCachedError as unknown:
                    key = unknown.namespace, unknown.name
                # The error and the decoded review, which may take 44 times the body's size, are gone by now.
                find = await self._read(*key)

    async def _read(self, namespace: str, name: str) -> FindAccount:
        """Read an account; the result is what finding it comes to."""
        try:
            account = await self._accounts.find(namespace, name)
        except AccountsUnavailableError as error:
            failure = error
            return lambda *_: _fail(failure)
        return lambda *_: account

    def _find_cached(self, namespace: str, name: str) -> Account | None:
        account = self._accounts.cached(namespace, name)
        if account is None:
            raise _NotCachedError(namespace, name)
        return account

    def _admit(self, body: bytes, find: FindAccount, started: float, most: float = inf) -> bytes:
        """Admit a review of at most so many containers.

        Raises:
            _CostlyError: there are more.
        """
        review = Review.parse(_decoded(body))
        if _containers(review.pod) > most:
            raise _CostlyError
        outcome = admit(review, find, self._policy(), namespace_labelled=self._namespace_labelled)
        patch = orjson.dumps(outcome.operations) if outcome.operations else b""
        answer = orjson.dumps(response(review, outcome, b64encode(patch).decode() if patch else None))
        self._record(review, outcome, len(patch), perf_counter() - started)
        return answer

    def _record(self, review: Review, outcome: AdmissionOutcome, patch_bytes: int, seconds: float) -> None:
        self._metrics.record_admission(outcome.decision, outcome.reason, seconds, outcome.warnings)
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
            "milliseconds": int(seconds * 1e6) / 1000,
            "uid": review.uid,
        }
        if outcome.message:
            fields["detail"] = outcome.message
        if outcome.warnings:
            fields["warnings"] = [warning.code for warning in outcome.warnings]
        logs.write(level, log.name, "admission", fields)

    def _failure(self, status: int, code: str, message: str, started: float) -> tuple[int, bytes]:
        seconds = perf_counter() - started
        self._metrics.record_admission(ERROR, code, seconds)
        self._log_failure(status, code, message, seconds)
        return status, f"azure-workload-identity: {message} ({code})".encode()

    def _log_failure(self, status: int, code: str, message: str, seconds: float) -> None:
        not_logged = self._log_limit.allow(code)
        if not_logged is None:
            return
        fields: dict[str, object] = {"status": status, "decision": ERROR, "reason": code, "detail": message}
        fields["milliseconds"] = round(seconds * 1000, 3)
        if not_logged:
            fields["notLogged"] = not_logged
        logs.write(logging.WARNING, log.name, "admission", fields)


def _containers(pod: object) -> int:
    spec = pod.get("spec") if isinstance(pod, dict) else None
    return size(spec, "containers") + size(spec, "initContainers") if isinstance(spec, dict) else 0


def _fail(error: AccountsUnavailableError) -> Account | None:
    raise error


def _decoded(body: bytes) -> object:
    try:
        return decode.decode(body)
    except decode.TooManyValuesError as error:
        raise RequestError(413, "body-too-large", str(error)) from None
    except ValueError as error:
        raise RequestError(400, "not-json", f"the body is not JSON: {error}") from None
