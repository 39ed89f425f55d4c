"""Before an installation: what `azwi doctor --pre` finds, and that its advice helps."""

import functools
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from azwi_cli.commands.doctor import pre
from testbed.cluster.server import configuration
from tests.cluster.support.patient import Patient

ISSUER_HOST = "issuer.azwi.test"


def test_rights(patient: Patient) -> None:
    """Who may not install sees what is missing, and may once an administrator has run the command."""
    codes = {finding["code"] for finding in patient.examined("--pre")["findings"]}
    assert "right-missing" not in codes
    file = patient.plane.kubeconfig_for(patient.namespace, "app")
    as_app = (f"--kubeconfig={file}",)
    finding = patient.one("right-missing", "", *as_app, "--pre")
    try:
        patient.run(finding["fix"].replace(str(file), str(patient.plane.kubeconfig)))
        patient.wait_until_gone("right-missing", "", *as_app, "--pre")
    finally:
        patient.plane.kubectl("delete", "clusterrolebinding", "azwi-installer", "--ignore-not-found")


def test_another_webhook(patient: Patient) -> None:
    """A webhook that was not installed by Helm is removed."""
    patient.plane.apply(configuration("before", "https://127.0.0.1:1/", b""))
    try:
        patient.fixed("webhook-present", "MutatingWebhookConfiguration before", "--pre")
    finally:
        patient.plane.kubectl("delete", "mutatingwebhookconfiguration", "before", "--ignore-not-found")


def test_old_cluster(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that is too old is found; upgraded, it is not."""
    monkeypatch.setattr(pre, "MIN_MINOR", newest := 99)
    finding = patient.one("cluster-too-old", "", "--pre")
    assert f"needs 1.{newest}" in finding["what"]
    assert finding["fix"].startswith("az aks upgrade ")
    patient.cannot_run(finding, "it upgrades a cluster of AKS")
    monkeypatch.undo()
    assert patient.found("cluster-too-old", "--pre") == []


def test_issuer(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer whose documents are not published is found; with those that the command writes there, it is not."""
    site = patient.directory / "site"
    site.mkdir()
    with published(site, patient.directory, monkeypatch):
        finding = patient.fixed("issuer-not-published", f"Issuer https://{ISSUER_HOST}/", "--pre")
        assert "answers with HTTP 404" in finding["evidence"][0]
        keys = site / "openid" / "v1" / "jwks"
        keys.write_text(json.dumps({"keys": json.loads(keys.read_text())["keys"][1:]}))
        finding = patient.fixed("issuer-not-published", "", "--pre")
        assert "is not published at" in finding["evidence"][0]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a directory and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def published(site: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve a directory as the issuer's host, which this process finds and trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "public-ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(directory / "public-ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ISSUER_HOST).configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    port, resolve = server.server_address[1], socket.getaddrinfo

    def resolved(host: Any, port_number: Any, *more: Any, **options: Any) -> Any:  # noqa: ANN401  the resolver's
        there = ("127.0.0.1", port) if host == ISSUER_HOST else (host, port_number)
        return resolve(*there, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
