"""Users' workloads: their manifests, and helpers that create them and read their logs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import UNTIL_TIMEOUT, Cluster
from testbed.cluster.manifests import USE
from testbed.pods import OTHER_CLIENT_ID as OTHER
from testbed.processes import until
from tests.e2e import look
from tests.e2e.azure import Azure
from tests.image import build
from tests.support import azure_app
from tests.support.azure_app import OTHER_CLIENT_ID, Tokens

RESOURCE: Final = "https://vault.azure.net"
UID: Final = 10001
FILES: Final = "/files"
CONFIGMAP: Final = "files"
PROGRAMS: Final = (Path(azure_app.__file__), Path(look.__file__))
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}
SECURITY: Final[JsonObject] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": UID,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(*command: str, name: str = "app", env: Mapping[str, str] | None = None) -> JsonObject:
    """Write a container that runs one of PROGRAMS as an ordinary user on a read-only root."""
    variables = {
        "SSL_CERT_FILE": f"{FILES}/ca.crt",
        "REQUESTS_CA_BUNDLE": f"{FILES}/ca.crt",
        OTHER_CLIENT_ID: OTHER,
        **(env or {}),
    }
    return {
        "name": name,
        "image": build.NAME,
        "command": ["python3", *command],
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "securityContext": SECURITY,
        "volumeMounts": [{"name": "files", "mountPath": FILES, "readOnly": True}],
    }


def app(*credentials: str, name: str = "app", env: Mapping[str, str] | None = None) -> JsonObject:
    """Write a container that requests a token with each credential in turn; see azure_app.CREDENTIALS."""
    return container(f"{FILES}/azure_app.py", RESOURCE, *credentials, name=name, env=env)


def looker(*flags: str) -> JsonObject:
    """Write a container that prints what was injected into it."""
    return container(f"{FILES}/look.py", *flags)


def template(
    *containers: JsonObject,
    labels: Mapping[str, str] = USE,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,  # noqa: ANN401  fields of a pod's spec
) -> JsonObject:
    """Write metadata and spec of a pod with the account `app`."""
    return {
        "metadata": {"labels": dict(labels), "annotations": dict(annotations or {})},
        "spec": {
            "serviceAccountName": "app",
            "terminationGracePeriodSeconds": 1,
            "containers": list(containers),
            "volumes": [{"name": "files", "configMap": {"name": CONFIGMAP}}],
            **spec,
        },
    }


def named(kind: str, name: str, api_version: str, **fields: Any) -> JsonObject:  # noqa: ANN401  an object's
    """Write an object."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def pod(name: str, *containers: JsonObject, **fields: Any) -> JsonObject:  # noqa: ANN401  those of template
    """Write a pod that runs to its end."""
    made = template(*containers, **{"restartPolicy": "Never", **fields})
    return named("Pod", name, "v1") | made | {"metadata": {**made["metadata"], "name": name}}


def job(name: str, made: JsonObject) -> JsonObject:
    """Write a Job of one pod."""
    made = {**made, "spec": {**made["spec"], "restartPolicy": "Never"}}
    return named("Job", name, "batch/v1", spec={"backoffLimit": 0, "template": made})


@dataclass(frozen=True, slots=True)
class Workloads:
    """A namespace with the annotated account `app`, which Entra trusts."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace; a failure fails the test, with the events of the namespace."""
        done = self.cluster.kubectl(f"--namespace={self.namespace}", *arguments)
        assert done.returncode == 0, f"{done.stderr}{self._events()}"
        return done.stdout

    def _events(self) -> str:
        flags = ("--sort-by=.lastTimestamp", "--output=custom-columns=:.involvedObject.name,:.reason,:.message")
        return self.cluster.kubectl(f"--namespace={self.namespace}", "get", "events", *flags).stdout

    def create(self, manifest: JsonObject) -> str:
        """Create an object, and return its kind and name."""
        done = self.cluster.create(self.namespace, manifest)
        assert done.returncode == 0, done.stderr
        return f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"

    def finish(self, manifest: JsonObject, name: str = "app") -> str:
        """Create a pod or Job, wait until it has succeeded, and return a container's log."""
        made = self.create(manifest)
        done = "condition=Complete" if made.startswith("job/") else "jsonpath={.status.phase}=Succeeded"
        self.kubectl("wait", f"--for={done}", made, UNTIL_TIMEOUT)
        return self.kubectl("logs", made, f"--container={name}")

    def tokens(self, manifest: JsonObject, name: str = "app") -> Tokens:
        """Run an app to its end, and return its tokens."""
        return Tokens(**json.loads(self.finish(manifest, name).splitlines()[-1]))  # before it, warnings

    def roll_out(self, manifest: JsonObject) -> str:
        """Create a controller's object, wait until its pods are ready and return what one wrote."""
        made = self.create(manifest)
        self.kubectl("rollout", "status", made, UNTIL_TIMEOUT)
        return self.logs(made)

    def logs(self, of: str) -> str:
        """Wait until a pod, or a pod of a controller, has written something, and return it.

        A pod without a readiness probe is ready as soon as its container runs.
        """
        return until(lambda: self.kubectl("logs", of))


def files(azure: Azure) -> dict[str, str]:
    """Return the content of FILES: the programs, and the CA of Entra's certificate."""
    return {path.name: path.read_text() for path in PROGRAMS} | {"ca.crt": azure.entra.ca_file.read_text()}


def workloads(cluster: Cluster, azure: Azure, namespace: str) -> Workloads:
    """Put the programs and Entra's CA into a namespace, and have Entra trust its account `app`."""
    azure.trust(namespace)
    made = Workloads(cluster, namespace)
    made.create(named("ConfigMap", CONFIGMAP, "v1", data=files(azure)))
    return made
