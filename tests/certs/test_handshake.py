"""Whether a client accepts a server's TLS certificate."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from certs.authority import issue, make_authority
from certs.handshake import validity, verification_error
from certs.key_pair import KeyPair
from certs.serving import ServingContext, Validity

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
CA = make_authority("CA", NOW, HOUR)
OTHER_CA = make_authority("other CA", NOW, HOUR)


class FixedSource:
    """A source of one pair."""

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair

    def read(self) -> KeyPair:
        """Return the pair."""
        return self.pair


def serving(names: list[str], now: datetime = NOW) -> ServingContext:
    """Serve a leaf of the CA."""
    return ServingContext(FixedSource(issue(CA, names, now, HOUR)), ssl.TLSVersion.TLSv1_3)


def test_accepted() -> None:
    """A client that trusts the CA, also among others, accepts a leaf for the name that it calls."""
    context = serving(["webhook.system.svc", "127.0.0.1"]).ssl
    assert verification_error(context, CA.certificate, "webhook.system.svc") == ""
    assert verification_error(context, OTHER_CA.certificate + CA.certificate, "webhook.system.svc") == ""
    assert verification_error(context, CA.certificate, "127.0.0.1") == ""


@pytest.mark.parametrize(
    ("bundle", "host", "expected"),
    [
        (OTHER_CA.certificate, "webhook.system.svc", "unable to get local issuer certificate"),
        (CA.certificate, "other.system.svc", "Hostname mismatch"),
        (b"", "webhook.system.svc", "unable to get local issuer certificate"),
        (b"junk", "webhook.system.svc", "the caBundle cannot be used"),
        (b"\xff", "webhook.system.svc", "the caBundle cannot be used"),
    ],
)
def test_rejected(bundle: bytes, host: str, expected: str) -> None:
    """A rejection is described in OpenSSL's words."""
    assert expected in verification_error(serving(["webhook.system.svc"]).ssl, bundle, host)


def test_expired() -> None:
    """An expired certificate is rejected, and its validity can still be read."""
    context = serving(["webhook.system.svc"], NOW - 3 * HOUR)
    assert "expired" in verification_error(context.ssl, CA.certificate, "webhook.system.svc")
    assert context.validity.not_after == NOW - 2 * HOUR


def test_validity() -> None:
    """The validity of a served certificate is its own, whoever signed it."""
    context = serving(["webhook.system.svc"])
    not_before, not_after = validity(context.ssl, context._source.read().certificate)
    assert not_before == NOW - timedelta(minutes=5)
    assert not_after == NOW + HOUR


def test_expiring() -> None:
    """A certificate is expiring when less than a fifth of its validity is left."""
    span = Validity(NOW, NOW + timedelta(days=100))
    assert not span.is_expiring(NOW + timedelta(days=79))
    assert span.is_expiring(NOW + timedelta(days=81))
