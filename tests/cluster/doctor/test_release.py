"""A release with Deployment, Service and certificates: stopped, distrusted, or with certificates that ended."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from certs.authority import issue, make_authority
from certs.key_pair import KeyPair
from testbed.cluster.control_plane import ControlPlane
from testbed.processes import until
from tests.chart.helm import CHART
from tests.cluster.support.doctor_release import endpoints, server_deployment
from tests.cluster.support.installation import Installation
from tests.cluster.support.installation import register as register_release
from tests.cluster.support.patient import Patient, deployment
from tests.cluster.support.release import FULLNAME, released


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
    """A call that fails is reported, also where the failurePolicy hides it; once the server runs, it is not."""
    finding = patient.one("webhook-call-failed")
    assert "failed calling webhook" in finding["evidence"][0]
    register_release(patient.plane, release.name, failurePolicy="Ignore")
    ignored = patient.one("webhook-not-called")
    assert "failurePolicy Ignore" in ignored["evidence"]
    assert ignored["fix"] == finding["fix"]
    patient.run(finding["fix"])
    with release.replica():
        until(lambda: patient.examined()["findings"] == [])
        register_release(patient.plane, release.name)
        assert patient.examined()["findings"] == []


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


def test_old_certificate(patient: Patient, release: Installation) -> None:
    """A certificate that ends soon, or ended, goes; the server makes a new one."""
    life, subject = timedelta(days=90), f"Secret {release.name}/{names.CERT_SECRET}"
    for code, age in (("certificate-expiring", 86), ("certificate-unusable", 100)):
        authority, leaf = certificates(release, datetime.now(UTC) - timedelta(days=age), life)
        store(release, authority, leaf)
        trust(release, authority.certificate)
        patient.fixed(code, subject)
        # kubectl restarts a Deployment once a second.
        patient.plane.kubectl("delete", "deployment", "azwi", "-n", release.name)
        patient.plane.apply(server_deployment(release))
    with release.replica():
        assert release.certificates()["tls.crt"]
        assert [finding for finding in patient.examined()["findings"] if finding["subject"] == subject] == []


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


def ended(plane: ControlPlane, deployment: JsonObject, log: str) -> None:
    """Write the pod of a Deployment as the kubelet writes it when its server has ended."""
    namespace, template = deployment["metadata"]["namespace"], deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    name = f"{deployment['metadata']['name']}-1"
    plane.kubectl("delete", "pod", name, "-n", namespace, "--ignore-not-found", "--now")
    spec = {"containers": [{"name": container["name"], "image": container["image"]}]}
    plane.create_pod(namespace, {"metadata": {"name": name, "labels": template["metadata"]["labels"]}, "spec": spec})
    state = {
        "name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 2, "reason": "Error", "message": log[-2048:]}},
    }  # fmt: skip
    status = {"status": {"phase": "Running", "containerStatuses": [state]}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
    plane.request("PATCH", path, status, content_type="application/merge-patch+json")


def replaced(plane: ControlPlane, namespace: str, name: str) -> None:
    """Delete the pod that ended, as the Deployment's controller does with those of an old template."""
    assert plane.kubectl("delete", "pod", name, "-n", namespace, "--now").returncode == 0


def of_another_program() -> dict[str, str]:
    """Make what v1.6.0's rotator keeps in its Secret: a valid RSA pair."""
    pair = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("other.svc", key_type=trustme.KeyType.RSA)
    data = {"tls.crt": pair.cert_chain_pems[0].bytes(), "tls.key": pair.private_key_pem.bytes()}
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def test_certificate_not_made(patient: Patient, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose servers get no certificate gets its roles back, or another Secret; then they start."""
    (patient.directory / "charts").symlink_to(CHART.parent)
    with released(plane, patient.directory) as release:
        deployment, subject = release.get("deployment"), f"Deployment {release.namespace}/{FULLNAME}"
        plane.kubectl("delete", "service", FULLNAME, "-n", release.namespace)
        assert "helm" in patient.fixed("service-missing")["fix"]
        plane.kubectl("delete", "role", "--all", "-n", release.namespace)
        ended(plane, deployment, release.ended().stderr)
        finding = patient.one("certificate-not-made", subject)
        assert "does not let the webhook GET Secret" in finding["evidence"][0]
        assert any(line.startswith("container manager waits: CrashLoopBackOff") for line in finding["evidence"])
        patient.run(finding["fix"])
        assert plane.kubectl("get", "role", FULLNAME, "-n", release.namespace).returncode == 0

        data = {"metadata": {"name": f"{FULLNAME}-server-cert", "namespace": release.namespace}}
        plane.apply({"apiVersion": "v1", "kind": "Secret", **data, "data": of_another_program()})
        ended(plane, deployment, log := release.ended().stderr)
        finding = patient.one("certificate-not-made", subject)
        assert "is a valid certificate of another program" in finding["evidence"][0]
        patient.run(finding["fix"])
        replaced(plane, release.namespace, f"{FULLNAME}-1")
        with release.service() as service, release.replica(service):
            assert patient.found("certificate-not-made") == []

        # Where it is of no Helm release, a person names another Secret.
        name = release.configuration()["metadata"]["name"]
        plane.kubectl("annotate", "mutatingwebhookconfiguration", name, "meta.helm.sh/release-name-")
        try:
            ended(plane, deployment, log)
            monkeypatch.setenv("KUBE_EDITOR", "sed -i s/--cert-secret=.*/--cert-secret=own/")
            by_hand = patient.one("certificate-not-made", subject)["fix"]
            assert " edit deployment " in by_hand
            patient.run(by_hand)
            replaced(plane, release.namespace, f"{FULLNAME}-1")
            assert patient.found("certificate-not-made") == []
        finally:
            plane.kubectl("delete", "mutatingwebhookconfiguration", name)  # it is no longer the release's


def test_binding_without_a_token_proxy(patient: Patient, release: Installation) -> None:
    """A pod asks for an identity binding of a webhook that has no token proxy: the annotation is taken away."""
    patient.plane.apply(server_deployment(release), endpoints(release))
    patient.apply(deployment(annotations={names.USE_BINDING: "true"}))
    with release.replica():
        patient.fixed("binding-not-set-up", "Deployment")


def test_second_token(patient: Patient, release: Installation) -> None:
    """A pod reads a second token, and its annotation names the audience of its first one: it is given a binding."""
    server = server_deployment(release, 2, "--custom-token-endpoint-annotation-suffix=identity-binding",
                               f"--custom-token-endpoint-audience={names.BINDING_AUDIENCE}")  # fmt: skip
    container = server["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": names.ENV_TOKEN_PROXY, "value": "https://binding.azwi.test"}]
    patient.plane.apply(server, endpoints(release))
    app = {"name": "app", "image": "app", "args": [f"$({names.ENV_SECOND_TOKEN_FILE})"]}
    asked = {names.SECOND_AUDIENCE: names.DEFAULT_AUDIENCE}
    patient.apply(deployment(annotations=asked, containers=[app]))
    with release.replica():
        patient.fixed("second-token-missing", "Deployment")
