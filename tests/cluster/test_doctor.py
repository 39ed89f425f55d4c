"""`azwi doctor` against a real API server: one broken cluster a finding, mended by the command that it prints."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from azwi.azure.options import AZURE_VARIABLES
from azwi.main import program
from tests.cluster.control_plane import ControlPlane, Programs
from tests.cluster.control_plane import control_plane as running_control_plane
from tests.cluster.manifests import CLIENT_ID, USE, Manifest, pod
from tests.cluster.server import Server, configuration, install_account, register, scope, serving
from webhook import names

OTHER_CLIENT_ID = "3f1d8a52-2a14-4c1f-8c4f-7a3c5b0b1d11"
HOSTILE = "it's $(touch pwned) `touch pwned`; \"x\"\nnext"
NOBODY = Path("/nonexistent")


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

    def examined(self, *words: str) -> Manifest:
        """Return what machines are told."""
        done = self.doctor("-o", "json", *words)
        assert done.exit_code in (0, 1), done.output
        document: Manifest = json.loads(done.stdout)
        errors = [each for each in document["findings"] if each["severity"] == "error"]
        assert done.exit_code == bool(errors)
        return document

    def found(self, code: str) -> list[Manifest]:
        """Return the findings of a code."""
        return [each for each in self.examined()["findings"] if each["code"] == code]

    def one(self, code: str, subject: str = "") -> Manifest:
        """Return the only finding of a code."""
        findings = self.examined()["findings"]
        mine = [each for each in findings if each["code"] == code and subject in each["subject"]]
        assert len(mine) == 1, findings
        assert mine[0]["evidence"]
        return mine[0]

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

    def mended(self, code: str, subject: str = "") -> Manifest:
        """Find it, run its command, and find it no more."""
        finding = self.one(code, subject)
        self.run(finding["command"])
        after = [each for each in self.examined()["findings"] if each["code"] == code and subject in each["subject"]]
        assert after == []
        return finding

    def apply(self, *manifests: Manifest) -> None:
        """Create objects in the namespace."""
        self.plane.apply(*({**each, "metadata": {"namespace": self.namespace, **each["metadata"]}} for each in manifests))

    def get(self, plural: str, name: str, group: str = "api/v1") -> Manifest:
        """Read an object of the namespace."""
        return self.plane.request("GET", f"/{group}/namespaces/{self.namespace}/{plural}/{name}")


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run a control plane where no other test leaves a webhook."""
    programs: Programs = control_plane.programs
    with running_control_plane(programs, tmp_path_factory.mktemp("doctor")) as running:
        yield running


@pytest.fixture(scope="module")
def server(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the webhook there."""
    with serving(install_account(plane), tmp_path_factory.mktemp("doctor-webhook")) as running:
        register(plane, running, "main")
        yield running


@pytest.fixture
def patient(
    plane: ControlPlane,
    server: Server,  # noqa: ARG001  the webhook must run
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Patient:
    """Return a healthy one: account `app` has an identity."""
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "no-cli"))
    namespace = plane.create_namespace(scope("main"))
    plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    return Patient(plane, namespace, tmp_path)


def deployment(
    name: str = "web",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    metadata: Manifest | None = None,
    **spec: Any,  # noqa: ANN401  fields of a pod's spec
) -> Manifest:
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


def account(annotations: Mapping[str, str], labels: Mapping[str, str] | None = None, name: str = "app") -> Manifest:
    """Write a ServiceAccount."""
    metadata = {"name": name, "annotations": dict(annotations), "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def test_healthy(patient: Patient) -> None:
    """Where all is well nothing is found, and what could not be looked at is told."""
    patient.apply(deployment())
    patient.plane.create_pod(patient.namespace, pod(serviceAccountName="app"))
    document = patient.examined()
    assert document["findings"] == []
    assert [each["what"] for each in document["notLookedAt"]] == ["federated credentials"]
    assert patient.doctor().stdout.endswith("No problem found.\n")


def test_several_webhooks(patient: Patient) -> None:
    """Of two webhooks for the same pods the one that nobody serves is the one to remove."""
    second = configuration("second", "", b"", namespaceSelector={"matchLabels": scope("main")})
    second["webhooks"][0]["clientConfig"] = {"service": {"name": "gone", "namespace": "default", "path": "/"}}
    second["webhooks"][0]["failurePolicy"] = "Ignore"
    patient.plane.apply(second)
    try:
        finding = patient.one("several-webhooks")
        assert finding["severity"] == "warning"
        assert patient.one("service-missing")["subject"] == "MutatingWebhookConfiguration second"
        patient.mended("several-webhooks")
        assert patient.found("service-missing") == []
    finally:
        patient.plane.kubectl("delete", "mutatingwebhookconfiguration", "second", "--ignore-not-found")


def test_service_missing(patient: Patient) -> None:
    """What is left of an installation that went is removed."""
    left = configuration("left-behind", "", b"")
    left["webhooks"][0]["clientConfig"] = {"service": {"name": "gone", "namespace": "default"}}
    patient.plane.apply(left)
    assert patient.mended("service-missing")["severity"] == "error"


def test_namespace_not_watched(patient: Patient, plane: ControlPlane) -> None:
    """A namespace that no webhook is sent pods of is told, and labelled as the webhook wants it."""
    elsewhere = Patient(plane, plane.create_namespace(), patient.directory)
    plane.create_service_account(elsewhere.namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    elsewhere.apply(deployment())
    elsewhere.mended("namespace-not-watched")
    stored = plane.request("GET", f"/api/v1/namespaces/{elsewhere.namespace}")
    assert stored["metadata"]["labels"].items() >= scope("main").items()


def test_several_managers(patient: Patient, server: Server) -> None:
    """A caBundle that several managers own becomes one's."""
    mine = configuration("main", server.url + names.MUTATE_PATH, server.ca_pem)
    for manager in ("argocd", "somebody"):
        text = json.dumps(mine)
        apply = ("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-f", "-")
        assert patient.plane.kubectl(*apply, stdin=text).returncode == 0
    finding = patient.mended("cabundle-contested")
    assert any(each.startswith("argocd (Apply)") for each in finding["evidence"])


# Each breaks the patient by what it applies: code, subject, manifests.
BROKEN: list[tuple[str, str, list[Manifest]]] = [
    ("label-missing", "Deployment", [deployment(labels={})]),
    ("label-missing", "Pod", [{**pod(labels={}, serviceAccountName="app")}]),
    ("label-misplaced", "Deployment", [deployment(labels={}, metadata={"labels": USE})]),
    ("label-misplaced", "Deployment", [deployment(labels={}, annotations=USE)]),
    ("label-misplaced", "Deployment", [account({names.CLIENT_ID: CLIENT_ID}, USE), deployment(labels={})]),
    ("label-not-true", "Deployment", [deployment(labels={names.USE_LABEL: "True"})]),
    ("near-miss", "ServiceAccount", [account({"azure.workload.identity/client_id": CLIENT_ID})]),
    ("near-miss", "Deployment", [deployment(annotations={"azure.workload.identity/skip_containers": HOSTILE})]),
    ("near-miss", "Deployment", [deployment(labels={"azure-workload-identity/use": "true"})]),
    ("wrong-object", "ServiceAccount", [account({}, {names.CLIENT_ID: CLIENT_ID})]),
    ("wrong-object", "ServiceAccount", [account({names.SKIP_CONTAINERS: HOSTILE}), deployment()]),
    ("wrong-object", "Deployment", [deployment(annotations={names.CLIENT_ID: CLIENT_ID})]),
    ("unknown-key", "ServiceAccount", [account({"azure.workload.identity/clinet": "x"})]),
    ("unknown-key", "Deployment", [deployment(annotations={"azure.workload.identity/what": HOSTILE})]),
    ("pod-refused", "Deployment", [deployment(annotations={names.INJECT_PROXY: "true", names.PROXY_PORT: "x"})]),
    (
        "pod-refused",
        "Deployment",
        [account({names.CLIENT_ID: CLIENT_ID, names.TOKEN_EXPIRATION: "5"}), deployment()],
    ),
    ("account-missing", "Deployment", [deployment(serviceAccountName="late")]),
    (
        "token-not-rotated",
        "Deployment",
        [
            deployment(
                containers=[
                    {
                        "name": "app",
                        "image": "app",
                        "volumeMounts": [
                            {
                                "name": "token",
                                "mountPath": "/var/run/secrets/azure/tokens/azure-identity-token",
                                "subPath": "azure-identity-token",
                            }
                        ],
                    }
                ],
                volumes=[
                    {
                        "name": "token",
                        "projected": {
                            "sources": [
                                {
                                    "serviceAccountToken": {
                                        "audience": names.DEFAULT_AUDIENCE,
                                        "expirationSeconds": 3600,
                                        "path": "azure-identity-token",
                                    }
                                }
                            ]
                        },
                    }
                ],
            )
        ],
    ),
    (
        "egress-blocked",
        "NetworkPolicy",
        [
            deployment(),
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "closed"},
                "spec": {
                    "podSelector": {"matchLabels": {"app": "web"}},
                    "policyTypes": ["Egress"],
                    "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
                },
            },
        ],
    ),
]


@pytest.mark.parametrize(("code", "kind", "manifests"), BROKEN, ids=[f"{code}-{kind}" for code, kind, _ in BROKEN])
def test_broken(patient: Patient, code: str, kind: str, manifests: list[Manifest]) -> None:
    """What is written wrongly is found, and gone once the printed command has run."""
    patient.apply(*manifests)
    patient.mended(code, kind)


def test_moved_key_keeps_its_value(patient: Patient) -> None:
    """A misspelt annotation's value is carried over byte for byte, whatever is in it."""
    patient.apply(deployment(annotations={"azure.workload.identity/skip_containers": HOSTILE}))
    patient.mended("near-miss")
    template = patient.get("deployments", "web", "apis/apps/v1")["spec"]["template"]
    assert template["metadata"]["annotations"] == {names.SKIP_CONTAINERS: HOSTILE}


def test_proxy_forbidden(patient: Patient) -> None:
    """A proxy that needs NET_ADMIN in a namespace of level baseline is told, and after its command pods are admitted."""
    patient.apply(deployment(annotations={names.INJECT_PROXY: "true"}))
    level = "pod-security.kubernetes.io/enforce=baseline"
    patient.plane.kubectl("label", "namespace", patient.namespace, level)
    assert "forbidden" in created(patient).stderr
    patient.mended("proxy-forbidden")
    assert created(patient).returncode == 0


def created(patient: Patient) -> "subprocess.CompletedProcess[str]":
    """Create a pod of the Deployment in a dry run."""
    template = patient.get("deployments", "web", "apis/apps/v1")["spec"]["template"]
    manifest = {"apiVersion": "v1", "kind": "Pod", **template}
    manifest["metadata"] = {**manifest["metadata"], "name": "web-1"}
    return patient.plane.kubectl(
        "create", "-n", patient.namespace, "--dry-run=server", "-f", "-", stdin=json.dumps(manifest)
    )
