"""Certificates as values."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.authority import CLOCK_SKEW, issue, make_authority
from certs.key_pair import KeyPair

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ["webhook.system.svc", "localhost", "127.0.0.1", "::1"]


def certificate(pair: KeyPair) -> x509.Certificate:
    """Parse the certificate of a pair."""
    return x509.load_pem_x509_certificate(pair.certificate)


def test_authority() -> None:
    """An authority is a P-256 CA that may sign leaves and nothing below them."""
    ca = certificate(make_authority("test CA", NOW, DAY))
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    key = ca.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_leaf() -> None:
    """A leaf is a server certificate for its names, DNS names and addresses."""
    authority = make_authority("test CA", NOW, DAY)
    leaf = certificate(issue(authority, NAMES, NOW, DAY))
    leaf.verify_directly_issued_by(certificate(authority))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["webhook.system.svc", "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("::1")]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_validity() -> None:
    """Both are valid from a little before now for the given lifetime."""
    authority = make_authority("test CA", NOW, DAY)
    for pair in (authority, issue(authority, NAMES, NOW, DAY)):
        assert certificate(pair).not_valid_before_utc == NOW - CLOCK_SKEW
        assert certificate(pair).not_valid_after_utc == NOW + DAY


def test_foreign_key() -> None:
    """A certificate with the key of another signs nothing."""
    one, other = make_authority("one", NOW, DAY), make_authority("other", NOW, DAY)
    with pytest.raises(ValueError, match="does not belong"):
        issue(KeyPair(one.certificate, other.key), NAMES, NOW, DAY)


def test_key_is_not_shown() -> None:
    """A pair's key is not part of its representation."""
    assert "PRIVATE" not in repr(make_authority("one", NOW, DAY))
