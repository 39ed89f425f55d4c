"""The chart under GKE's limit on critical pods, Pod Security everywhere, OpenShift's rules, and kustomize."""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest
import yaml

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.options import AZURE_VARIABLES
from testbed.cluster.control_plane import ControlPlane, Programs
from testbed.cluster.control_plane import control_plane as running_control_plane
from testbed.cluster.manifests import CLIENT_ID, environment
from testbed.cluster.server import TENANT_ID, scope, wait_until_true
from testbed.processes import free_ports, running
from testbed.program import ROOT
from tests.azwi_cli.test_main import azwi
from tests.chart.helm import CHART, objects, only
from tests.chart.test_docs import blocks
from tests.chart.test_left_out import GIT, former_commits
from tests.cluster.support.patient import Patient
from tests.cluster.support.release import FULLNAME, Release, released

# What GKE's API servers are started with, and Pod Security `restricted` for every namespace.
ADMISSION: Final = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "ResourceQuota",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "ResourceQuotaConfiguration",
                "limitedResources": [
                    {
                        "resource": "pods",
                        "matchScopes": [
                            {
                                "scopeName": "PriorityClass",
                                "operator": "In",
                                "values": ["system-node-critical", "system-cluster-critical"],
                            }
                        ],
                    }
                ],
            },
        },
        {
            "name": "PodSecurity",
            "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1",
                "kind": "PodSecurityConfiguration",
                "defaults": {"enforce": "restricted", "warn": "restricted"},
            },
        },
    ],
}
GITOPS: Final = ROOT / "docs" / "install" / "gitops.md"
OPENSHIFT: Final = yaml.safe_load((CHART / "ci" / "34-openshift-values.yaml").read_text())
# What OpenShift's restricted-v2 says of users and groups, for namespaces that are labelled so.
RESTRICTED_V2: Final = [
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "restricted-v2"},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"scc": "restricted-v2"}},
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                ],
            },
            "variables": [
                {
                    "name": "containers",
                    "expression": "object.spec.containers + object.spec.?initContainers.orValue([])",
                }
            ],
            "validations": [
                {
                    "expression": "!has(object.spec.securityContext) || !(has(object.spec.securityContext.runAsUser)"
                    " || has(object.spec.securityContext.fsGroup))",
                    "message": "the pod names a user or group outside the namespace's range",
                },
                {
                    "expression": "variables.containers.all(c, !has(c.securityContext) || "
                    "!has(c.securityContext.runAsUser))",
                    "message": "a container names a user outside the namespace's range",
                },
            ],
        },
    },
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "restricted-v2"},
        "spec": {"policyName": "restricted-v2", "validationActions": ["Deny"]},
    },
]
CONTROLLERS: Final = ("deployment-controller", "replicaset-controller", "resourcequota-controller")
RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# As before Kubernetes 1.36, where that is off by default.
_MUTATING: Final = "admissionregistration.k8s.io/v1/mutatingadmission"
WITHOUT_POLICIES: Final = (
    f"--runtime-config={_MUTATING}policies=false,{_MUTATING}policybindings=false",
    "--disable-admission-plugins=MutatingAdmissionPolicy",
)


@pytest.fixture(scope="module")
def strict(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run an API server with GKE's limit, Pod Security `restricted` everywhere and no MutatingAdmissionPolicy.

    Deployment controllers run, too.
    """
    manager = programs.kube_apiserver.with_name("kube-controller-manager")
    if not manager.exists():
        pytest.skip(f"no {manager}: run make node-tools")
    directory = tmp_path_factory.mktemp("strict")
    with running_control_plane(programs, directory, ADMISSION, WITHOUT_POLICIES) as cluster:
        cluster.apply(*RESTRICTED_V2)
        command = [
            str(manager),
            f"--kubeconfig={cluster.kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_ports(1)[0]}",
        ]
        with running(command, directory / "kube-controller-manager.log"):
            yield cluster


@pytest.fixture(scope="module")
def release(strict: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Install the chart with a tenant and nothing else."""
    with released(strict, tmp_path_factory.mktemp("release")) as installed:
        yield installed


def server_pod(release: Release) -> JsonObject:
    """Return the pod that the Deployment's ReplicaSet would create."""
    template = release.get("deployment")["spec"]["template"]
    metadata = {**template["metadata"], "generateName": f"{FULLNAME}-"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def workload(**annotations: str) -> JsonObject:
    """Return a pod that opts in and meets Pod Security `restricted`."""
    metadata = {"name": "app", "labels": {names.USE_LABEL: "true"}, "annotations": annotations}
    container = {"name": "app", "image": "registry.example/app:1", "securityContext": RESTRICTED}
    spec = {"serviceAccountName": "app", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def created_pods(release: Release) -> list[JsonObject]:
    """Return the pods that the Deployment's ReplicaSet has created."""
    found = release.control_plane.request("GET", f"/api/v1/namespaces/{release.namespace}/pods")
    return list(found["items"])


def names_of(release: Release) -> set[str]:
    """Return the names of those pods."""
    return {pod["metadata"]["name"] for pod in created_pods(release)}


def test_critical_pods_are_limited(release: Release) -> None:
    """Where critical pods need a quota the default installation brings it, and its pods are created."""
    elsewhere = release.control_plane.create_namespace()
    release.control_plane.create_service_account(elsewhere, FULLNAME)
    refused = release.control_plane.create(elsewhere, server_pod(release))
    assert "insufficient quota to match these scopes" in refused.stderr

    wait_until_true(lambda: len(created_pods(release)) == 2, "the ReplicaSet creates its pods")
    assert {pod["spec"]["priorityClassName"] for pod in created_pods(release)} == {"system-cluster-critical"}


def test_restricted_everywhere(release: Release) -> None:
    """Under Pod Security `restricted` everywhere pods get identity and proxy, and the test pod is admitted."""
    namespace = release.workload_namespace()
    with release.replicas():
        asked = {names.INJECT_PROXY: "true", names.PROXY_MODE: "environment"}
        stored = release.control_plane.create(namespace, workload(**asked))
        hook = only(objects(release.helm("get", "hooks", release.name).stdout), "Pod")
        test_pod = {**hook, "metadata": {"name": "test"}, "spec": {**hook["spec"], "serviceAccountName": "app"}}
        tested = release.control_plane.create(namespace, test_pod)
    assert (stored.returncode, stored.stderr) == (0, "")
    spec = json.loads(stored.stdout)["spec"]
    assert environment(spec["containers"][0])[names.ENV_CLIENT_ID] == CLIENT_ID
    assert [container["name"] for container in spec["initContainers"]] == [names.PROXY_CONTAINER]
    assert tested.returncode == 0, tested.stderr


def test_openshift(strict: ControlPlane, tmp_path: Path) -> None:
    """With the OpenShift values no pod names a user or group that restricted-v2 would have to assign."""
    values = {key: value for key, value in OPENSHIFT.items() if key != "azureTenantID"}
    with released(strict, tmp_path, **values) as release:
        strict.kubectl("label", "namespace", release.namespace, "scc=restricted-v2")
        namespace = release.workload_namespace({"scc": "restricted-v2"})
        asked = {names.INJECT_PROXY: "true", names.PROXY_MODE: "environment"}
        with release.replicas():
            wait_until_true(lambda: len(created_pods(release)) == 2, "the ReplicaSet creates its pods")
            stored = strict.create(namespace, workload(**asked))
            redirected = strict.create(namespace, workload(**{names.INJECT_PROXY: "true"}))
    assert stored.returncode == 0, stored.stderr
    assert len(json.loads(stored.stdout)["spec"]["initContainers"]) == 1
    assert "violates PodSecurity" in redirected.stderr


def test_default_values_name_users(strict: ControlPlane, release: Release) -> None:
    """Without the OpenShift values restricted-v2 refuses the server's pod: the test above would notice."""
    namespace = strict.create_namespace({"scc": "restricted-v2"})
    strict.create_service_account(namespace, FULLNAME)
    wait_until_true(
        lambda: "outside the namespace's range" in strict.create(namespace, server_pod(release)).stderr,
        "the policy that stands for restricted-v2 applies",
    )


@pytest.fixture
def customized(strict: ControlPlane, tmp_path: Path) -> Release:
    """Apply what the page's kustomization makes of the rendered chart: it moves it to another namespace."""
    before, after = strict.create_namespace(), strict.create_namespace()
    release = Release(strict, after, tmp_path)
    values = {
        "optIn": ["pod-label", "namespace-label", "service-account"],
        "mutatingWebhookNamespaceSelector": {"matchLabels": scope(after)},
    }
    (tmp_path / "values.json").write_text(json.dumps(values))
    arguments = ["template", "azwi", str(CHART), f"--namespace={before}", f"--values={tmp_path / 'values.json'}"]
    rendered = release.helm(*arguments, "--no-hooks", "--set=azureTenantID=contoso.com").stdout
    (tmp_path / "rendered.yaml").write_text(rendered)
    (text,) = [block for block in blocks(GITOPS, "yaml") if "kind: Kustomization" in block]
    (tmp_path / "kustomization.yaml").write_text(text.replace("platform-identity", after))
    strict.apply(*objects(strict.kubectl("kustomize", str(tmp_path)).stdout))
    strict.kubectl("label", "namespace", after, *(f"{key}={value}" for key, value in scope(after).items()))
    return release


def test_kustomize(customized: Release) -> None:
    """A server that kustomize moved starts though no server answers yet, and then serves in its new namespace."""
    cluster = customized.control_plane
    other = {**workload(), "metadata": {"name": "other"}}
    other["spec"]["serviceAccountName"] = FULLNAME

    def webhook_is_called() -> bool:
        return "failed calling webhook" in cluster.create(customized.namespace, other).stderr

    wait_until_true(webhook_is_called, "the webhook is called for other pods in the server's namespace")
    before = names_of(customized)
    cluster.kubectl("delete", "pods", "--all", f"--namespace={customized.namespace}", "--wait=false")
    wait_until_true(lambda: len(names_of(customized) - before) == 2, "pods are created while no server answers")

    namespace = customized.workload_namespace()
    with customized.replicas():
        stored = cluster.create_pod(namespace, workload())
    assert environment(stored["spec"]["containers"][0])[names.ENV_CLIENT_ID] == CLIENT_ID


def test_reused_values(strict: ControlPlane, tmp_path: Path) -> None:
    """A release of the first chart is upgraded with `--reuse-values` alone, and gets the quota that it lacked."""
    first = former_commits()[-1]
    archive = subprocess.run([*GIT, "archive", first, str(CHART.relative_to(ROOT))], capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path, filter="data")
    release = Release(strict, strict.create_namespace(), tmp_path)
    chart = tmp_path / CHART.relative_to(ROOT)
    installed = release.helm("install", release.name, str(chart), "--values=-", values={"logLevel": "debug"})
    assert installed.returncode == 0, installed.stderr

    upgraded = release.helm("upgrade", release.name, str(CHART), "--reuse-values")

    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    assert "--log-level=debug" in release.get("deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    wait_until_true(lambda: bool(created_pods(release)), "the new ReplicaSet creates a pod")
    release.helm("uninstall", release.name)


def test_policies_not_served(strict: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies on an API server that has no MutatingAdmissionPolicy refuse and warn, and none injects."""
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "no-cli"))
    selected = ("--account-selector", "azwi-doctor=nobody", "--guard", "off", "--failure-policy", "Ignore")
    policies = azwi("policy", "--tenant-id", TENANT_ID, "--name", "unserved", *selected).stdout
    applied = strict.kubectl("apply", "--server-side", "-f", "-", stdin=policies)
    assert 'no matches for kind "MutatingAdmissionPolicy"' in applied.stderr
    try:
        Patient(strict, strict.create_namespace(), tmp_path).fixed("policies-not-served")
    finally:
        for kind in ("validatingadmissionpolicy", "validatingadmissionpolicybinding"):
            strict.kubectl("delete", kind, "--all")
