"""What a client would say of a server's TLS."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from certs.authority import issue, make_authority
from certs.handshake import complaint, life
from certs.key_pair import Pair
from certs.serving import Life, ServingContext

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
CA = make_authority("CA", NOW, HOUR)
STRANGER = make_authority("stranger", NOW, HOUR)


class Given:
    """A source of one pair."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def read(self) -> Pair:
        """Return the pair."""
        return self.pair


def serving(names: list[str], now: datetime = NOW) -> ServingContext:
    """Serve a leaf of the CA."""
    return ServingContext(Given(issue(CA, names, now, HOUR)), ssl.TLSVersion.TLSv1_3)


def test_no_complaint() -> None:
    """A client that trusts the CA, also among others, takes a leaf for the name it calls."""
    context = serving(["webhook.system.svc", "127.0.0.1"]).ssl
    assert complaint(context, CA.certificate, "webhook.system.svc") == ""
    assert complaint(context, STRANGER.certificate + CA.certificate, "webhook.system.svc") == ""
    assert complaint(context, CA.certificate, "127.0.0.1") == ""


@pytest.mark.parametrize(
    ("bundle", "host", "said"),
    [
        (STRANGER.certificate, "webhook.system.svc", "unable to get local issuer certificate"),
        (CA.certificate, "other.system.svc", "Hostname mismatch"),
        (b"", "webhook.system.svc", "unable to get local issuer certificate"),
        (b"junk", "webhook.system.svc", "the caBundle cannot be used"),
        (b"\xff", "webhook.system.svc", "the caBundle cannot be used"),
    ],
)
def test_complaints(bundle: bytes, host: str, said: str) -> None:
    """What a client does not like is said in OpenSSL's words."""
    assert said in complaint(serving(["webhook.system.svc"]).ssl, bundle, host)


def test_expired() -> None:
    """An expired certificate is told of, and its life can still be read."""
    context = serving(["webhook.system.svc"], NOW - 3 * HOUR)
    assert "expired" in complaint(context.ssl, CA.certificate, "webhook.system.svc")
    assert context.life.ends == NOW - 2 * HOUR


def test_life() -> None:
    """The life of a served certificate is what it says itself, whoever signed it."""
    context = serving(["webhook.system.svc"])
    begins, ends = life(context.ssl, context._source.read().certificate)
    assert begins == NOW - timedelta(minutes=5)
    assert ends == NOW + HOUR


def test_ending() -> None:
    """A certificate is ending when a fifth of its life is left."""
    span = Life(NOW, NOW + timedelta(days=100))
    assert not span.is_ending(NOW + timedelta(days=79))
    assert span.is_ending(NOW + timedelta(days=81))
