"""What Azure refuses, the emulator refuses, with Azure's codes."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.azure_management import Azure, azure_management

Ask = Callable[..., tuple[int, str]]
VERSION = "api-version=2023-01-31"
ROLES = "api-version=2022-04-01"
CREDENTIAL = {"issuer": "https://i.test/", "subject": "s", "audiences": ["a"]}
GRAPH_CREDENTIAL = {"name": "n", **CREDENTIAL}
GUID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Azure]:
    """Run the emulator, with an identity and an application."""
    with azure_management(tmp_path) as served:
        served.add_identity("web")
        served.add_service_principal(served.add_application("web"))
        yield served


@pytest.fixture
def ask(azure: Azure) -> Ask:
    """Send a request; its status, and the code of its refusal."""
    context = ssl.create_default_context(cafile=str(azure.ca_file))

    def send(base: str, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, str]:  # noqa: ANN401  JSON
        bearer = azure.token(base) if token is None else token
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(base + path, data, headers, method=method)  # noqa: S310  the emulator
        try:
            with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310  as above
                return answer.status, ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["error"]["code"]

    return send


def identity(azure: Azure, below: str = "") -> str:
    """Return the path of the identity, or of something below it."""
    return f"{azure.identities[0]['id']}{below}"


def application(azure: Azure) -> str:
    """Return the path of the application's credentials."""
    return f"/v1.0/applications/{azure.applications[0]['id']}/federatedIdentityCredentials"


@pytest.mark.parametrize(
    ("method", "below", "body", "refusal"),
    [
        ("GET", "", None, (400, "MissingApiVersionParameter")),
        ("GET", "?api-version=1999-01-01", None, (400, "NoRegisteredProviderFound")),
        ("GET", f"?{VERSION}&$expand=x", None, (400, "InvalidQueryParameter")),
        ("GET", f"/no-such-type?{VERSION}", None, (404, "InvalidResourceType")),
        ("PUT", f"?{VERSION}", {"properties": {}}, (400, "LocationRequired")),
        ("PUT", f"/federatedIdentityCredentials/a-b=?{VERSION}", {"properties": CREDENTIAL}, (400, "BadRequest")),
        ("PUT", f"/federatedIdentityCredentials/abc?{VERSION}", CREDENTIAL, (400, "InvalidRequestContent")),
        ("PUT", f"/federatedIdentityCredentials/abc?{VERSION}", {"properties": {"issuer": "x"}}, (400, "BadRequest")),
        (
            "PUT",
            f"/federatedIdentityCredentials/abc?{VERSION}",
            {"properties": {**CREDENTIAL, "audiences": ["a", "b"]}},
            (400, "BadRequest"),
        ),
        ("GET", f"/federatedIdentityCredentials/abc?{VERSION}", None, (404, "ResourceNotFound")),
        ("GET", f"x?{VERSION}", None, (404, "ResourceNotFound")),
        ("GET", f"x/federatedIdentityCredentials?{VERSION}", None, (404, "ParentResourceNotFound")),
    ],
)  # fmt: skip
def test_identities(azure: Azure, ask: Ask, method: str, below: str, body: object, refusal: tuple[int, str]) -> None:
    """ARM is strict about versions, names and bodies of identities and their credentials."""
    assert ask(azure.arm, method, identity(azure, below), body) == refusal


def test_one_credential_for_one_token(azure: Azure, ask: Ask) -> None:
    """Issuer and subject are unique within an identity and within an application."""
    for name, status in (("abc", 201), ("abc", 200), ("abd", 409)):
        path = identity(azure, f"/federatedIdentityCredentials/{name}?{VERSION}")
        assert ask(azure.arm, "PUT", path, {"properties": CREDENTIAL})[0] == status
    assert ask(azure.graph, "POST", application(azure), GRAPH_CREDENTIAL)[0] == 201
    for body in (GRAPH_CREDENTIAL, {**GRAPH_CREDENTIAL, "name": "m"}, {**GRAPH_CREDENTIAL, "subject": "t"}):
        expected = (409, "Request_MultipleObjectsWithSameKeyValue")
        assert ask(azure.graph, "POST", application(azure), body) == expected


def test_twenty_credentials(azure: Azure, ask: Ask) -> None:
    """The 21st credential is refused, by either API."""
    for number in range(21):
        trust = {**CREDENTIAL, "subject": str(number)}
        path = identity(azure, f"/federatedIdentityCredentials/name-{number}?{VERSION}")
        expected = 201 if number < 20 else 400
        assert ask(azure.arm, "PUT", path, {"properties": trust})[0] == expected
        assert ask(azure.graph, "POST", application(azure), {"name": f"n{number}", **trust})[0] == expected


@pytest.mark.parametrize(
    ("name", "properties", "refusal"),
    [
        ("no-guid", {}, (400, "InvalidRoleAssignmentId")),
        (GUID, {"principalId": GUID}, (400, "PrincipalNotFound")),
        (GUID, {"roleDefinitionId": f"/x/{GUID}"}, (404, "RoleDefinitionDoesNotExist")),
        (GUID, {"principalType": "User"}, (400, "UnmatchedPrincipalType")),
        (GUID, {"principal": "x"}, (400, "InvalidRequestContent")),
        (GUID, {}, (201, "")),
    ],
)
def test_role_assignments(
    azure: Azure, ask: Ask, name: str, properties: dict[str, str], refusal: tuple[int, str]
) -> None:
    """ARM assigns roles that are there to principals that are there."""
    good = {
        "roleDefinitionId": f"/x/{azure.role_definitions[0]['guid']}",
        "principalId": azure.service_principals[0]["id"],
    }
    path = f"/subscriptions/{azure.subscription}/providers/Microsoft.Authorization/roleAssignments/{name}?{ROLES}"
    assert ask(azure.arm, "PUT", path, {"properties": {**good, **properties}}) == refusal


@pytest.mark.parametrize(
    ("method", "path", "body", "refusal"),
    [
        ("GET", "/v1.0/users", None, (400, "Request_BadRequest")),
        ("GET", "/v1.0/applications?$orderby=x", None, (400, "Request_BadRequest")),
        ("GET", "/v1.0/applications?$filter=a%20eq%20'b'%20or%20x", None, (400, "Request_UnsupportedQuery")),
        ("GET", "/v1.0/applications?$filter=displayName%20eq%20'o'neill'", None, (400, "Request_UnsupportedQuery")),
        ("GET", f"/v1.0/applications/{GUID}", None, (404, "Request_ResourceNotFound")),
        ("POST", "/v1.0/applications", {"name": "x"}, (400, "Request_BadRequest")),
        ("POST", "/v1.0/applications", {"displayName": "x" * 257}, (400, "Request_BadRequest")),
        ("POST", "/v1.0/servicePrincipals", {"appId": GUID}, (400, "Request_BadRequest")),
        ("DELETE", f"/v1.0/applications/{GUID}", None, (404, "Request_ResourceNotFound")),
    ],
)  # fmt: skip
def test_directory(azure: Azure, ask: Ask, method: str, path: str, body: object, refusal: tuple[int, str]) -> None:
    """Graph is strict about paths, filters and bodies."""
    assert ask(azure.graph, method, path, body) == refusal


@pytest.mark.parametrize("token", ["", "x", "x.y.z"])
def test_tokens(azure: Azure, ask: Ask, token: str) -> None:
    """Neither API takes what is no token, or the other's."""
    for base, other, path in (
        (azure.arm, azure.graph, identity(azure, f"?{VERSION}")),
        (azure.graph, azure.arm, "/v1.0/applications"),
    ):
        assert ask(base, "GET", path, None, token) == (401, "InvalidAuthenticationToken")
        assert ask(base, "GET", path, None, azure.token(other)) == (401, "InvalidAuthenticationToken")


def test_permissions(azure: Azure, ask: Ask) -> None:
    """Reading and writing need their own permissions."""
    azure.permissions = {"Application.Read.All", "Microsoft.ManagedIdentity/userAssignedIdentities/read"}
    assert ask(azure.arm, "GET", identity(azure, f"?{VERSION}"))[0] == 200
    assert ask(azure.graph, "GET", "/v1.0/applications")[0] == 200
    put = ask(azure.arm, "PUT", identity(azure, f"?{VERSION}"), {"location": "x"})
    assert put == (403, "AuthorizationFailed")
    post = ask(azure.graph, "POST", "/v1.0/applications", {"displayName": "x"})
    assert post == (403, "Authorization_RequestDenied")


def test_eventual_consistency(azure: Azure, ask: Ask) -> None:
    """A created object is not to be seen for as many reads as configured."""
    azure.faults.hidden_reads = 2
    ask(azure.graph, "POST", "/v1.0/applications", {"displayName": "new"})
    new = azure.applications[-1]["id"]
    seen = [ask(azure.graph, "GET", f"/v1.0/applications/{new}")[0] for _ in range(3)]
    assert seen == [404, 404, 200]
