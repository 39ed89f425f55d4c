"""The endpoint in isolation, when its dependencies fail."""

import asyncio
import json
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from testbed.program import review
from webhook.admission.identity import Account, AccountsUnavailableError, Defaults
from webhook.admission.policy import Policy, ProxySettings
from webhook.server import body as request_body
from webhook.server import decode
from webhook.server.body import BodyBudget
from webhook.server.endpoint import AdmissionEndpoint
from webhook.server.metrics import Metrics

POD = {
    "metadata": {"name": "app", "labels": {"azure.workload.identity/use": "true"}},
    "spec": {"containers": [{"name": "app", "env": [{"name": "PASSWORD", "value": "hunter2"}]}]},
}
POLICY = Policy(
    Defaults("9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"), "https://login.microsoftonline.com/", ProxySettings("proxy:1")
)


class Broken:
    """Accounts that cannot be read."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or AccountsUnavailableError("down")

    def cached(self, namespace: str, name: str) -> Account | None:  # noqa: ARG002  the interface's
        """Know none."""
        return None

    async def find(self, namespace: str, name: str) -> Account | None:  # noqa: ARG002  the interface's
        """Fail."""
        raise self.error

    async def close(self) -> None:
        """Hold nothing."""


def answered(
    accounts: Broken,
    messages: list[dict[str, Any]] | None = None,
    *,
    then_wait: bool = False,
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send one review through an endpoint: status, headers and body of its answer."""
    sent: list[Any] = []
    body = json.dumps(review(POD)).encode()
    incoming: Iterator[dict[str, Any]] = iter(messages or [{"type": "http.request", "body": body}])

    async def receive() -> Any:  # noqa: ANN401  ASGI's message
        message = next(incoming, None)
        if message is None and then_wait:
            await asyncio.sleep(60)
        return message

    async def send(message: Any) -> None:  # noqa: ANN401  ASGI's message
        sent.append(message)

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    asyncio.run(AdmissionEndpoint(accounts, lambda: POLICY, Metrics(), BodyBudget())(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_accounts_unavailable() -> None:
    """When accounts cannot be read the answer is a 500 in plain text, which the API server shows to its user."""
    status, headers, body = answered(Broken(AccountsUnavailableError("the API server did not answer")))
    assert status == 500
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert body == b"azure-workload-identity: the API server did not answer (accounts-unavailable)"


def test_slow_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is not whole in time gets a 408, and the connection is closed."""
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.05)
    first: dict[str, Any] = {"type": "http.request", "body": b"{", "more_body": True}
    status, headers, body = answered(Broken(), [first], then_wait=True)
    assert (status, headers[b"connection"]) == (408, b"close")
    assert body == b"azure-workload-identity: the body was not whole after 0.05 s (slow-body)"


def test_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    """An internal error is a 500 without its details; the log has the trace but nothing of the pod."""
    with caplog.at_level(logging.ERROR):
        status, _, body = answered(Broken(ZeroDivisionError("inside")))
    assert status == 500
    assert b"inside" not in body
    assert "ZeroDivisionError" in caplog.text
    assert "hunter2" not in caplog.text


def test_client_gone() -> None:
    """A client that disconnects before its body is whole ends the request."""
    first: dict[str, Any] = {"type": "http.request", "body": b"{", "more_body": True}
    gone: dict[str, Any] = {"type": "http.disconnect"}
    status, _, body = answered(Broken(), [first, gone])
    assert (status, b"client-gone" in body) == (400, True)


def test_body_in_pieces() -> None:
    """A body that arrives in pieces is joined."""
    body = orjson.dumps(review({"spec": {}}, operation="UPDATE"))
    pieces: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[:10], "more_body": True},
        {"type": "http.request", "body": body[10:20], "more_body": True},
        {"type": "http.request", "body": body[20:]},
    ]
    status, _, answer = answered(Broken(), pieces)
    assert (status, json.loads(answer)["response"]["allowed"]) == (200, True)


def test_skipped_pods_need_no_accounts() -> None:
    """A pod that has not opted in is admitted even when accounts cannot be read."""
    body = orjson.dumps(review({"spec": {"containers": []}}))
    broken = Broken(AccountsUnavailableError("down"))
    status, _, answer = answered(broken, [{"type": "http.request", "body": body}])
    assert (status, json.loads(answer)["response"]["allowed"]) == (200, True)


def test_nothing_decoded_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an account is read only the body is held, not what was decoded of it, which takes many times its size."""

    class Tree(dict[str, Any]):
        """A map that can be referred to weakly."""

    class Slow(Broken):
        """Accounts that look at what is held when they are asked."""

        async def find(self, namespace: str, name: str) -> Account | None:  # noqa: ARG002  the interface's
            """Find none."""
            held.append([reference() for reference in trees])
            return None

    trees: list[weakref.ref[Tree]] = []
    held: list[list[Tree | None]] = []

    def decoded(body: bytes) -> Tree:
        tree = Tree(orjson.loads(body))
        tree["request"]["object"] = pod = Tree(tree["request"]["object"])
        trees.extend([weakref.ref(tree), weakref.ref(pod)])
        return tree

    monkeypatch.setattr(decode, "decode", decoded)
    status, _, answer = answered(Slow())
    assert (status, json.loads(answer)["response"]["auditAnnotations"]["reason"]) == (200, "service-account-not-found")
    assert held == [[None, None]]


@pytest.mark.parametrize("padding", [0, request_body.SMALL_BODY], ids=["many containers", "large"])
def test_usual_pods_need_not_wait(padding: int) -> None:
    """Pods of many containers, or large ones, are admitted in turn; a usual one is answered before most of them."""
    costly = review({"spec": {"containers": [{"name": f"c{number}"} for number in range(200)]}})
    bodies = {name: json.dumps(costly).encode() + b" " * padding for name in "abcde"}
    bodies["usual"] = json.dumps(review({"spec": {"containers": [{"name": "app"}]}})).encode()
    order: list[str] = []

    async def run() -> None:
        endpoint = AdmissionEndpoint(Broken(), lambda: POLICY, Metrics(), BodyBudget())

        async def ask(name: str) -> None:
            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": bodies[name]}

            async def send(message: Any) -> None:  # noqa: ANN401  ASGI's message
                if message["type"] == "http.response.body":
                    order.append(name)

            length = str(len(bodies[name])).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", length)]
            await endpoint({"type": "http", "headers": headers}, receive, send)

        await asyncio.gather(*map(ask, bodies))

    asyncio.run(run())
    assert sorted(order) == sorted(bodies)
    assert order.index("usual") < 2
