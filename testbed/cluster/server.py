"""The server under test, started as an admin of v1.6.0 starts it, and registered with the API server."""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import trustme
import urllib3

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import USE, pod
from testbed.processes import MAX_WAIT_SECONDS, child, free_ports, running, wait_until
from testbed.program import as_module, write_pair

REPOSITORY = Path(__file__).parents[2]
SYSTEM_NAMESPACE = "azure-workload-identity-system"
ACCOUNT = "azure-wi-webhook-admin"
TENANT_ID = "5a3ae6a4-9d1f-4c22-a4a5-1e6f0fd1d4a1"
PROXY_IMAGE = "registry.test/azwi-proxy:test"
PROXY_INIT_IMAGE = "registry.test/azwi-proxy-init:test"

CREATED_PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


@dataclass(frozen=True)
class Server:
    """A running server: where it listens and whom its clients trust."""

    url: str
    health_url: str
    metrics_url: str
    ca_pem: bytes
    log: Path
    program_id: int
    http: urllib3.PoolManager = field(repr=False)

    @property
    def process_id(self) -> int:
        """The process that serves."""
        return child(self.program_id)

    def review(self, review: JsonObject) -> tuple[int, JsonObject]:
        """Post an AdmissionReview as the API server does, and return the HTTP status and the answer."""
        response = self.http.request(
            "POST",
            self.url + names.MUTATE_PATH,
            body=json.dumps(review),
            headers={"Content-Type": "application/json"},
        )
        return response.status, json.loads(response.data)

    def get(self, url: str) -> tuple[int, str]:
        """Read one of the plain HTTP pages: health and metrics."""
        response = self.http.request("GET", url)
        return response.status, response.data.decode()


def scope(*configurations: str) -> dict[str, str]:
    """Label a namespace for webhook configurations; none sees other namespaces, so tests do not interfere."""
    return {f"azwi.test/{name}": "true" for name in configurations}


def install_account(control_plane: ControlPlane, account: str = ACCOUNT) -> Path:
    """Create the ServiceAccount that the server runs as, and return its kubeconfig."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": account},
        "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "watch"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": account},
        "subjects": [{"kind": "ServiceAccount", "namespace": SYSTEM_NAMESPACE, "name": account}],
    }
    control_plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"namespace": SYSTEM_NAMESPACE, "name": account},
        },
        role,
        binding,
    )
    return control_plane.kubeconfig_for(SYSTEM_NAMESPACE, account)


@contextmanager
def serving(
    kubeconfig: Path,
    directory: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    wait_for: str = "readyz",
    command: Callable[[list[str]], list[str]] = as_module,
    not_after: datetime | None = None,
) -> Iterator[Server]:
    """Run the server with extra arguments until its health page answers 200; `not_after` is its certificate's end."""
    authority = trustme.CA()
    certificates = directory / "certificates"
    write_pair(certificates, authority, not_after)
    port, health_port, metrics_port = free_ports(3)
    flags = [
        f"--webhook-cert-dir={certificates}",
        "--disable-cert-rotation",
        "--drain-period=0s",
        "--tls-min-version=1.3",
        "--log-level=info",
        f"--health-addr=127.0.0.1:{health_port}",
        f"--metrics-addr=127.0.0.1:{metrics_port}",
        f"--webhook-port={port}",
        *arguments,
    ]
    log = directory / "server.log"
    env = {**settings_of(kubeconfig), **(environment or {})}
    with (
        running(command(flags), log, cwd=REPOSITORY, env=env) as process,
        _client(authority.cert_pem.bytes()) as http,
    ):
        server = Server(
            url=f"https://127.0.0.1:{port}",
            health_url=f"http://127.0.0.1:{health_port}",
            metrics_url=f"http://127.0.0.1:{metrics_port}/metrics",
            ca_pem=authority.cert_pem.bytes(),
            log=log,
            program_id=process.pid,
            http=http,
        )
        wait_until(lambda: _answers_200(server, wait_for), process, log, MAX_WAIT_SECONDS)
        yield server


def settings_of(kubeconfig: Path) -> dict[str, str]:
    """The variables of a server that an upstream admin starts."""
    return {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig),
        "POD_NAMESPACE": SYSTEM_NAMESPACE,
        "AZURE_TENANT_ID": TENANT_ID,
        "AZURE_ENVIRONMENT": "AzurePublicCloud",
        "PROXY_IMAGE": PROXY_IMAGE,
        "PROXY_INIT_IMAGE": PROXY_INIT_IMAGE,
    }


@contextmanager
def _client(ca_pem: bytes) -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(
        maxsize=64, block=True, retries=False, timeout=urllib3.Timeout(MAX_WAIT_SECONDS), ca_cert_data=ca_pem.decode()
    ) as http:
        yield http


def _answers_200(server: Server, page: str) -> bool:
    try:
        status, _ = server.get(f"{server.health_url}/{page}")
    except urllib3.exceptions.HTTPError:
        return False
    return status == 200


def configuration(name: str, url: str, ca_pem: bytes, **webhook: Any) -> JsonObject:  # noqa: ANN401  manifest fields
    """Describe a webhook for created pods in the namespaces of its scope, with the chart's settings."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "mutation.azure-workload-identity.io",
                "clientConfig": {"url": url, "caBundle": base64.b64encode(ca_pem).decode()},
                "namespaceSelector": {"matchLabels": scope(name)},
                "rules": [CREATED_PODS],
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "reinvocationPolicy": "IfNeeded",
                "admissionReviewVersions": ["v1", "v1beta1"],
                "sideEffects": "None",
                **webhook,
            }
        ],
    }


def register(
    control_plane: ControlPlane,
    server: Server,
    name: str,
    *,
    path: str = names.MUTATE_PATH,
    labelled_pods_only: bool = True,
    namespace_labels: Mapping[str, str] | None = None,
) -> None:
    """Register the server for the namespaces of a scope, and wait until the API server calls it."""
    labels = {**scope(name), **(namespace_labels or {})}
    selectors: dict[str, JsonObject] = {"namespaceSelector": {"matchLabels": labels}}
    if labelled_pods_only:
        selectors["objectSelector"] = {"matchLabels": USE}
    control_plane.apply(configuration(name, server.url + path, server.ca_pem, **selectors))
    probe = control_plane.create_namespace(labels)
    control_plane.create_service_account(probe, "probe", {names.CLIENT_ID: TENANT_ID})
    body = pod("probe", serviceAccountName="probe")

    def mutated() -> bool:
        stored = control_plane.request("POST", f"/api/v1/namespaces/{probe}/pods?dryRun=All", body)
        return "env" in stored["spec"]["containers"][0]

    wait_until_true(mutated, f"the API server calls webhook {name}")


def wait_until_true(happened: Callable[[], bool], what: str, seconds: float = MAX_WAIT_SECONDS) -> None:
    """Poll for something that the API server does in its own time.

    Raises:
        TimeoutError: It did not happen in time.
    """
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)
