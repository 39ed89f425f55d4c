"""What the API server would say of a certificate."""

from datetime import UTC, datetime, timedelta

from azwi_cli.commands.doctor.certificates import expires, unusable_reason
from certs.authority import issue, make_authority

HOST = "webhook.system.svc"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BEGIN + timedelta(days=1)
CA = make_authority("ca", BEGIN, timedelta(days=30))
LEAF = issue(CA, [HOST], BEGIN, timedelta(days=10))
OTHER = make_authority("other", BEGIN, timedelta(days=30))


def test_good() -> None:
    """A leaf of a trusted CA by the name that is called is no unusable_reason, nor is one that is trusted itself."""
    assert unusable_reason(LEAF.certificate, OTHER.certificate + CA.certificate, HOST, NOW) == ""
    assert unusable_reason(LEAF.certificate, LEAF.certificate, HOST, NOW) == ""


def test_faults() -> None:
    """Time, name and CA are each reported."""
    assert "has expired at 2026-01-11" in unusable_reason(
        LEAF.certificate, CA.certificate, HOST, NOW + timedelta(days=20)
    )
    assert "not valid before" in unusable_reason(LEAF.certificate, CA.certificate, HOST, BEGIN - timedelta(days=1))
    assert (
        unusable_reason(LEAF.certificate, CA.certificate, "x.y.svc", NOW)
        == f"certificate is valid for {HOST}, not x.y.svc"
    )
    assert "unknown authority" in unusable_reason(LEAF.certificate, OTHER.certificate, HOST, NOW)
    assert "no subject alternative name" in unusable_reason(CA.certificate, CA.certificate, HOST, NOW)


def test_ended_authority() -> None:
    """A CA that has ended is trusted no more, though the leaf lives on."""
    young = issue(CA, [HOST], BEGIN, timedelta(days=60))
    assert "unknown authority" in unusable_reason(young.certificate, CA.certificate, HOST, NOW + timedelta(days=40))


def test_junk() -> None:
    """What is no certificate is reported, too."""
    assert "cannot be read" in unusable_reason(b"junk", CA.certificate, HOST, NOW)
    assert "cannot be read" in unusable_reason(LEAF.certificate, b"", HOST, NOW)
    assert expires(b"junk") is None
    assert expires(LEAF.certificate) == BEGIN + timedelta(days=10)
