"""The responses that an app gets."""

import json

from azure_workload_identity.types import JsonObject
from imds_proxy.messages import Response
from imds_proxy.request import ImdsError, TokenRequest
from imds_proxy.responses import AccessToken, error_response, token_response

GIVEN = AccessToken("eyJ.secret.x", "Bearer", requested=1000.7, expires=4600.7, extended=8200.7)
ASKED = TokenRequest("client", "https://vault.azure.net/")


def document(response: Response) -> JsonObject:
    """Decode a response's body."""
    assert isinstance(response.body, bytes)
    decoded: JsonObject = json.loads(response.body)
    return decoded


def test_token() -> None:
    """A token is written as by IMDS: numbers are strings, times Unix seconds, the resource as it was requested."""
    response = token_response(ASKED, GIVEN, 1600.7, 1600.7)
    assert response.status == 200
    assert ("cache-control", "no-store") in response.headers
    assert document(response) == {
        "access_token": "eyJ.secret.x",
        "client_id": "client",
        "expires_in": "3000",
        "expires_on": "4600",
        "ext_expires_in": "6600",
        "not_before": "1000",
        "resource": "https://vault.azure.net/",
        "token_type": "Bearer",
    }


def test_times_of_day() -> None:
    """Times are those of the present time of day, also when that was set since the token came."""
    before = document(token_response(ASKED, GIVEN, 1_800_000_000.5, 1600.7))
    after = document(token_response(ASKED, GIVEN, 1_700_000_000.5, 1600.7))
    assert (before["expires_in"], before["expires_on"], before["not_before"]) == ("3000", "1800003000", "1799999400")
    assert (after["expires_in"], after["expires_on"], after["not_before"]) == ("3000", "1700003000", "1699999400")


def test_expires_in_is_never_zero() -> None:
    """The expires_in of a token in its last moment is one second."""
    assert document(token_response(ASKED, GIVEN, 4600.6, 4600.6))["expires_in"] == "1"


def test_secret_is_not_printed() -> None:
    """A token that ends up in a log or a traceback does not show what it is."""
    assert "secret" not in repr(GIVEN)
    assert "secret" not in f"{GIVEN}"


def test_failure() -> None:
    """An error is answered in the shape that SDKs read."""
    response = error_response(ImdsError(400, "invalid_request", "do this"))
    assert (response.status, document(response)) == (400, {"error": "invalid_request", "error_description": "do this"})
    assert {name for name, _ in response.headers} == {"content-type", "cache-control"}


def test_headers_of_failures() -> None:
    """A transient error has Retry-After, and a wrong method the allowed one."""
    assert ("retry-after", "7") in error_response(ImdsError(503, "x", "y", 7)).headers
    assert ("allow", "GET") in error_response(ImdsError(405, "x", "y")).headers
