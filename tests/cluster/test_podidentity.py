"""`azwi podidentity detect` against a real API server with aad-pod-identity's resources."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.podidentity.bindings import API_VERSION, POD_LABEL
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.server import Server, scope
from tests.azwi_cli.commands.podidentity.objects import CLIENT, binding, exception, identity, pod_template
from tests.azwi_cli.test_main import azwi

KINDS = ("AzureIdentity", "AzureIdentityBinding", "AzurePodIdentityException")
PLURALS = {"AzureIdentity": "azureidentities"}


def definition(kind: str) -> JsonObject:
    """Write a CustomResourceDefinition that takes any spec."""
    group, _, version = API_VERSION.partition("/")
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # What the API server asks of CRDs below k8s.io; aad-pod-identity never had that approval.
        "metadata": {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved"}},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


@pytest.fixture(scope="module")
def shop(control_plane: ControlPlane, webhook: Server) -> Iterator[str]:  # noqa: ARG001  it mutates what is made
    """Install the kinds, and fill a namespace that the webhook watches with all that used aad-pod-identity."""
    namespace = control_plane.create_namespace(scope("main"))
    assert detected(control_plane).exit_code == 0, "without the kinds there is nothing to migrate"
    control_plane.apply(*map(definition, KINDS))
    control_plane.wait_until_served(
        *(f"{PLURALS.get(kind, kind.lower() + 's')}.aadpodidentity.k8s.io" for kind in KINDS)
    )
    control_plane.apply(
        identity(namespace=namespace),
        binding(namespace=namespace),
        exception({"app": "exempt"}, namespace),
        apps("Deployment", "idle", namespace, replicas=0),
        apps("Deployment", "exempt", namespace),
        batch("CronJob", "nightly", namespace),
        batch("Job", "once", namespace),
    )
    web = apps("Deployment", "web", namespace, replicas=2)
    assert control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(web)).returncode == 0
    for name in ("rolling", "adopted"):
        replicas = apps("ReplicaSet", name, namespace)
        owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "roll", "uid": "r"}
        replicas["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
        control_plane.apply(replicas)
    yield namespace
    for kind in KINDS:
        plural = PLURALS.get(kind, f"{kind.lower()}s")
        control_plane.kubectl("delete", "crd", f"{plural}.aadpodidentity.k8s.io", "--wait=false")


def apps(kind: str, name: str, namespace: str, replicas: int = 1) -> JsonObject:
    """Write a workload of group apps."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": pod_template(name),
        },
    }


def batch(kind: str, name: str, namespace: str) -> JsonObject:
    """Write a workload of group batch."""
    job = {"template": pod_template(name, restartPolicy="Never")}
    spec = {"schedule": "0 0 * * *", "jobTemplate": {"spec": job}} if kind == "CronJob" else job
    return {
        "apiVersion": "batch/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def detected(control_plane: ControlPlane, *arguments: str) -> Result:
    """Run the command as the administrator."""
    return azwi("pi", "detect", "--kubeconfig", str(control_plane.kubeconfig), *arguments)


def parsed(result: Result) -> Any:  # noqa: ANN401  JSON
    """Parse the JSON output."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_found(control_plane: ControlPlane, shop: str) -> None:
    """All that uses pod identity is found, running or not; the rest is left out with the reason."""
    found = parsed(detected(control_plane, "--output", "json"))
    mine = [migration for migration in found["migrations"] if migration["namespace"] == shop]
    assert [(item["kind"], item["name"]) for item in mine] == [
        ("CronJob", "nightly"),
        ("Deployment", "idle"),
        ("Deployment", "web"),
        ("Job", "once"),
    ]
    assert {item["clientID"] for item in mine} == {CLIENT}
    assert [(item["kind"], item["name"]) for item in found["skipped"]] == [
        ("Deployment", "exempt"),
        ("Rollout", "roll"),
    ]


def test_another_namespace(control_plane: ControlPlane, shop: str, plain_namespace: str) -> None:  # noqa: ARG001  the kinds are there
    """A namespace without uses is reported as such."""
    done = detected(control_plane, "--namespace", plain_namespace)
    assert done.exit_code == 0
    assert done.stdout.startswith("Nothing here uses aad-pod-identity")


def test_next_steps(control_plane: ControlPlane, shop: str, tmp_path: Path) -> None:
    """The text output lists what was written and what to do next, for each ServiceAccount."""
    done = detected(control_plane, "-n", shop, "-o", str(tmp_path))
    assert f"4 files are in {tmp_path}" in done.stdout
    assert f"--service-account-namespace {shop} --service-account-name nightly" in done.stdout
    assert f"kubectl apply -f {tmp_path}" in done.stdout


def test_files_are_whole(control_plane: ControlPlane, shop: str, tmp_path: Path) -> None:
    """Every file has a ServiceAccount and its workload, without anything that the cluster wrote."""
    detected(control_plane, "-n", shop, "-o", str(tmp_path))
    for file in tmp_path.iterdir():
        account, workload = yaml.safe_load_all(file.read_text())
        assert account["kind"] == "ServiceAccount"
        assert file.name == f"{shop}.{workload['kind'].lower()}.{workload['metadata']['name']}.yaml"
        assert not {"uid", "resourceVersion", "managedFields", "creationTimestamp"} & workload["metadata"].keys()
        assert "status" not in workload


def test_files_can_be_applied(control_plane: ControlPlane, shop: str, tmp_path: Path) -> None:
    """Applied as they are, the files opt the pods in, and the webhook gives such pods identity and proxy."""
    detected(control_plane, "-n", shop, "-o", str(tmp_path), "--proxy-port", "8081")
    job = tmp_path / f"{shop}.job.once.yaml"
    changed = control_plane.kubectl("replace", "--force", "--wait=false", "-f", str(job))
    assert "job.batch/once replaced" in changed.stdout, changed.stderr
    applied = control_plane.kubectl("apply", "-f", str(tmp_path))
    assert applied.returncode == 0, applied.stderr

    template = control_plane.request("GET", f"/apis/apps/v1/namespaces/{shop}/deployments/idle")["spec"]["template"]
    assert template["metadata"]["labels"][names.USE_LABEL] == "true"
    assert template["spec"]["serviceAccountName"] == "idle"
    account = control_plane.request("GET", f"/api/v1/namespaces/{shop}/serviceaccounts/idle")
    assert account["metadata"]["annotations"][names.CLIENT_ID] == CLIENT

    pod = {**template, "apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": "idle-1"}}
    stored = control_plane.create_pod(shop, pod)
    [proxy] = [
        container for container in stored["spec"]["initContainers"] if container["name"] == names.PROXY_CONTAINER
    ]
    assert proxy["ports"][0]["containerPort"] == 8081
    variables = {entry["name"]: entry.get("value") for entry in stored["spec"]["containers"][0]["env"]}
    assert variables["AZURE_CLIENT_ID"] == CLIENT

    again = parsed(detected(control_plane, "-n", shop, "--output", "json"))
    assert again["migrations"] == []
    web = control_plane.request("GET", f"/apis/apps/v1/namespaces/{shop}/deployments/web")
    assert POD_LABEL not in web["spec"]["template"]["metadata"]["labels"], "kubectl applied it, so it takes it off"
