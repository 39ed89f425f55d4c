"""What is made of Microsoft Entra's errors."""

import json
from base64 import urlsafe_b64encode

import pytest

from azure_workload_identity.entra import (
    MAX_CLAIM,
    MAX_DESCRIPTION,
    MEANINGS,
    SUBJECT_CLAIMS,
    Kind,
    claims,
    refusal,
    token_form,
    token_path,
)
from testbed.entra import errors

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"


def jwt(payload: object) -> str:
    """Write a token with a payload."""
    return f"e30.{urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip('=')}.c2ln"


def test_code() -> None:
    """The code's meaning is found by the number in the text, by the list, and by the HTTP status otherwise."""
    by_text = refusal(401, {"error": "invalid_client", "error_description": "AADSTS700213: No matching ..."})
    by_list = refusal(401, {"error": "invalid_client", "error_codes": [700213]})
    assert (by_text.code, by_list.code) == (700213, 700213)
    assert by_text.meaning is by_list.meaning is MEANINGS[700213]
    assert refusal(400, {"error_codes": [123456]}).code == 123456
    statuses = {status: refusal(status, {"error_codes": [123456]}).meaning.kind for status in (400, 408, 429, 500, 503)}
    assert statuses == {
        400: Kind.PERMANENT,
        408: Kind.OUTAGE,
        429: Kind.THROTTLED,
        500: Kind.OUTAGE,
        503: Kind.OUTAGE,
    }


def test_first_known_code_counts() -> None:
    """Of several codes the first that means something is taken."""
    assert refusal(401, {"error_codes": [999999, 700024, 700016]}).code == 700024


@pytest.mark.parametrize("code", sorted({70021, 700211, 700212, 700213, 70025, 700024}))
def test_propagating(code: int) -> None:
    """What a credential that was made a moment ago looks like is worth another try."""
    assert MEANINGS[code].kind is Kind.PROPAGATING


def test_federation_errors_are_explained() -> None:
    """Every error that the emulator gives to a wrong assertion has a sentence of its own."""
    of_assertions = {code for code, kind in errors.KINDS.items() if kind.status == 401}
    assert of_assertions - MEANINGS.keys() == {7000216}  # a request without any credential, which is never sent


def test_description_is_one_safe_line() -> None:
    """What Entra says becomes one bounded line without control characters and without a token."""
    text = f"AADSTS50027: bad {TOKEN}\r\nTrace ID: 1\x1b[31m" + "x" * 5000
    said = refusal(400, {"error": "invalid_request", "error_description": text}).description
    assert said.startswith("AADSTS50027: bad (a token) Trace ID: 1[31mxxx")
    assert len(said) == MAX_DESCRIPTION


@pytest.mark.parametrize(
    "document", [None, [], "text", 7, {}, {"error": 1, "error_description": [], "error_codes": "x"}]
)
def test_anything_may_answer(document: object) -> None:
    """An answer of any shape is an error without a code."""
    found = refusal(400, document)
    assert (found.error, found.code, found.description, found.meaning.kind) == ("", 0, "", Kind.PERMANENT)


def test_token_request() -> None:
    """The request is the client-credentials grant with a JWT as the assertion, at the tenant's v2 endpoint."""
    assert token_path("contoso") == "/contoso/oauth2/v2.0/token"
    assert token_form("client", "api://x/.default", "a.b.c") == {
        "grant_type": "client_credentials",
        "client_id": "client",
        "scope": "api://x/.default",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "a.b.c",
    }


def test_claims() -> None:
    """Only the wanted claims of a token are read: dates are numbers, lists are joined."""
    payload = {"iss": "https://issuer/", "sub": "system:serviceaccount:a:b", "aud": ["api://x", "y"], "exp": 1}
    text = {"iss": "https://issuer/", "sub": "system:serviceaccount:a:b", "aud": "api://x y"}
    assert claims(jwt(payload), SUBJECT_CLAIMS) == text
    assert claims(jwt(payload), ("exp", "iss", "iat")) == {"exp": 1, "iss": "https://issuer/"}


def test_claims_are_bounded_and_printable() -> None:
    """A claim is one line of at most 300 characters, and one of the wrong type is left out."""
    payload = {"iss": "a\x1b[31m\nb", "sub": "s" * 9999, "aud": {}, "exp": "soon", "iat": 1.5}
    assert claims(jwt(payload), (*SUBJECT_CLAIMS, "exp", "iat")) == {"iss": "a[31m b", "sub": "s" * MAX_CLAIM}


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "a.b.c", "a.%%%.c", "a.W10.c", "..", "a." + "A" * 10_000, jwt([]), jwt("x"), jwt({"iss": 1})),
        *("e30." + "WyI" * 9, f"e30.{'W1' * 40000}.x"),
    ],
)
def test_claims_of_anything_but_a_token(text: str) -> None:
    """Anything but a JWT has no claims."""
    assert claims(text, SUBJECT_CLAIMS) == {}
