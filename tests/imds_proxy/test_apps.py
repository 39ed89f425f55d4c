"""Unmodified apps in a pod with the proxy: they get tokens of the pod's identity, and never meet the real IMDS."""

import json
import re
from collections.abc import Iterator

import pytest

from azure_workload_identity import names
from imds_proxy.exchange import ATTEMPT_SECONDS
from testbed.pods import CLIENT_ID, OTHER_CLIENT_ID, TENANT_ID
from tests.support.netns import IMDS, require
from tests.support.proxied import Pod, pod

VAULT = "https://vault.azure.net"
MANAGEMENT = "https://management.core.windows.net/"
ASKED = "/metadata/identity/oauth2/token"
METADATA = ("--header", "Metadata: true")
MODES = {"redirect": {}, "environment": {names.ENV_POD_IDENTITY_HOST: "http://127.0.0.1:8000"}}
UNIDENTIFIED = ("managed-identity", "managed-identity-async", "default", "msal")
BY_CLIENT_ID = ("managed-identity-client-id", "msal-client-id")
FOREIGN = ("managed-identity-object-id", "managed-identity-resource-id")


@pytest.fixture(scope="module", params=MODES)
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """Run a pod in either mode."""
    require()
    mode = request.param
    with pod(tmp_path_factory.mktemp(mode), MODES[mode], redirect=mode == "redirect") as made:
        yield made
        assert made.outside.imds.asked == []


@pytest.fixture(scope="module")
def redirected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """Run a pod in redirect mode; whatever its tests request, nothing reaches the real IMDS."""
    require()
    with pod(tmp_path_factory.mktemp("redirected"), {}, redirect=True) as made:
        yield made
        assert made.outside.imds.asked == []
        assert {exchange.user_agent.partition("/")[0] for exchange in made.outside.entra.exchanges} == {"azwi-proxy"}


def request_count(pod: Pod) -> float:
    """Count the requests of the pod's app so far: an app that is refused at once sends one."""
    metrics = pod.curl("http://127.0.0.1:8000/metrics")
    return sum(
        int(float(count)) for count in re.findall(r"^azwi_proxy_requests_total{.*} (\S+)$", metrics, re.MULTILINE)
    )


def test_sdks(either: Pod) -> None:
    """The Azure SDKs get tokens of the pod's identity or of the one whose client id they send, one exchange each."""
    before = len(either.outside.entra.exchanges)
    found = either.app(VAULT, *UNIDENTIFIED, *BY_CLIENT_ID)

    assert found.errors == {}
    assert [exchange.client_id for exchange in either.outside.entra.exchanges[before:]] == [CLIENT_ID, OTHER_CLIENT_ID]
    claims = {name: either.outside.entra.verify(token) for name, token in found.tokens.items()}
    assert {name: claim["appid"] for name, claim in claims.items()} == {
        **dict.fromkeys(UNIDENTIFIED, CLIENT_ID),
        **dict.fromkeys(BY_CLIENT_ID, OTHER_CLIENT_ID),
    }
    assert {(claim["aud"], claim["tid"]) for claim in claims.values()} == {(VAULT, TENANT_ID)}


def test_foreign_identities(either: Pod) -> None:
    """A request for an identity by object or resource id is refused at once, never given another one's token."""
    before = request_count(either)
    found = either.app(VAULT, *FOREIGN)

    assert found.tokens == {}
    assert sorted(found.errors) == sorted(FOREIGN)
    assert all("is not supported: ask by client_id" in error for error in found.errors.values())
    assert request_count(either) == before + len(FOREIGN)


def test_refusal(either: Pod) -> None:
    """A permanent refusal by Entra is reported by the SDK at once."""
    before = len(either.outside.entra.exchanges)
    asked = request_count(either)
    found = either.app("https://nowhere.invalid", "managed-identity")

    assert "AADSTS500011" in found.errors["managed-identity"]
    assert len(either.outside.entra.exchanges) == before + 1
    assert request_count(either) == asked + 1


@pytest.mark.parametrize("uid", [0, 10001])
def test_user(redirected: Pod, uid: int) -> None:
    """The app may be root or any other user."""
    found = redirected.app(VAULT, "managed-identity", uid=uid)
    assert redirected.outside.entra.verify(found.tokens["managed-identity"])["appid"] == CLIENT_ID


@pytest.mark.parametrize(
    "query",
    [
        # az login --identity, with and without a client id; az account get-access-token
        f"resource={MANAGEMENT}&api-version=2018-02-01",
        f"api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.core.windows.net%2F&client_id={CLIENT_ID}",
        f"resource=https%3A%2F%2Fmanagement.core.windows.net%2F&api-version=2018-02-01&client_id={CLIENT_ID}",
    ],
)
def test_az(redirected: Pod, query: str) -> None:
    """The Azure CLI's requests are answered with all that IMDS answers, in its types."""
    status, _, body = redirected.curl(*METADATA, f"http://{IMDS}{ASKED}?{query}").partition(" ")
    answer = json.loads(body)
    claims = redirected.outside.entra.verify(answer.pop("access_token"))

    assert status == "200"
    assert (claims["aud"], claims["appid"]) == (MANAGEMENT, CLIENT_ID)
    assert int(answer.pop("expires_in")) in range(3000, 3600)
    assert int(answer.pop("ext_expires_in")) in range(3000, 3600)
    # Counted from the request of the proxy, which Entra answered within that time.
    assert claims["exp"] - int(answer.pop("expires_on")) in range(int(ATTEMPT_SECONDS) + 1)
    assert claims["nbf"] - int(answer.pop("not_before")) in range(int(ATTEMPT_SECONDS) + 1)
    assert answer == {"client_id": CLIENT_ID, "resource": MANAGEMENT, "token_type": "Bearer"}


@pytest.mark.parametrize(
    "path",
    [
        "/Metadata/Identity/OAuth2/Token",
        "/metadata/identity/oauth2/token/",
        "//metadata/identity/oauth2/token",
        "/metadata/identity//oauth2/token",
        "/%6detadata/identity%2foauth2/token",
        "/metadata/instance/../identity/./oauth2/token",
        f"http://{IMDS}/metadata/identity/oauth2/token",
    ],
)
def test_odd_spelling(redirected: Pod, path: str) -> None:
    """However the path is spelt, it is the proxy that answers, with a token."""
    target = ("--request-target", f"{path}?resource={VAULT}")
    assert redirected.curl(*METADATA, *target, f"http://{IMDS}/").startswith('200 {"access_token":')


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--url", f"http://{IMDS}{ASKED}?resource={VAULT}"), 400),  # DefaultAzureCredential probes without the header
        (("--url", f"http://{IMDS}/"), 404),
        (("--url", f"http://{IMDS}{ASKED}"), 400),  # Go and JavaScript probe without the query, too
        ((*METADATA, "--header", "X-Forwarded-For: 192.0.2.1", "--url", f"http://{IMDS}{ASKED}?resource={VAULT}"), 400),
        ((*METADATA, "--request", "POST", "--url", f"http://{IMDS}{ASKED}?resource={VAULT}"), 405),
        ((*METADATA, "--url", f"http://{IMDS}/metadata/instance?api-version=2021-02-01"), 404),
        ((*METADATA, "--url", f"http://{IMDS}/metadata/identity/info?api-version=2018-02-01"), 404),
        ((*METADATA, "--url", f"http://{IMDS}/metadata/attested/document"), 404),
        ((*METADATA, "--path-as-is", "--url", f"http://{IMDS}/metadata/versions/../instance"), 404),
    ],
)
def test_refused(redirected: Pod, arguments: tuple[str, ...], status: int) -> None:
    """Requests without the header, forwarded ones, other methods and other paths end at the proxy, with JSON."""
    answered, _, body = redirected.curl(*arguments).partition(" ")
    assert int(answered) == status
    assert sorted(json.loads(body)) == ["error", "error_description"]


def test_proxys_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Only a process that runs as the proxy's own user meets the real IMDS."""
    require()
    with pod(tmp_path_factory.mktemp("uid"), {}, redirect=True) as made:
        assert made.curl(f"http://{IMDS}/metadata/instance", uid=names.PROXY_UID) == "200 imds"
        assert made.outside.imds.asked == ["GET /metadata/instance"]


def test_outage(redirected: Pod) -> None:
    """While Entra fails, an app with a cached token keeps working, and a request for another gets Retry-After."""
    first = redirected.curl(*METADATA, f"http://{IMDS}{ASKED}?resource={VAULT}")
    redirected.outside.entra.faults.fail(503)
    try:
        again = redirected.curl(*METADATA, f"http://{IMDS}{ASKED}?resource={VAULT}")
        other = redirected.curl(*METADATA, "--include", f"http://{IMDS}{ASKED}?resource=https://storage.azure.com/")
    finally:
        redirected.outside.entra.faults.healthy()

    assert first.startswith("200 ")
    assert json.loads(again[4:])["access_token"] == json.loads(first[4:])["access_token"]
    assert other.startswith("503 ")
    assert "\nretry-after: " in other.lower()
