"""One request from beginning to end, without a socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from azure_workload_identity.types import JsonObject
from imds_proxy.app import App
from imds_proxy.clock import Clock
from imds_proxy.exchange import outage
from imds_proxy.messages import Headers, Request, Response
from imds_proxy.metrics import Metrics
from imds_proxy.passthrough import PassThrough
from imds_proxy.request import TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.settings import Origin
from imds_proxy.token_cache import TokenCache
from testbed.sidecar import CLIENT, RESOURCE, TOKEN_PATH

GUARD: Headers = (("metadata", "true"),)
QUERY = f"{TOKEN_PATH}?resource={RESOURCE}"


async def given(_asked: TokenRequest) -> AccessToken:
    """Give a token."""
    return AccessToken("secret", "Bearer", 1000, 4600, 4600)


async def down(_asked: TokenRequest) -> AccessToken:
    """Give none."""
    raise outage("down", 30)


async def broken(_asked: TokenRequest) -> AccessToken:
    """Have a fault."""
    raise ZeroDivisionError


class Asked:
    """An app and what it answers."""

    def __init__(self, exchange: Callable[[TokenRequest], Awaitable[AccessToken]] = given) -> None:
        self.exchange = exchange
        self.ready = True
        self.metrics = Metrics()
        self.client_id = CLIENT

    def get(self, target: str, headers: Headers = GUARD, method: str = "GET") -> tuple[int, JsonObject]:
        """Answer a request; its status and JSON."""
        response = self.response(target, headers, method)
        assert isinstance(response.body, bytes)
        document: JsonObject = json.loads(response.body)
        return response.status, document

    def response(self, target: str, headers: Headers = (), method: str = "GET") -> Response:
        """Answer a request."""

        async def run() -> Response:
            clock = Clock(unix=lambda: 1_800_001_600.0, monotonic=lambda: 1600.0)
            tokens = TokenCache(self.exchange, clock)
            unreachable = PassThrough(("/metadata/instance",), Origin("http", "127.0.0.1", 1, ""))
            app = App(tokens, unreachable, self.metrics, clock, self.client_id, lambda: self.ready)
            answered = app(Request(method, target, headers))
            response = answered if isinstance(answered, Response) else await answered
            await tokens.close()
            return response

        return asyncio.run(run())


def test_token() -> None:
    """A valid request gets a token."""
    status, document = Asked().get(QUERY)
    assert status == 200
    assert (document["access_token"], document["expires_in"], document["client_id"]) == ("secret", "3000", CLIENT)


@pytest.mark.parametrize("path", ["//metadata/identity/oauth2/token/", "/METADATA/Identity/oauth2%2ftoken"])
def test_spellings(path: str) -> None:
    """Other spellings of the path are that path."""
    assert Asked().get(f"{path}?resource={RESOURCE}")[0] == 200


@pytest.mark.parametrize(
    ("target", "headers", "method", "status", "error"),
    [
        (QUERY, (), "GET", 400, "bad_request"),
        ("/", (), "GET", 404, "not_found"),
        ("/", GUARD, "POST", 404, "not_found"),
        (QUERY, (*GUARD, ("x-forwarded-for", "1.2.3.4")), "GET", 400, "bad_request"),
        (QUERY, GUARD, "POST", 405, "method_not_allowed"),
        (TOKEN_PATH, GUARD, "GET", 400, "invalid_request"),
        (QUERY + "&object_id=x", GUARD, "GET", 400, "invalid_request"),
        ("/metadata/%00", GUARD, "GET", 404, "not_found"),
        ("/metadata/identity/info", GUARD, "GET", 404, "not_found"),
        ("/metadata/identity/oauth2", (), "GET", 404, "not_found"),
        ("/metadata/attested/document", GUARD, "DELETE", 404, "not_found"),
        ("/metadata", (*GUARD, ("x-forwarded-for", "1.2.3.4")), "GET", 404, "not_found"),
        ("/machine", GUARD, "GET", 404, "not_found"),
        ("/metadata/instance", (), "GET", 400, "bad_request"),
        (QUERY, (*GUARD, ("host", "rebound.test")), "GET", 400, "bad_request"),
        (QUERY, (*GUARD, ("host", "localhost"), ("host", "rebound.test")), "GET", 400, "bad_request"),
        ("http://rebound.test" + QUERY, GUARD, "GET", 400, "bad_request"),
        (QUERY + "&bypass_cache=1", GUARD, "GET", 400, "invalid_request"),
        ("/metadata/instance", GUARD, "PUT", 405, "method_not_allowed"),
        ("/metadata/instance", GUARD, "GET", 502, "bad_gateway"),
    ],
)
def test_refusals(target: str, headers: Headers, method: str, status: int, error: str) -> None:
    """Everything else is refused in IMDS's shape."""
    answered, document = Asked().get(target, headers, method)
    assert (answered, document["error"]) == (status, error)
    assert document["error_description"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("headers", [(), GUARD, (("metadata", "false"),)], ids=["bare", "metadata", "wrong"])
def test_probe_for_a_newer_imds(method: str, headers: Headers) -> None:
    """A path that is not served is 404 before any guard: clients take a 400 there for the presence of a newer IMDS."""
    probe = "/metadata/identity/getplatformmetadata?cred-api-version=2.0"
    status, document = Asked().get(probe, (*headers, ("x-ms-client-request-id", "1")), method)
    assert (status, document["error"]) == (404, "not_found")


def test_identity_is_never_passed() -> None:
    """Pass-through is suggested for other paths, by value and flag, never for a path of identities."""
    asked = Asked()
    assert "--pass-through" not in asked.get("/metadata/identity/info")[1]["error_description"]
    message = asked.get("/metadata/attested")[1]["error_description"]
    assert "the chart's value proxy.passThrough (the webhook's --proxy-pass-through), or --pass-through of" in message
    assert "there is no annotation for it" in message


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "169.254.169.254:80", "127.0.0.1:8000", "localhost", "LOCALHOST:8000", "[::1]:8000"]
)
def test_hosts(host: str) -> None:
    """IMDS's address and those of loopback are served."""
    assert Asked().get(QUERY, (*GUARD, ("host", host)))[0] == 200
    assert Asked().get(f"http://{host}{QUERY}", GUARD)[0] == 200


def test_metrics_of_a_page_elsewhere() -> None:
    """A page whose own name resolves to loopback gets no metrics."""
    assert Asked().get("/metrics", (("host", "rebound.test:8000"),))[0] == 400


def test_no_client_id() -> None:
    """Without a client id anywhere, the error says what is missing and where to set it."""
    asked = Asked()
    asked.client_id = ""
    status, document = asked.get(QUERY)
    assert status == 400
    assert document["error_description"].startswith("The client_id parameter or AZURE_CLIENT_ID")
    assert asked.get(QUERY + "&client_id=other")[1]["client_id"] == "other"


def test_outage() -> None:
    """An outage is reported with Retry-After."""
    response = Asked(down).response(QUERY, GUARD)
    assert response.status == 503
    assert ("retry-after", "20") in response.headers


def test_internal_error() -> None:
    """An internal error is a response too, without internal details."""
    status, document = Asked(broken).get(QUERY)
    assert (status, document) == (
        500,
        {"error": "server_error", "error_description": "the proxy failed; its log says more"},
    )


@pytest.mark.parametrize("path", ["/readyz", "/readyz/"])
def test_ready(path: str) -> None:
    """Readiness needs no header, and ends when the proxy stops."""
    asked = Asked()
    assert asked.response(path).status == 200
    asked.ready = False
    assert asked.response(path).status == 503


def test_metrics() -> None:
    """Requests are counted by kind of path and by status."""
    asked = Asked()
    asked.get(QUERY)
    asked.get(QUERY)
    asked.get("/machine")
    response = asked.response("/metrics")
    assert isinstance(response.body, bytes)
    lines = response.body.decode().splitlines()
    assert 'azwi_proxy_requests_total{path="token",status="200"} 2' in lines
    assert 'azwi_proxy_requests_total{path="refused",status="404"} 1' in lines
    assert "azwi_proxy_tokens 0" in lines
