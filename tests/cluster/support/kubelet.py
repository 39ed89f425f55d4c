"""Runs a stored pod's containers in a network namespace, as a kubelet does as far as the proxy can see.

Command, arguments, variables, mounts, user, capabilities and the read-only root are those of the stored container.
Two things differ: the image is this machine, where the proxy's program lies elsewhere; and every user may read all
files, for the checkout may lie where only root can look.
"""

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import environment, token_volumes
from testbed.processes import MAX_WAIT_SECONDS, running, wait_until
from testbed.program import ROOT
from tests.support.netns import Namespace
from tests.support.proxied import PROXY

READABLE: Final = "dac_read_search"


@dataclass(frozen=True)
class Kubelet:
    """Runs the containers of one stored pod, whose token volumes are the directories in `volumes`.

    `trust` are variables that make programs trust the test's Entra. A container's own variables take precedence.
    """

    namespace: Namespace
    volumes: Path
    trust: Mapping[str, str]

    def run(self, container: JsonObject, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a container, or another command in it, to its end."""
        return self.namespace.run(*self._command(container, *command), env=self._env(container))

    @contextmanager
    def native_sidecar(self, container: JsonObject, log: Path) -> Iterator[None]:
        """Run a sidecar container, and yield once its startup probe succeeds."""
        probe = container["startupProbe"]["exec"]["command"]
        command = self.namespace.command(*self._command(container))
        with running(command, log, cwd=ROOT, env={"PATH": os.environ["PATH"], **self._env(container)}) as process:
            wait_until(lambda: self.run(container, *probe).returncode == 0, process, log, MAX_WAIT_SECONDS)
            yield

    def _env(self, container: JsonObject) -> dict[str, str]:
        return {**self.trust, **environment(container)}

    def _command(self, container: JsonObject, *command: str) -> list[str]:
        inside = list(command) or [*container["command"], *container.get("args", [])]
        program = [PROXY if word == names.PROXY_PROGRAM else word for word in inside]
        script = " && ".join([*self._mounts(container), f"exec {shlex.join([*_confined(container), *program])}"])
        return ["unshare", "--mount", "sh", "-c", script]

    def _mounts(self, container: JsonObject) -> Iterator[str]:
        yield "mount -t tmpfs none /run"
        yield "mount -t tmpfs none /dev/shm"
        for mount in container.get("volumeMounts", []):
            if mount["name"] in names.VOLUMES:
                volume, path = self.volumes / mount["name"], mount["mountPath"]
                yield f"mkdir -p {path} && mount --bind {volume} {path} && mount -o remount,bind,ro {path}"
        if container.get("securityContext", {}).get("readOnlyRootFilesystem"):
            yield "mount -o remount,ro /run && mount -o remount,bind,ro /"


def _confined(container: JsonObject) -> list[str]:
    context = container.get("securityContext", {})
    added = [capability.lower() for capability in context.get("capabilities", {}).get("add", [])]
    kept = ",".join(["-all", *(f"+{name}" for name in (*added, READABLE))])
    user = context.get("runAsUser", 0)
    flags = [f"--reuid={user}", f"--regid={context.get('runAsGroup', user)}", "--clear-groups", "--no-new-privs"]
    return ["setpriv", *flags, f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"]


def project(control_plane: ControlPlane, stored: JsonObject, directory: Path) -> None:
    """Fill the token volumes: tokens of the TokenRequest API that are bound to the pod, and keys of ConfigMaps."""
    for volume in token_volumes(stored):
        for source in volume["projected"]["sources"]:
            for path, content in _projected(control_plane, stored, source):
                file = directory / volume["name"] / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)


def _projected(control_plane: ControlPlane, stored: JsonObject, source: JsonObject) -> Iterator[tuple[str, str]]:
    metadata = stored["metadata"]
    namespace = f"/api/v1/namespaces/{metadata['namespace']}"
    if "configMap" in source:
        wanted = source["configMap"]
        data = control_plane.request("GET", f"{namespace}/configmaps/{wanted['name']}")["data"]
        yield from ((name["path"], data[name["key"]]) for name in wanted["items"])
        return
    wanted = source["serviceAccountToken"]
    spec = {
        "audiences": [wanted["audience"]],
        "expirationSeconds": wanted["expirationSeconds"],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
    }
    account = f"{namespace}/serviceaccounts/{stored['spec']['serviceAccountName']}"
    yield wanted["path"], control_plane.request("POST", f"{account}/token", {"spec": spec})["status"]["token"]
