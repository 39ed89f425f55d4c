"""An assertion against the federated credentials of an identity."""

import base64
import json

import jwt
import pytest

from azure_workload_identity.types import JsonObject
from testbed.entra import Entra, FederatedCredential, Issuer, RegistrationError
from tests.testbed.entra.client import Client


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "https://issuer.azwi.test"}, (401, "invalid_client", 700211)),
        ({"sub": "system:serviceaccount:shop:worker"}, (401, "invalid_client", 700213)),
        ({"sub": "system:serviceaccount:shop:Web"}, (401, "invalid_client", 7002138)),
        ({"aud": ["api://AKSIdentityBinding"]}, (401, "invalid_client", 700212)),
        ({"aud": "api://azureadtokenexchange"}, (401, "invalid_client", 700212)),
        ({"sub": 7}, (400, "invalid_request", 50027)),
        ({"exp": "soon"}, (400, "invalid_request", 50027)),
        ({"exp": None}, (400, "invalid_request", 50027)),
    ],
    ids=str,
)
def test_claims(client: Client, claims: JsonObject, expected: tuple[int, str, int]) -> None:
    """Issuer, subject and audience must be equal to the last character, and each mismatch has its code."""
    assert client.refused(client_assertion=client.issuer.token(client.subject, **claims)) == expected


@pytest.mark.parametrize(("lifetime", "status"), [(-240, 200), (-310, 401)])
def test_expiry(client: Client, lifetime: int, status: int) -> None:
    """An assertion is accepted until five minutes after its expiry."""
    answer = client.ask(client_assertion=client.issuer.token(client.subject, lifetime=lifetime))
    assert answer.status_code == status
    if status != 200:
        assert "AADSTS700024: Client assertion is not within its valid time range." in answer.text


def test_not_yet_valid(client: Client) -> None:
    """An assertion from the future is refused."""
    token = client.issuer.token(client.subject, nbf=4_000_000_000, exp=4_000_003_600)
    assert client.refused(client_assertion=token) == (401, "invalid_client", 700024)


def test_signature(client: Client) -> None:
    """A signature that another key made is refused."""
    other = Issuer(client.issuer.url)
    forged = other.key.sign(jwt.decode(client.issuer.token(client.subject), options={"verify_signature": False}))
    renamed = Issuer(client.issuer.url)
    renamed.key = type(renamed.key)(renamed.key.private, client.issuer.key.kid)

    assert client.refused(client_assertion=forged) == (401, "invalid_client", 7000272)
    assert client.refused(client_assertion=renamed.token(client.subject)) == (401, "invalid_client", 700027)


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"alg": "ES256"}])
def test_algorithm(client: Client, header: dict[str, str]) -> None:
    """An assertion that is not signed with RSA is refused, whatever it claims."""
    _, payload, signature = client.issuer.token(client.subject).split(".")
    head = base64.urlsafe_b64encode(json.dumps({**header, "kid": client.issuer.key.kid}).encode()).rstrip(b"=").decode()
    assert client.refused(client_assertion=f"{head}.{payload}.{signature}") == (400, "invalid_request", 5002738)


@pytest.mark.parametrize("spoil", ["{}\n", " {}", "{}.{}", "{}%"])
def test_malformed(client: Client, spoil: str) -> None:
    """Anything but an exact JWT, a trailing newline included, is malformed."""
    token = client.issuer.token(client.subject)
    assert client.refused(client_assertion=spoil.format(token, token)) == (400, "invalid_request", 50027)


def test_header_type(client: Client) -> None:
    """A header of another type than JWT is refused."""
    token = client.issuer.key.sign({"sub": client.subject}, typ="at+jwt")
    assert client.refused(client_assertion=token) == (400, "invalid_request", 5002727)


def test_no_credentials(client: Client, running: Entra) -> None:
    """An identity without federated credentials has another code than one whose credentials do not match."""
    bare = Client(running, client.issuer)
    running.register(bare.tenant, bare.client_id)
    assert bare.refused() == (401, "invalid_client", 70025)


def test_unreachable_issuer(client: Client, running: Entra) -> None:
    """An issuer whose keys cannot be fetched is named by its own code."""
    issuer = Issuer("https://nobody.azwi.test/")
    running.register(client.tenant, client.client_id, FederatedCredential(issuer.url, client.subject, name="nobody"))
    for _ in ("unknown", "refused"):
        assert client.refused(client_assertion=issuer.token(client.subject)) == (400, "invalid_request", 501661)
        running.trust_url(issuer.url, "https://127.0.0.1:1/openid/v1/jwks", running.ca_file)


def test_keys_from_an_address(client: Client, running: Entra) -> None:
    """Keys are fetched over HTTPS from where the issuer publishes them."""
    issuer = Issuer("https://published.azwi.test/")
    issuer.key = running._key
    running.trust_url(issuer.url, f"{running.url}/{client.tenant}/discovery/v2.0/keys", running.ca_file)
    running.register(client.tenant, client.client_id, FederatedCredential(issuer.url, client.subject, name="other"))
    assert client.ask(client_assertion=issuer.token(client.subject)).status_code == 200


def test_twenty_credentials(client: Client, running: Entra) -> None:
    """An identity has at most 20 federated credentials, each of its own issuer and subject."""
    more = [FederatedCredential(client.issuer.url, f"system:serviceaccount:shop:{number}") for number in range(19)]
    running.register(client.tenant, client.client_id, *more)

    with pytest.raises(RegistrationError, match="at most 20"):
        running.register(client.tenant, client.client_id, FederatedCredential(client.issuer.url, "one more"))
    other = Client(running, client.issuer)
    with pytest.raises(RegistrationError, match="unique"):
        running.register(other.tenant, other.client_id, more[0], more[0])
