"""Certificates from the worker process."""

import subprocess

import pytest
from cryptography import x509

from certs.worker import StepRequest, WorkerError, run_step

HOUR = 3600.0


def test_from_nothing() -> None:
    """Without content a CA and a leaf for the names are created, and the CA is trusted."""
    result = run_step(StepRequest(("localhost", "127.0.0.1"), HOUR, HOUR))
    leaf = x509.load_pem_x509_certificate(result.data["tls.crt"])
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(result.trusted))
    assert result.data["ca.crt"] == result.trusted
    assert result.changes == ("created",)
    assert result.due < result.ca_expires


def test_result_is_stable() -> None:
    """The step from a result changes nothing, and no representation shows a key."""
    result = run_step(StepRequest(("localhost",), HOUR, HOUR))
    again = run_step(StepRequest(("localhost",), HOUR, HOUR, result.data))
    assert again.data == result.data
    assert again.changes == ()
    assert "PRIVATE" not in repr(again) + repr(StepRequest(("a",), HOUR, HOUR, result.data))


@pytest.mark.parametrize(
    "failure",
    [subprocess.CalledProcessError(1, "python", stderr="Traceback\nMemoryError"), OSError("no"), TimeoutError()],
)
def test_failure(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """A failure of the process is reported."""

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(WorkerError, match="no certificate could be made"):
        run_step(StepRequest(("localhost",), HOUR, HOUR))
