"""A release of the chart: helm as an admin runs it, and servers as the kubelet starts them from the Deployment."""

import base64
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import Cluster
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from testbed.cluster.server import TENANT_ID, scope
from testbed.processes import MAX_WAIT_SECONDS, running, wait_until
from tests.chart.helm import CHART, nested
from tests.cluster.support.service import Endpoint, Service, service

FULLNAME = "azwi-workload-identity-webhook"

# Of loopback, and not those of another test run on this machine.
_addresses = (f"127.{65 + (os.getpid() >> 8) % 60}.{os.getpid() & 255}.{number}" for number in itertools.count(1))


@dataclass(frozen=True)
class Replica:
    """A server that was started from the Deployment."""

    process: "subprocess.Popen[bytes]"
    endpoint: Endpoint
    log: Path


@dataclass(frozen=True)
class Release:
    """A release: its name and its namespace, which also scopes the namespaces that it watches.

    `program` is the Helm that is run, a field of `Programs`.
    """

    control_plane: Cluster
    namespace: str
    directory: Path
    name: str = "azwi"
    program: str = "helm"

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run helm as the administrator, with values on its standard input."""
        return subprocess.run(
            [str(getattr(self.control_plane.programs, self.program)), f"--namespace={self.namespace}", *arguments],
            input=json.dumps(nested(self._values(values or {}))),
            capture_output=True,
            text=True,
            check=False,
            timeout=MAX_WAIT_SECONDS,
            env={
                "HOME": str(self.control_plane.directory),
                "PATH": os.environ["PATH"],
                "KUBECONFIG": str(self.control_plane.kubeconfig),
            },
        )

    def _values(self, values: Mapping[str, Any]) -> JsonObject:
        only_ours = {"matchLabels": scope(self.namespace)}
        defaults = {"azureTenantID": TENANT_ID, "drainSeconds": 0, "mutatingWebhookNamespaceSelector": only_ours}
        return {**defaults, **values}

    def apply(self, verb: str, *arguments: str, **values: Any) -> str:  # noqa: ANN401  values of the chart
        """Install or upgrade; return what helm printed. Names of values have `__` for a dot."""
        dotted = {key.replace("__", "."): value for key, value in values.items()}
        done = self.helm(verb, self.name, str(CHART), "--values=-", *arguments, values=dotted)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def workload_namespace(self, labels: Mapping[str, str] | None = None) -> str:
        """Create a namespace that the webhook watches, with the annotated account `app`."""
        created = self.control_plane.create_namespace({**scope(self.namespace), **(labels or {})})
        self.control_plane.create_service_account(created, "app", {names.CLIENT_ID: CLIENT_ID})
        return created

    def get(self, kind: str, name: str = FULLNAME) -> JsonObject:
        """Return an object of the release's namespace as it is stored."""
        found = self.control_plane.kubectl("get", kind, name, f"--namespace={self.namespace}", "--output=json")
        assert found.returncode == 0, found.stderr
        manifest: JsonObject = json.loads(found.stdout)
        return manifest

    def configuration(self) -> JsonObject:
        """Return the webhook configuration as it is stored."""
        return self.get("mutatingwebhookconfiguration", self._cluster_wide_name)

    @property
    def _cluster_wide_name(self) -> str:
        return f"azwi-{self.namespace}-{FULLNAME}"

    def bundles(self) -> list[str]:
        """Return the caBundle of every entry."""
        return [webhook["clientConfig"].get("caBundle", "") for webhook in self.configuration()["webhooks"]]

    def is_mutated(self, namespace: str, **fields: Any) -> bool:  # noqa: ANN401  a pod's
        """Whether a pod that is created in a dry run gets its identity."""
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        stored = self.control_plane.request("POST", path, pod(**{"serviceAccountName": "app", **fields}))
        return environment(stored["spec"]["containers"][0]).get(names.ENV_CLIENT_ID) == CLIENT_ID

    def policy_injects(self) -> bool:
        """Whether the API server has applied the policy that injects: beside a webhook, the pods do not show it."""
        sample = "apiserver_mutating_admission_policy_check_duration_seconds_count"
        labels = f'error_type="no_error",policy="{self._cluster_wide_name}-inject",'
        return f"{sample}{{{labels}" in self.control_plane.kubectl("get", "--raw", "/metrics").stdout

    @contextmanager
    def service(self, name: str = FULLNAME) -> Iterator[Service]:
        """Do what kube-proxy does for the release's Service."""
        spec = self.get("service", name)["spec"]
        with service(spec["clusterIP"], spec["ports"][0]["port"]) as forwarding:
            yield forwarding

    @contextmanager
    def replica(self, of: Service, deployment: str = FULLNAME) -> Iterator[Replica]:
        """Run a pod of the Deployment as it is stored now, and wait until it is ready.

        Its command, arguments, variables, ports, Secret and ServiceAccount are those of the Deployment. What makes it a
        process of this machine: an address of its own on loopback, and a kubeconfig where a pod has files.
        """
        spec = self.get("deployment", deployment)["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        host = next(_addresses)
        endpoint = Endpoint(_port(container, "webhook-server"), _port(container, "healthz"), host)
        command = self._command(spec, container, host)
        log = self.directory / f"{self.namespace}-{host}.log"
        with running(command, log, env=self._environment(spec, container)) as process:
            of.add(endpoint)
            try:
                wait_until(lambda: endpoint in of.ready, process, log, MAX_WAIT_SECONDS)
                yield Replica(process, endpoint, log)
            finally:
                of.remove(endpoint)

    def ended(self, deployment: str = FULLNAME) -> "subprocess.CompletedProcess[str]":
        """Run a pod of the Deployment that ends by itself."""
        spec = self.get("deployment", deployment)["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        return subprocess.run(
            self._command(spec, container, next(_addresses)),
            env=self._environment(spec, container), capture_output=True, text=True, check=False,
            timeout=MAX_WAIT_SECONDS,
        )  # fmt: skip

    @contextmanager
    def replicas(self, deployment: str = FULLNAME, service_name: str = FULLNAME) -> Iterator[Service]:
        """Run as many pods as the Deployment says, behind the release's Service."""
        with ExitStack() as stack:
            forwarding = stack.enter_context(self.service(service_name))
            for _ in range(self.get("deployment", deployment)["spec"]["replicas"]):
                stack.enter_context(self.replica(forwarding, deployment))
            yield forwarding

    def _command(self, spec: JsonObject, container: JsonObject, host: str) -> list[str]:
        return [
            *(str(Path(sys.executable).parent / program) for program in container["command"]),
            *self._arguments(spec, container, host),
            f"--webhook-host={host}",
            f"--health-addr={host}:{_port(container, 'healthz')}",
            f"--metrics-addr={host}:{_port(container, 'metrics')}",
        ]

    def _environment(self, spec: JsonObject, container: JsonObject) -> dict[str, str]:
        kubeconfig = self.control_plane.kubeconfig_for(self.namespace, spec["serviceAccountName"])
        fields = {"metadata.namespace": self.namespace}
        given = {
            variable["name"]: variable.get("value") or fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            for variable in container["env"]
        }
        return {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), **given}

    def _arguments(self, spec: JsonObject, container: JsonObject, host: str) -> list[str]:
        """Return the arguments, with the directories of this machine for those that are mounted."""
        secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec.get("volumes", [])}
        arguments = container["args"]
        for mount in container.get("volumeMounts", []):
            directory = self.directory / f"{self.namespace}-{host}-{mount['name']}"
            directory.mkdir()
            for key, value in self.get("secret", secrets[mount["name"]])["data"].items():
                (directory / key).write_bytes(base64.b64decode(value))
            arguments = [argument.replace(mount["mountPath"], str(directory)) for argument in arguments]
        return list(arguments)


def _port(container: JsonObject, name: str) -> int:
    (port,) = [item["containerPort"] for item in container["ports"] if item["name"] == name]
    return int(port)


@contextmanager
def released(control_plane: Cluster, directory: Path, **values: Any) -> Iterator[Release]:  # noqa: ANN401  as in apply
    """Install the chart in a namespace of its own, and uninstall it in the end."""
    release = Release(control_plane, control_plane.create_namespace(), directory)
    release.apply("install", **values)
    try:
        yield release
    finally:
        release.helm("uninstall", release.name)
