"""A release with Deployment, Service and certificates: stopped, distrusted, or with certificates that ended."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from azure_workload_identity import names
from certs.authority import issue, make_authority
from certs.key_pair import KeyPair
from tests.cluster.support.doctor_release import endpoints, server_deployment
from tests.cluster.support.installation import Installation
from tests.cluster.support.installation import register as register_release
from tests.cluster.support.patient import Patient


def store(release: Installation, authority: KeyPair, leaf: KeyPair) -> None:
    """Store certificates in the Secret."""
    data = {"ca.crt": authority.certificate, "tls.crt": leaf.certificate, "tls.key": leaf.key}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"name": names.CERT_SECRET, "namespace": release.name}
    release.control_plane.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})


def certificates(release: Installation, begins: datetime, life: timedelta) -> tuple[KeyPair, KeyPair]:
    """Make a CA and a leaf for the release's Service."""
    authority = make_authority("test", begins, life)
    return authority, issue(authority, [f"{names.WEBHOOK_SERVICE}.{release.name}.svc"], begins, life)


def trust(release: Installation, bundle: bytes) -> None:
    """Write a caBundle."""
    value = base64.b64encode(bundle).decode()
    operations = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": value}]
    plane = release.control_plane
    plane.request("PATCH", release.configuration, operations, content_type="application/json-patch+json")


def test_scaled_to_zero(patient: Patient, release: Installation) -> None:
    """A webhook that is scaled to zero is scaled up; its pods are then the kubelet's matter."""
    patient.plane.apply(server_deployment(release, 0), endpoints(release, ready=False))
    patient.fixed("webhook-scaled-to-zero", f"Deployment {release.name}/azwi")


def test_not_ready(patient: Patient, release: Installation) -> None:
    """A webhook of which no server is ready is reported until one is."""
    patient.plane.apply(endpoints(release, ready=False))
    finding = patient.one("webhook-not-ready")
    assert finding["subject"] == f"Deployment {release.name}/azwi"
    patient.run(finding["fix"])
    patient.plane.apply(endpoints(release))
    assert patient.found("webhook-not-ready") == []


def test_call_fails(patient: Patient, release: Installation) -> None:
    """What the API server says of a call that fails is reported; once the server runs, it is not."""
    finding = patient.one("webhook-call-failed")
    assert "failed calling webhook" in finding["evidence"][0]
    patient.run(finding["fix"])
    with release.replica():
        assert patient.examined()["findings"] == []


def test_failure_ignored(patient: Patient, release: Installation) -> None:
    """A failure that the failurePolicy hides is reported too: a labelled pod is admitted as it is."""
    register_release(patient.plane, release.name, failurePolicy="Ignore")
    finding = patient.one("webhook-not-called")
    assert "failurePolicy Ignore" in finding["evidence"]
    patient.run(finding["fix"])
    with release.replica():
        assert patient.found("webhook-not-called") == []


def test_service_deleted(patient: Patient, release: Installation) -> None:
    """A Service that somebody deleted while the servers run is created again, and nothing is uninstalled."""
    service = f"/api/v1/namespaces/{release.name}/services/{names.WEBHOOK_SERVICE}"
    patient.plane.request("DELETE", service)
    finding = patient.fixed("service-missing")
    assert " expose deployment azwi " in finding["fix"]
    ports = patient.plane.request("GET", service)["spec"]["ports"]
    assert [(port["port"], port["targetPort"]) for port in ports] == [(443, 9443)]


@pytest.mark.parametrize("trusted", ["nothing", "another CA"])
def test_distrusted(patient: Patient, release: Installation, trusted: str) -> None:
    """A caBundle that is empty or another's becomes that of the Secret."""
    now = datetime.now(UTC)
    authority, leaf = certificates(release, now, timedelta(days=90))
    store(release, authority, leaf)
    if trusted == "another CA":
        trust(release, make_authority("other", now, timedelta(days=90)).certificate)
    patient.fixed("cabundle-empty" if trusted == "nothing" else "cabundle-mismatch")
    assert release.ca_bundle() == authority.certificate


@pytest.mark.parametrize(("code", "age", "life"), [("certificate-unusable", 100, 90), ("certificate-expiring", 86, 90)])
def test_old_certificate(patient: Patient, release: Installation, code: str, age: int, life: int) -> None:
    """A certificate that ended, or ends soon, goes; the server makes a new one."""
    authority, leaf = certificates(release, datetime.now(UTC) - timedelta(days=age), timedelta(days=life))
    store(release, authority, leaf)
    trust(release, authority.certificate)
    finding = patient.one(code, f"Secret {release.name}/{names.CERT_SECRET}")
    patient.run(finding["fix"])
    with release.replica():
        assert release.certificates()["tls.crt"] != leaf.certificate
        assert patient.found(code) == []


def test_own_certificate(patient: Patient, release: Installation) -> None:
    """A certificate that nobody renews is replaced by the files of who made it."""
    now = datetime.now(UTC)
    release.control_plane.apply(server_deployment(release, 2, "--disable-cert-rotation"))
    store(release, *certificates(release, now - timedelta(days=100), timedelta(days=90)))
    authority, leaf = certificates(release, now, timedelta(days=90))
    files = {"ca.crt": authority.certificate, "tls.crt": leaf.certificate, "tls.key": leaf.key}
    for name, content in files.items():
        (patient.directory / name).write_bytes(content)
    patient.fixed("certificate-unusable")
    assert release.certificates() == files
    secret = release.control_plane.request("GET", release.secret)
    assert "annotations" not in secret["metadata"]


def test_injector(patient: Patient, release: Installation) -> None:
    """cert-manager's injector beside a server that writes the caBundle itself is reported, and sent away."""
    annotation = "cert-manager.io/inject-ca-from=somewhere/something"
    patient.plane.kubectl("annotate", "mutatingwebhookconfiguration", release.name, annotation)
    finding = patient.fixed("cabundle-contested")
    assert finding["severity"] == "warning"
