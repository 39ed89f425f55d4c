"""A server that answers only clients with a certificate, and an API server that presents one."""

import http.client
import json
import ssl
from pathlib import Path

import pytest
import trustme

from azure_workload_identity import names
from testbed.cluster.control_plane import Programs, control_plane
from testbed.cluster.manifests import pod
from testbed.processes import MAX_WAIT_SECONDS
from testbed.program import JSON, review
from tests.cluster.support.installation import installed
from tests.cluster.support.mutation import wait_until_mutated

NAMESPACE = "identity-system"


def test_client_certificate(programs: Programs, tmp_path: Path) -> None:
    """An API server with a kubeconfig for the webhook's Service has pods mutated; a caller without one is refused."""
    ca = trustme.CA()
    client_ca = tmp_path / "client-ca.crt"
    client_ca.write_bytes(ca.cert_pem.bytes())
    kubeconfig = tmp_path / "client.conf"
    leaf = ca.issue_cert(common_name="kube-apiserver")
    leaf.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "client.crt"))
    user = {"client-certificate": str(tmp_path / "client.crt"), "client-key": str(tmp_path / "client.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{"name": f"{names.WEBHOOK_SERVICE}.{NAMESPACE}.svc", "user": user}],
    }
    kubeconfig.write_text(json.dumps(content))
    directory = tmp_path / "control-plane"
    directory.mkdir()
    with (
        control_plane(programs, directory, admission(kubeconfig)) as plane,
        installed(plane, tmp_path, name=NAMESPACE) as installation,
        installation.replica(f"--client-ca-file={client_ca}") as replica,
    ):
        namespace = installation.workload_namespace()
        wait_until_mutated(installation, namespace)
        anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anonymous.load_verify_locations(cadata=installation.ca_bundle().decode())
        anonymous.check_hostname = False
        connection = http.client.HTTPSConnection(
            "127.0.0.1", replica.endpoint.port, context=anonymous, timeout=MAX_WAIT_SECONDS
        )
        with pytest.raises(OSError):  # noqa: PT011  an alert, or a closed connection
            ask(connection)


def admission(kubeconfig: Path) -> dict[str, object]:
    """Write the AdmissionConfiguration of the manual."""
    configuration = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "WebhookAdmissionConfiguration",
        "kubeConfigFile": str(kubeconfig),
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "MutatingAdmissionWebhook", "configuration": configuration}],
    }


def ask(connection: http.client.HTTPSConnection) -> int:
    """Send a review; return the status."""
    body = json.dumps(review(pod(serviceAccountName="app")))
    try:
        connection.request("POST", names.MUTATE_PATH, body, dict(JSON))
        return connection.getresponse().status
    finally:
        connection.close()
