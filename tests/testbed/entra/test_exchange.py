"""A token request, right and wrong, as Microsoft Entra answers it."""

import json
import time
from urllib.parse import urlencode

import pytest

from testbed.entra import Entra
from testbed.entra.errors import DOCUMENTED, KINDS, OBSERVED
from tests.testbed.entra.client import SCOPE, Client, refusal


def test_token(client: Client) -> None:
    """A good assertion is exchanged for a token of the tenant, for the identity and the resource."""
    answer = client.ask()
    content = answer.json()
    claims = client.entra.verify(content.pop("access_token"))

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store, no-cache"
    assert content == {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599}
    assert (claims["aud"], claims["appid"], claims["tid"]) == (
        "https://vault.azure.net",
        client.client_id,
        client.tenant,
    )
    assert claims["iss"] == f"https://sts.windows.net/{client.tenant}/"
    assert claims["oid"] == claims["sub"] != client.client_id
    assert claims["nbf"] <= time.time() < claims["exp"]


def test_record(client: Client) -> None:
    """Each exchange is written down, without the assertion or the token."""
    client.ask()
    client.ask(scope="nonsense")
    good, bad = client.entra.exchanges[-2:]

    assert (good.tenant, good.client_id, good.scope, good.status, good.code) == (
        client.tenant,
        client.client_id,
        SCOPE,
        200,
        0,
    )
    assert (bad.status, bad.code) == (400, 1002012)


def test_failure(client: Client) -> None:
    """A failure has Entra's shape: text with ids and time, code, and the ids again."""
    answer = client.send(
        f"/{client.tenant}/oauth2/v2.0/token",
        urlencode(client.form(client_assertion=client.issuer.token("system:serviceaccount:shop:other"))),
        **{"client-request-id": "0a1b2c3d-0000-4000-8000-000000000001"},
    )
    content = answer.json()

    assert sorted(content) == [
        "correlation_id",
        "error",
        "error_codes",
        "error_description",
        "error_uri",
        "timestamp",
        "trace_id",
    ]
    assert content["correlation_id"] == answer.headers["client-request-id"] == "0a1b2c3d-0000-4000-8000-000000000001"
    assert content["error_description"] == (
        "AADSTS700213: No matching federated identity record found for presented assertion subject "
        "'system:serviceaccount:shop:other'. Check your federated identity credential Subject, Audience and Issuer "
        "against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation "
        f"Trace ID: {content['trace_id']} Correlation ID: {content['correlation_id']} Timestamp: {content['timestamp']}"
    )
    assert content["error_uri"] == "https://login.microsoftonline.com/error?code=700213"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grant_type": None}, (400, "invalid_request", 900144)),
        ({"client_id": None}, (400, "invalid_request", 900144)),
        ({"scope": ""}, (400, "invalid_request", 900144)),
        ({"client_assertion_type": None}, (400, "invalid_request", 900144)),
        ({"client_assertion_type": "jwt"}, (400, "invalid_request", 9002313)),
        ({"grant_type": "password"}, (400, "unsupported_grant_type", 70003)),
        ({"client_id": "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"}, (400, "unauthorized_client", 700016)),
        ({"scope": "https://vault.azure.net"}, (400, "invalid_scope", 1002012)),
        ({"scope": "openid offline_access profile"}, (400, "invalid_scope", 1002012)),
        ({"scope": "https://vault.azure.net/.default email"}, (400, "invalid_scope", 1002012)),
        ({"scope": "https://a.test/.default https://b.test/.default"}, (400, "invalid_scope", 70011)),
        ({"scope": "vault/.default"}, (400, "invalid_scope", 70011)),
        ({"scope": "https://nowhere.invalid/.default"}, (400, "invalid_resource", 500011)),
        ({"client_secret": "secret"}, (401, "invalid_client", 7000215)),
        ({"client_assertion": None}, (401, "invalid_client", 7000216)),
        ({"client_assertion": "a.b.c"}, (400, "invalid_request", 50027)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_parameter(client: Client, changes: dict[str, str | None], expected: tuple[int, str, int]) -> None:
    """A parameter that is missing or wrong is named by its code."""
    assert client.refused(**changes) == expected


@pytest.mark.parametrize(
    ("tenant", "code"),
    [("00000000-0000-4000-8000-000000000000", 90002), ("not-a-tenant", 900023), ("organizations", 50059)],
)
def test_wrong_tenant(client: Client, tenant: str, code: int) -> None:
    """A tenant that does not exist and a malformed one have different codes."""
    assert client.refused(tenant) == (400, "invalid_request", code)


def test_ids_in_any_case(client: Client) -> None:
    """Tenant and client ids are compared without regard to case."""
    assert client.ask(client.tenant.upper(), client_id=client.client_id.upper()).status_code == 200


@pytest.mark.parametrize(
    ("scope", "audience"),
    [
        ("https://vault.azure.net//.default", "https://vault.azure.net/"),
        ("api://orders/.default", "api://orders"),
        ("6a8b4b39-c021-437c-b060-5a14a3fd65f3/.default", "6a8b4b39-c021-437c-b060-5a14a3fd65f3"),
        ("https://vault.azure.net/.default openid offline_access profile", "https://vault.azure.net"),
        ("spn:6a8b4b39-c021-437c-b060-5a14a3fd65f3/.default", "spn:6a8b4b39-c021-437c-b060-5a14a3fd65f3"),
    ],
)
def test_audience(client: Client, scope: str, audience: str) -> None:
    """The token's audience is the resource as it was written, a trailing slash included."""
    assert client.entra.verify(client.ask(scope=scope).json()["access_token"])["aud"] == audience


def test_not_a_form(client: Client) -> None:
    """JSON is no token request: Entra misses the first parameter."""
    path = f"/{client.tenant}/oauth2/v2.0/token"
    answer = client.send(path, json.dumps(client.form()), **{"content-type": "application/json"})
    assert refusal(answer) == (400, "invalid_request", 900144)


def test_parameter_twice(client: Client) -> None:
    """A parameter given twice is refused."""
    body = urlencode(client.form()) + "&client_id=other"
    assert refusal(client.send(f"/{client.tenant}/oauth2/v2.0/token", body)) == (400, "invalid_request", 9000411)


def test_get(client: Client) -> None:
    """The token endpoint accepts POST only."""
    answer = client.send(f"/{client.tenant}/oauth2/v2.0/token", method="GET")
    assert refusal(answer) == (400, "invalid_request", 900561)


def test_discovery(client: Client, running: Entra) -> None:
    """The discovery document leads to the token endpoint and to the keys that verify a token."""
    document = client.send(f"/{client.tenant}/v2.0/.well-known/openid-configuration", method="GET").json()
    (key,) = client.send(document["jwks_uri"].removeprefix(running.url), method="GET").json()["keys"]

    assert document["token_endpoint"] == f"{running.url}/{client.tenant}/oauth2/v2.0/token"
    assert document["issuer"] == f"{running.url}/{client.tenant}/v2.0"
    assert sorted(key) == ["alg", "e", "kid", "kty", "n", "use"]


@pytest.mark.parametrize("authority", ["organizations", "common", "consumers"])
def test_discovery_for_users(client: Client, running: Entra, authority: str) -> None:
    """The authorities for users of any tenant have a document too: `az logout` reads that of organizations."""
    document = client.send(f"/{authority}/v2.0/.well-known/openid-configuration", method="GET").json()
    assert document["token_endpoint"] == f"{running.url}/{authority}/oauth2/v2.0/token"


def test_every_failure_names_its_source() -> None:
    """Documented, observed or inferred: a reader of the emulator knows which."""
    assert {kind.source for kind in KINDS.values()} == {DOCUMENTED, OBSERVED}


def test_discovery_of_no_tenant(client: Client) -> None:
    """There is no discovery document of a tenant that does not exist."""
    answer = client.send("/nowhere.test/v2.0/.well-known/openid-configuration", method="GET")
    assert refusal(answer) == (400, "invalid_tenant", 90002)
