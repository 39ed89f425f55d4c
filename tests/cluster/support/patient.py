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
from testbed.processes import MAX_WAIT_SECONDS, until
from tests.support.schemas import follows_schema

EXIT = {"ok": 0, "problems": 1, "unknown": 3}
# Names the file that gets a row for each finding whose fix was tried: `make doctor-setups`.
ROWS = "DOCTOR_ROWS"


@dataclass
class Patient:
    """A cluster with the webhook, a namespace that it watches, and who looks at it."""

    plane: ControlPlane
    namespace: str
    directory: Path
    flags: list[str] = field(default_factory=list)
    _seen: list[JsonObject] = field(default_factory=list)
    _ran: bool = False

    def doctor(self, *words: str, kubeconfig: Path | None = None) -> Result:
        """Run the doctor for the namespace."""
        cluster = ["--kubeconfig", str(kubeconfig or self.plane.kubeconfig), "-n", self.namespace]
        return CliRunner().invoke(program, ["doctor", *cluster, *self.flags, *words])

    def examined(self, *words: str) -> JsonObject:
        """Return the JSON document, whose outcome the exit status agrees with."""
        done = self.doctor("-o", "json", *words)
        assert done.stdout, done.output
        document: JsonObject = follows_schema("doctor", done.stdout)
        assert done.exit_code == EXIT[document["outcome"]], done.output
        errors = [finding for finding in document["findings"] if finding["severity"] == "error"]
        assert (document["outcome"] == "problems") is bool(errors)
        self._record(document["findings"])
        return document

    def found(self, code: str, *words: str) -> list[JsonObject]:
        """Return the findings of a code."""
        return [finding for finding in self.examined(*words)["findings"] if finding["code"] == code]

    def one(self, code: str, subject: str = "", *words: str) -> JsonObject:
        """Return the only finding of a code, as soon as the API server acts as what was written last says."""
        found = until(lambda: self._of(code, subject, *words))
        assert len(found) == 1, found
        finding = found[0]
        assert finding["evidence"]
        self._seen.append(finding)
        return finding

    def wait_until_gone(self, code: str, subject: str = "", *words: str) -> None:
        """Wait until there is no such finding: the API server acts as a command's change says a moment later."""
        until(lambda: self._of(code, subject, *words) == [])

    def _of(self, code: str, subject: str, *words: str) -> list[JsonObject]:
        return [finding for finding in self.found(code, *words) if subject in finding["subject"]]

    def run(self, command: str) -> str:
        """Run a printed command as a person would paste it."""
        path = f"{self.directory}:{self.plane.programs.kubectl.parent}:{Path(sys.executable).parent}"
        env = {**os.environ, "PATH": f"{path}:/usr/bin:/bin", "HOME": str(self.directory)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.directory, env=env, capture_output=True, text=True, check=False, timeout=MAX_WAIT_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        self._ran = True
        assert not (self.directory / "pwned").exists()
        return done.stdout

    def cannot_run(self, finding: JsonObject, why: str) -> None:
        """The finding's fix cannot be run in a test; the test does what it would do. `why` is for the table."""
        finding["cannotRun"] = why
        self._ran = True

    def _record(self, findings: list[JsonObject]) -> None:
        """Once a fix has run and its finding is gone, add a row to the table of set-ups (ROWS), if one is wanted."""
        if not self._ran:
            return
        left = {(finding["code"], finding["subject"]) for finding in findings}
        gone = [finding for finding in self._seen if (finding["code"], finding["subject"]) not in left]
        self._seen = [finding for finding in self._seen if finding not in gone]
        if file := os.environ.get(ROWS):
            setup = os.environ["PYTEST_CURRENT_TEST"].rpartition(" (")[0].rpartition("::")[2]
            kubeconfig = f" --kubeconfig={self.plane.kubeconfig}"
            with Path(file).open("a") as rows:
                for finding in gone:
                    fix = finding["fix"].replace(kubeconfig, "").replace(self.namespace, "shop")
                    row = {"setup": setup, "code": finding["code"], "fix": fix}
                    rows.write(json.dumps({**row, "cannotRun": finding.get("cannotRun", "")}) + "\n")

    def fixed(self, code: str, subject: str = "", *words: str) -> JsonObject:
        """Find it, run its command, and find it no more."""
        finding = self.one(code, subject, *words)
        self.run(finding["fix"])
        self.wait_until_gone(code, subject, *words)
        return finding

    def apply(self, *manifests: JsonObject) -> None:
        """Create objects in the namespace."""
        self.plane.apply(
            *({**item, "metadata": {"namespace": self.namespace, **item["metadata"]}} for item in manifests)
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
