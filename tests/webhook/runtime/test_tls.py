"""The TLS of the webhook port."""

import json
import ssl
from pathlib import Path

import pytest
import trustme

from azure_workload_identity import names
from testbed.pods import pod
from testbed.processes import free_ports, until
from testbed.program import JSON, Program, failed, review, started

BODY = json.dumps(review(pod(serviceAccountName="quickstart"))).encode()


def cipher(program: Program, suites: str = "", version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> tuple[str, bool]:
    """Send a review with this version at most; return the suite that was agreed on, and whether there was a ticket."""
    connection = program.connect()
    context = program.context()
    context.maximum_version = version
    if suites:
        context.set_ciphers(suites)
    connection._context = context  # type: ignore[attr-defined]  # http.client has no other way
    connection.request("POST", names.MUTATE_PATH, BODY, dict(JSON))
    assert connection.getresponse().status == 200
    session = connection.sock.session
    name = (connection.sock.cipher() or ("",))[0]
    connection.close()
    return name, session is not None and session.has_ticket


def test_tls12(tmp_path: Path) -> None:
    """With TLS 1.2 only AEAD suites are served, and no tickets."""
    with started(tmp_path, "--tls-min-version=VersionTLS12") as program:
        name, has_ticket = cipher(program)
        assert name.endswith(("GCM-SHA256", "GCM-SHA384", "CHACHA20-POLY1305"))
        assert not has_ticket
        for suites in ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "AES128-GCM-SHA256"):
            with pytest.raises(ssl.SSLError):
                cipher(program, suites)
        assert cipher(program, version=ssl.TLSVersion.TLSv1_3)[0].startswith("TLS_")


def test_chosen_suites(tmp_path: Path) -> None:
    """Of TLS 1.2 only the named suites are served; those of TLS 1.3 always are."""
    flags = (
        "--tls-min-version=1.2",
        "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_AES_128_GCM_SHA256",
    )
    with started(tmp_path, *flags) as program:
        assert cipher(program) == ("ECDHE-ECDSA-CHACHA20-POLY1305", False)
        with pytest.raises(ssl.SSLError):
            cipher(program, "ECDHE-ECDSA-AES256-GCM-SHA384")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"], "'TLS_RSA_WITH_RC4_128_SHA' must be one of TLS_ECDHE_ECDSA"),
        (["--tls-cipher-suites=nonsense"], "TLS_CHACHA20_POLY1305_SHA256"),
        (["--tls-min-version=1.2", "--tls-cipher-suites=TLS_AES_128_GCM_SHA256"], "names no suite of TLS 1.2"),
        (["--tls-min-version=VersionTLS11"], "must be 1.3 or 1.2"),
        (["--client-ca-file=/nowhere"], "--client-ca-file /nowhere: No such file or directory; give a file"),
        (["--client-ca-file=pyproject.toml"], "give a file with CA certificates in PEM"),
    ],
)
def test_refused(flags: list[str], message: str) -> None:
    """What cannot be served is refused at start, with what can."""
    status, text = failed(
        "--service-accounts=examples",
        f"--webhook-port={free_ports(1)[0]}",
        "--health-addr=0",
        "--metrics-addr=0",
        *flags,
    )
    assert (status, message in text) == (2, True), text


def test_client_certificate(tmp_path: Path) -> None:
    """With a CA of clients only they may send reviews, those of the file as it is now, and the server is ready."""
    ours, other = trustme.CA(), trustme.CA()
    file = tmp_path / "client-ca.pem"
    file.write_bytes(ours.cert_pem.bytes())
    with started(tmp_path, f"--client-ca-file={file}") as program:

        def sent(ca: trustme.CA | None) -> int | None:
            context = program.context()
            if ca is not None:
                ca.issue_cert("kube-apiserver").configure_cert(context)
            connection = program.connect()
            connection._context = context  # type: ignore[attr-defined]  # as above
            try:
                connection.request("POST", names.MUTATE_PATH, BODY, dict(JSON))
                return connection.getresponse().status
            except OSError:  # an alert, or a closed connection
                return None
            finally:
                connection.close()

        assert sent(ours) == 200
        for stranger in (other, None):
            assert sent(stranger) is None
        assert program.get(program.health, "/readyz")[0] == 200
        file.write_bytes(other.cert_pem.bytes())
        until(lambda: sent(other) == 200)
        assert sent(ours) is None
        file.write_bytes(b"")
        until(lambda: "the new CA of clients is not used" in program.log.read_text())
        assert (sent(other), sent(None)) == (200, None)
