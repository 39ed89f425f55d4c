"""An installation in a namespace of its own, with exactly the roles of the manual."""

import base64
import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import Cluster, ControlPlane
from testbed.cluster.manifests import CLIENT_ID, USE, pod
from testbed.cluster.server import CREATED_PODS, REPOSITORY, TENANT_ID, scope, wait_until_true
from testbed.processes import MAX_WAIT_SECONDS, free_ports, running, wait_until
from tests.cluster.support.service import Endpoint, Service, service

ACCOUNT = "server"


@dataclass(frozen=True)
class Replica:
    """One server process."""

    process: "subprocess.Popen[bytes]"
    endpoint: Endpoint
    metrics_port: int
    log: Path

    def readiness(self) -> tuple[int, str]:
        """Status and text of /readyz."""
        return page(self.endpoint.health_port, "readyz")

    @property
    def cached(self) -> float:
        """How many accounts the server has in its cache."""
        return self.metric("azwi_accounts_cached")

    def metric(self, sample: str) -> float:
        """Return a metric's value, 0 where there is none; `sample` is its name with its labels."""
        lines = page(self.metrics_port, "metrics")[1].splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample + " ")), 0.0)


@dataclass(frozen=True)
class Installation:
    """One release in the cluster; `name` is its namespace and its webhook configuration."""

    control_plane: Cluster
    name: str
    kubeconfig: Path
    service: Service
    directory: Path

    @property
    def secret(self) -> str:
        """The path of the Secret with the certificates."""
        return f"/api/v1/namespaces/{self.name}/secrets/{names.CERT_SECRET}"

    @property
    def configuration(self) -> str:
        """The path of the webhook configuration."""
        return f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{self.name}"

    def ca_bundle(self) -> bytes:
        """The CAs that the API server trusts (PEM)."""
        webhooks = self.control_plane.request("GET", self.configuration)["webhooks"]
        return base64.b64decode(webhooks[0]["clientConfig"].get("caBundle", ""))

    def certificates(self) -> dict[str, bytes]:
        """The content of the Secret."""
        data = self.control_plane.request("GET", self.secret).get("data", {})
        return {key: base64.b64decode(value) for key, value in data.items()}

    def workload_namespace(self) -> str:
        """Create a namespace that the webhook watches, with the account `app`."""
        created = self.control_plane.create_namespace(scope(self.name))
        self.control_plane.create_service_account(created, "app", {names.CLIENT_ID: CLIENT_ID})
        return created

    def is_mutated(self, namespace: str, **spec: Any) -> bool:  # noqa: ANN401  fields of a pod's spec
        """Whether a pod that is created in a dry run gets its identity."""
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        stored = self.control_plane.request("POST", path, pod(**{"serviceAccountName": "app", **spec}))
        variables = stored["spec"]["containers"][0].get("env", [])
        return any(variable["name"] == names.ENV_CLIENT_ID for variable in variables)

    def command(self, *flags: str) -> list[str]:
        """Return the command of a server of this installation."""
        module = [sys.executable, "-m", "webhook.runtime.supervisor"]
        return [*module, f"--webhook-configurations={self.name}", "--drain-period=1s", *flags]

    def environment(self) -> dict[str, str]:
        """Return the environment of a server of this installation."""
        return {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(self.kubeconfig),
            "POD_NAMESPACE": self.name,
            "AZURE_TENANT_ID": TENANT_ID,
        }

    @contextmanager
    def replica(self, *flags: str, wait_for: str = "readyz", **environment: str) -> Iterator[Replica]:
        """Run a server, and have the Service know it until it is stopped."""
        port, health_port, metrics_port = free_ports(3)
        log = self.directory / f"replica-{port}.log"
        command = self.command(
            f"--webhook-port={port}",
            "--webhook-host=127.0.0.1",
            f"--health-addr=127.0.0.1:{health_port}",
            f"--metrics-addr=127.0.0.1:{metrics_port}",
            *flags,
        )
        env = {**self.environment(), **environment}
        endpoint = Endpoint(port, health_port)
        self.service.add(endpoint)
        with running(command, log, cwd=REPOSITORY, env=env) as process:
            replica = Replica(process, endpoint, metrics_port, log)
            try:
                wait_until(lambda: page(health_port, wait_for)[0] == 200, process, log, MAX_WAIT_SECONDS)
                if wait_for == "readyz":
                    wait_until_true(lambda: endpoint in self.service.ready, "it is an endpoint of the Service")
                yield replica
            finally:
                self.service.remove(endpoint)

    def retire(self, replica: Replica, number: int = signal.SIGTERM) -> int:
        """End a replica as the kubelet does: it leaves the Service as it gets the signal; its exit status."""
        self.service.remove(replica.endpoint)
        replica.process.send_signal(number)
        return replica.process.wait(MAX_WAIT_SECONDS)


def page(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """GET from a plain listener; status 0 where nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=MAX_WAIT_SECONDS)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


@contextmanager
def installed(
    control_plane: ControlPlane, directory: Path, mapping: str = "", name: str | None = None
) -> Iterator[Installation]:
    """Create namespace, roles, Service and webhook configuration (with an empty caBundle), and run the Service.

    Unless a name is given, the API server chooses it.
    """
    name = control_plane.create_namespace(name=name)
    mapped = [mapping] if mapping else []
    control_plane.apply(*_roles(name, mapped))
    ports = [{"port": 443, "targetPort": names.WEBHOOK_PORT}]
    created = control_plane.request(
        "POST",
        f"/api/v1/namespaces/{name}/services",
        {"metadata": {"name": names.WEBHOOK_SERVICE}, "spec": {"ports": ports}},
    )
    kubeconfig = control_plane.kubeconfig_for(name, ACCOUNT)
    with service(created["spec"]["clusterIP"]) as forwarding:
        register(control_plane, name)
        yield Installation(control_plane, name, kubeconfig, forwarding, directory)
    control_plane.kubectl("delete", "mutatingwebhookconfiguration", name)


def register(control_plane: ControlPlane, name: str, **webhook: Any) -> None:  # noqa: ANN401  manifest fields
    """Create the webhook configuration of an installation."""
    control_plane.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [
                {
                    "name": "mutation.azure-workload-identity.io",
                    "clientConfig": {
                        "service": {"name": names.WEBHOOK_SERVICE, "namespace": name, "path": names.MUTATE_PATH}
                    },
                    "namespaceSelector": {"matchLabels": scope(name)},
                    "objectSelector": {"matchLabels": USE},
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
    )


def _roles(namespace: str, config_maps: list[str]) -> list[JsonObject]:
    """The roles of docs/install: nothing here is wider than what the chart renders."""
    reading = ["get", "list", "watch"]
    webhooks = {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"]}
    cluster_rules = [
        _rule("serviceaccounts", reading),
        {**webhooks, "resourceNames": [namespace], "verbs": [*reading, "patch"]},
    ]
    rules = [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [names.CERT_SECRET],
            "verbs": [*reading, "update"],
        },
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
        *(
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": reading}
            for name in config_maps
        ),
    ]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace}}
    return [account, *_granted("Cluster", namespace, cluster_rules), *_granted("", namespace, rules)]


def _rule(resource: str, verbs: list[str], resource_names: list[str] | None = None) -> JsonObject:
    named = {"resourceNames": resource_names} if resource_names else {}
    return {"apiGroups": [""], "resources": [resource], **named, "verbs": verbs}


def _granted(kind: str, namespace: str, rules: list[JsonObject]) -> list[JsonObject]:
    group = "rbac.authorization.k8s.io"
    metadata = {"name": f"{ACCOUNT}-{namespace}", **({} if kind else {"namespace": namespace})}
    return [
        {"apiVersion": f"{group}/v1", "kind": f"{kind}Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": f"{kind}RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": f"{kind}Role", "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
        },
    ]
