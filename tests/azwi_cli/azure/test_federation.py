"""Names, hashes and comparisons of federated credentials."""

import re

import pytest

from azwi_cli.azure.federation import FederatedCredential, Trust, digest

ISSUER = "https://test.blob.core.windows.net/oidc-test/"
TRUST = Trust("oidc", "pod-identity-sa", ISSUER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="),
        (ISSUER, "foWt5lYFJx_-XwBetmnSltvWY5J_nenUV-2c3Lqes3o="),
        ("--", "2BVrrgxCQ9N0L8Tpd02KzqvgQQJJ1yDIVfmK_Ij_hGw="),
    ],
)
def test_digest(text: str, expected: str) -> None:
    """Hashes are v1.6.0's."""
    assert digest(text) == expected


def test_names() -> None:
    """The application, the credential and the subject are called as v1.6.0 calls them."""
    assert TRUST.application_name == "oidc-pod-identity-sa-foWt5lYFJx_-XwBetmnSltvWY5J_nenUV-2c3Lqes3o="
    assert TRUST.name == "5Frx_q5PpeP09cXWfkbDVwCOg5IVRmmKE3BUKT4hP4I="
    assert Trust("", "", "").name == digest("--")
    assert TRUST.subject == "system:serviceaccount:oidc:pod-identity-sa"


def test_distinct_names_are_distinct() -> None:
    """Where v1.6.0's names of two accounts are one, ours are two."""
    one, other = Trust("a-b", "c", ISSUER), Trust("a", "b-c", ISSUER)
    assert one.name == other.name
    assert one.distinct_name != other.distinct_name


@pytest.mark.parametrize("account", ["web", "1-web", "dotted.name", "a" * 253])
def test_distinct_names_are_taken_by_arm(account: str) -> None:
    """Managed identities take the name of a credential, whatever the ServiceAccount is called."""
    name = Trust("n" * 63, account, ISSUER).distinct_name
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9-_]{2,119}", name)


@pytest.mark.parametrize(
    ("issuer", "subject", "covers", "nearly"),
    [
        (ISSUER, TRUST.subject, True, False),
        (ISSUER.rstrip("/"), TRUST.subject, False, True),
        (ISSUER, TRUST.subject.upper(), False, True),
        (ISSUER, "system:serviceaccount:oidc:other", False, False),
        ("https://other.test/", TRUST.subject, False, False),
    ],
)
def test_comparison(issuer: str, subject: str, *, covers: bool, nearly: bool) -> None:
    """A credential is for a token when both are equal to the byte, and nearly so when a slash or case differs."""
    credential = FederatedCredential("id", "name", issuer, subject, ())
    assert (credential.covers(TRUST), credential.nearly_covers(TRUST)) == (covers, nearly)
