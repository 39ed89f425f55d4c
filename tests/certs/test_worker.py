"""Certificates from the worker process."""

import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509

from certs.errors import CertificateError, ForeignCertificateError
from certs.worker import StepRequest, WorkerError, run_step
from tests.certs.test_phases import rsa_authority

HOUR = 3600.0
NOW = time.time()


def test_from_nothing() -> None:
    """Without content a CA and a leaf for the names are created, and the CA is trusted."""
    result = run_step(StepRequest(("localhost", "127.0.0.1"), HOUR, HOUR, NOW))
    leaf = x509.load_pem_x509_certificate(result.data["tls.crt"])
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(result.trusted))
    assert result.data["ca.crt"] == result.trusted
    assert result.changes == ("created",)
    assert NOW < result.due < result.ca_expires < NOW + HOUR + 1


def test_result_is_stable() -> None:
    """The step from a result changes nothing, and no representation shows a key."""
    result = run_step(StepRequest(("localhost",), HOUR, HOUR, NOW))
    again = run_step(StepRequest(("localhost",), HOUR, HOUR, NOW, result.data))
    assert again.data == result.data
    assert again.changes == ()
    assert "PRIVATE" not in repr(again) + repr(StepRequest(("a",), HOUR, HOUR, NOW, result.data))


@pytest.mark.parametrize("failure", [OSError("no"), subprocess.TimeoutExpired("python", 30)])
def test_transient_failure(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """A process that cannot be run may be tried again."""

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(WorkerError, match="no certificate could be made"):
        run_step(StepRequest(("localhost",), HOUR, HOUR, NOW))


@pytest.mark.parametrize(
    ("status", "stderr", "kind", "message"),
    [
        (-9, "", WorkerError, "signal 9 ended the process"),
        (
            1,
            "Traceback\nMemoryError: no memory",
            CertificateError,
            "no certificate could be made: MemoryError: no memory",
        ),
        (1, "", CertificateError, "no certificate could be made: no message"),
        (3, "a sentence", CertificateError, "^a sentence$"),
        (4, "a sentence", ForeignCertificateError, "^a sentence$"),
    ],
)
def test_failure(
    monkeypatch: pytest.MonkeyPatch, status: int, stderr: str, kind: type[Exception], message: str
) -> None:
    """A failure of the process is reported, and only that of a killed one may pass."""
    done = subprocess.CompletedProcess([], status, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(kind, match=message):
        run_step(StepRequest(("localhost",), HOUR, HOUR, NOW))


def test_impossible_name() -> None:
    """A certificate that cannot be made is reported with its name."""
    with pytest.raises(CertificateError, match=r"can be made for no_name\?: .*; check --webhook-service"):
        run_step(StepRequest(("no_name?",), HOUR, HOUR, NOW))


def test_foreign_pair() -> None:
    """A valid pair of another program is reported as such."""
    content = rsa_authority(NOW)
    with pytest.raises(ForeignCertificateError, match=r"ca\.crt is a valid certificate of another program"):
        run_step(StepRequest(("localhost",), HOUR, HOUR, NOW, content))


def test_isolation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No module of the current directory or of PYTHONPATH runs in the process that makes keys."""
    mark = tmp_path / "it-ran"
    (tmp_path / "json.py").write_text(f"open({str(mark)!r}, 'w')\nraise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run_step(StepRequest(("localhost",), HOUR, HOUR, NOW)).changes == ("created",)
    assert not mark.exists()
