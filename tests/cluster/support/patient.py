"""A cluster that is ill, and how a test looks at it and cures it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from azure_workload_identity.types import JsonObject
from azwi_cli.main import program
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import USE, pod


@dataclass
class Patient:
    """A cluster with the webhook, a namespace that it watches, and who looks at it."""

    plane: ControlPlane
    namespace: str
    directory: Path
    flags: list[str] = field(default_factory=list)

    def doctor(self, *words: str, kubeconfig: Path | None = None) -> Result:
        """Run the doctor for the namespace."""
        cluster = ["--kubeconfig", str(kubeconfig or self.plane.kubeconfig), "-n", self.namespace]
        return CliRunner().invoke(program, ["doctor", *cluster, *self.flags, *words])

    def examined(self, *words: str) -> JsonObject:
        """Return what machines are told."""
        done = self.doctor("-o", "json", *words)
        assert done.exit_code in (0, 1), done.output
        document: JsonObject = json.loads(done.stdout)
        errors = [each for each in document["findings"] if each["severity"] == "error"]
        assert done.exit_code == bool(errors)
        return document

    def found(self, code: str) -> list[JsonObject]:
        """Return the findings of a code."""
        return [each for each in self.examined()["findings"] if each["code"] == code]

    def one(self, code: str, subject: str = "") -> JsonObject:
        """Return the only finding of a code."""
        findings = self.examined()["findings"]
        mine = [each for each in findings if each["code"] == code and subject in each["subject"]]
        assert len(mine) == 1, findings
        assert mine[0]["evidence"]
        finding: JsonObject = mine[0]
        return finding

    def run(self, command: str) -> str:
        """Run a printed command as a person would paste it."""
        path = f"{self.directory}:{self.plane.programs.kubectl.parent}:{Path(sys.executable).parent}"
        env = {**os.environ, "PATH": f"{path}:/usr/bin:/bin", "HOME": str(self.directory)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.directory, env=env, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert not (self.directory / "pwned").exists()
        return done.stdout

    def mended(self, code: str, subject: str = "") -> JsonObject:
        """Find it, run its command, and find it no more."""
        finding = self.one(code, subject)
        self.run(finding["fix"])
        after = [each for each in self.examined()["findings"] if each["code"] == code and subject in each["subject"]]
        assert after == []
        return finding

    def apply(self, *manifests: JsonObject) -> None:
        """Create objects in the namespace."""
        self.plane.apply(
            *({**each, "metadata": {"namespace": self.namespace, **each["metadata"]}} for each in manifests)
        )

    def get(self, plural: str, name: str, group: str = "api/v1") -> JsonObject:
        """Read an object of the namespace."""
        return self.plane.request("GET", f"/{group}/namespaces/{self.namespace}/{plural}/{name}")


def deployment(
    name: str = "web",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    metadata: JsonObject | None = None,
    **spec: Any,  # noqa: ANN401  fields of a pod's spec
) -> JsonObject:
    """Write a Deployment whose pods use the account `app`, by default opted in."""
    template = pod(labels={"app": name, **(USE if labels is None else labels)}, annotations=annotations, **spec)
    template["spec"].setdefault("serviceAccountName", "app")
    template["metadata"].pop("name")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    }


def account(annotations: Mapping[str, str], labels: Mapping[str, str] | None = None, name: str = "app") -> JsonObject:
    """Write a ServiceAccount."""
    metadata = {"name": name, "annotations": dict(annotations), "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
