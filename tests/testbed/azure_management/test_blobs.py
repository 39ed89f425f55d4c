"""What Azure Storage refuses, the emulator refuses, with its status, its code in a header and XML."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest

from testbed.azure_management import Azure, azure_management
from testbed.azure_management.blobs import AUDIENCE

Send = Callable[..., tuple[int, str, Mapping[str, str]]]
BLOB: Final = "/$web/openid/v1/jwks"
GOOD: Final = {"x-ms-version": "2023-11-03", "x-ms-date": "Fri, 02 Jan 2026 00:00:00 GMT"}
WRITE: Final = {**GOOD, "x-ms-blob-type": "BlockBlob"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Run the emulator."""
    with azure_management(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture
def azure(served: Azure) -> Azure:
    """Empty the account, and let the caller do everything."""
    served.storage.containers = {"$web": {}}
    served.permissions = {"*"}
    return served


@pytest.fixture
def send(azure: Azure) -> Send:
    """Send a request; the status, the code of the refusal, the headers."""
    context = ssl.create_default_context(cafile=str(azure.ca_file))

    def sent(method: str, path: str, headers: Mapping[str, str], *, token: str | None = None, **more: Any) -> Any:  # noqa: ANN401  a tuple
        bearer = azure.token(AUDIENCE) if token is None else token
        authorization = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        base = more.get("base", azure.storage.account)
        data = b"{}" if method == "PUT" else None
        request = urllib.request.Request(base + path, data, {**authorization, **headers}, method=method)  # noqa: S310  the emulator
        try:
            with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310  as above
                return answer.status, "", answer.headers
        except urllib.error.HTTPError as error:
            with error:
                body = error.read()
                code = error.headers.get("x-ms-error-code", "")
                if error.headers["Content-Type"] == "application/xml":
                    assert ET.fromstring(body.decode("utf-8-sig")).findtext("Code") == code  # noqa: S314  the emulator's
                return error.code, code, error.headers

    return sent


def without(headers: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the headers but one."""
    return {key: value for key, value in headers.items() if key != name}


@pytest.mark.parametrize(
    ("method", "path", "headers", "refusal"),
    [
        ("GET", BLOB, GOOD, (404, "BlobNotFound")),
        ("GET", "/other/x", GOOD, (404, "ContainerNotFound")),
        ("GET", "/A/x", GOOD, (400, "InvalidResourceName")),
        ("PUT", f"/$web/{'x' * 1025}", WRITE, (400, "InvalidResourceName")),
        ("GET", BLOB, without(GOOD, "x-ms-version"), (403, "AuthenticationFailed")),
        ("GET", BLOB, {**GOOD, "x-ms-version": "2015-02-21"}, (403, "AuthenticationFailed")),
        ("GET", BLOB, {**GOOD, "x-ms-version": "newest"}, (400, "InvalidHeaderValue")),
        ("GET", BLOB, without(GOOD, "x-ms-date"), (400, "MissingRequiredHeader")),
        ("PUT", BLOB, GOOD, (400, "MissingRequiredHeader")),
        ("PUT", BLOB, {**GOOD, "x-ms-blob-type": "blob"}, (400, "InvalidHeaderValue")),
        ("PUT", BLOB, {**WRITE, "If-Match": '"0x1"'}, (412, "ConditionNotMet")),
        ("PUT", "/other/x", WRITE, (404, "ContainerNotFound")),
    ],
)
def test_refusals(send: Send, method: str, path: str, headers: dict[str, str], refusal: tuple[int, str]) -> None:
    """Versions, dates, names, types and conditions are checked."""
    assert send(method, path, headers)[:2] == refusal


@pytest.mark.parametrize("token", ["x", "x.y.z"])
def test_tokens(azure: Azure, send: Send, token: str) -> None:
    """A token that is none, or is for another audience, is refused; without one the answer says where to get it."""
    assert send("GET", BLOB, GOOD, token=token)[:2] == (401, "InvalidAuthenticationInfo")
    assert send("GET", BLOB, GOOD, token=azure.token(azure.arm))[:2] == (401, "InvalidAuthenticationInfo")
    status, code, headers = send("GET", BLOB, GOOD, token="")
    assert (status, code) == (401, "NoAuthenticationInformation")
    assert f"resource_id={AUDIENCE}" in headers["WWW-Authenticate"]


def test_permissions(azure: Azure, send: Send) -> None:
    """Reading and writing need their own permissions."""
    azure.permissions = {"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"}
    assert send("GET", BLOB, GOOD)[0] == 404
    assert send("PUT", BLOB, WRITE)[:2] == (403, "AuthorizationPermissionMismatch")


def test_conditions(send: Send) -> None:
    """A blob is created once, and replaced only in the version that the caller has read."""
    status, _, headers = send("PUT", BLOB, {**WRITE, "If-None-Match": "*"})
    assert status == 201
    assert send("PUT", BLOB, {**WRITE, "If-None-Match": "*"})[:2] == (409, "BlobAlreadyExists")
    assert send("PUT", BLOB, {**WRITE, "If-Match": headers["ETag"]})[0] == 201
    assert send("PUT", BLOB, {**WRITE, "If-Match": headers["ETag"]})[:2] == (412, "ConditionNotMet")


def test_site(azure: Azure, send: Send) -> None:
    """The static site serves the blobs of $web to everybody, with their type and cache control, and takes none."""
    typed = {"x-ms-blob-content-type": "application/json", "x-ms-blob-cache-control": "max-age=300"}
    send("PUT", BLOB, {**WRITE, **typed})
    path = BLOB.removeprefix("/$web")
    status, _, headers = send("GET", path, {}, token="", base=azure.storage.site)
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "max-age=300")
    assert send("GET", "/x", {}, token="", base=azure.storage.site)[:2] == (404, "WebContentNotFound")
    assert send("PUT", path, {}, token="", base=azure.storage.site)[:2] == (405, "UnsupportedHttpVerb")
