"""The chart under GKE's limit on critical pods, Pod Security everywhere, OpenShift's rules, and kustomize."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import Cluster, ControlPlane, Programs
from testbed.cluster.control_plane import control_plane as running_control_plane
from testbed.cluster.manifests import CLIENT_ID, environment
from testbed.cluster.server import scope, wait_until_true
from testbed.program import ROOT
from tests.chart.helm import CHART, objects, only
from tests.chart.test_docs import blocks
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
RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def strict(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run an API server with GKE's limit and Pod Security `restricted` everywhere."""
    with running_control_plane(programs, tmp_path_factory.mktemp("strict"), ADMISSION) as running:
        running.apply(*RESTRICTED_V2)
        yield running


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


def count_quotas(cluster: Cluster, namespace: str) -> None:
    """Do what the controller manager does for a new ResourceQuota: write what is used into its status."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    for quota in cluster.request("GET", path)["items"]:
        status = {"hard": quota["spec"]["hard"], "used": dict.fromkeys(quota["spec"]["hard"], "0")}
        name = quota["metadata"]["name"]
        cluster.request(
            "PATCH", f"{path}/{name}/status", {"status": status}, content_type="application/merge-patch+json"
        )


def test_critical_pods_are_limited(release: Release) -> None:
    """Where critical pods need a quota the default installation brings it, and its pods are created."""
    elsewhere = release.control_plane.create_namespace()
    release.control_plane.create_service_account(elsewhere, FULLNAME)
    refused = release.control_plane.create(elsewhere, server_pod(release))
    assert "insufficient quota to match these scopes" in refused.stderr

    count_quotas(release.control_plane, release.namespace)
    created = release.control_plane.create(release.namespace, server_pod(release))
    assert (created.returncode, created.stderr) == (0, "")
    assert json.loads(created.stdout)["spec"]["priorityClassName"] == "system-cluster-critical"


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
        count_quotas(strict, release.namespace)
        namespace = release.workload_namespace({"scc": "restricted-v2"})
        asked = {names.INJECT_PROXY: "true", names.PROXY_MODE: "environment"}
        with release.replicas():
            created = strict.create(release.namespace, server_pod(release))
            stored = strict.create(namespace, workload(**asked))
            redirected = strict.create(namespace, workload(**{names.INJECT_PROXY: "true"}))
    assert created.returncode == 0, created.stderr
    assert stored.returncode == 0, stored.stderr
    assert len(json.loads(stored.stdout)["spec"]["initContainers"]) == 1
    assert "violates PodSecurity" in redirected.stderr


def test_default_values_name_users(strict: ControlPlane, release: Release) -> None:
    """Without the OpenShift values restricted-v2 refuses the server's pod: the test above would notice."""
    namespace = strict.create_namespace({"scc": "restricted-v2"})
    strict.create_service_account(namespace, FULLNAME)
    refused = strict.create(namespace, server_pod(release))
    assert "outside the namespace's range" in refused.stderr


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
    count_quotas(strict, after)
    return release


def test_kustomize(customized: Release) -> None:
    """A server that kustomize moved starts though no server answers yet, and then serves in its new namespace."""
    cluster = customized.control_plane
    other = {**workload(), "metadata": {"name": "other"}}
    other["spec"]["serviceAccountName"] = FULLNAME

    def webhook_is_called() -> bool:
        return "failed calling webhook" in cluster.create(customized.namespace, other).stderr

    wait_until_true(webhook_is_called, "the webhook is called for other pods in the server's namespace")
    created = cluster.create(customized.namespace, server_pod(customized))
    assert (created.returncode, created.stderr) == (0, "")

    namespace = customized.workload_namespace()
    with customized.replicas():
        stored = cluster.create_pod(namespace, workload())
    assert environment(stored["spec"]["containers"][0])[names.ENV_CLIENT_ID] == CLIENT_ID
