"""Certificates from a process of their own."""

import subprocess

import pytest
from cryptography import x509

from certs.worker import MakerError, Request, make

HOUR = 3600.0


def test_make() -> None:
    """From nothing come a CA and a leaf for the names; what is to be trusted is the CA."""
    made = make(Request(("localhost", "127.0.0.1"), HOUR, HOUR))
    leaf = x509.load_pem_x509_certificate(made.data["tls.crt"])
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(made.trusted))
    assert made.data["ca.crt"] == made.trusted
    assert made.changes == ("created",)
    assert made.due < made.ca_expires


def test_made_is_kept() -> None:
    """What was made is its own next step, and no representation shows a key."""
    made = make(Request(("localhost",), HOUR, HOUR))
    again = make(Request(("localhost",), HOUR, HOUR, made.data))
    assert again.data == made.data
    assert again.changes == ()
    assert "PRIVATE" not in repr(again) + repr(Request(("a",), HOUR, HOUR, made.data))


@pytest.mark.parametrize(
    "failure",
    [subprocess.CalledProcessError(1, "python", stderr="Traceback\nMemoryError"), OSError("no"), TimeoutError()],
)
def test_failure(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """When the process fails, that is said."""

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(MakerError, match="no certificate could be made"):
        make(Request(("localhost",), HOUR, HOUR))
