"""Pods that run without what they would get now."""

import json
from datetime import timedelta
from typing import Any

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli import clock_skew
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, environment, pod, token_volumes
from testbed.cluster.server import scope
from testbed.processes import until
from tests.cluster.support.patient import Patient, account, deployment

OTHER_CLIENT_ID = "3f1d8a52-2a14-4c1f-8c4f-7a3c5b0b1d11"


@pytest.fixture
def late(patient: Patient, plane: ControlPlane) -> Patient:
    """Return a patient whose namespace is not watched yet."""
    patient.namespace = plane.create_namespace()
    plane.create_service_account(patient.namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    return patient


def watch(patient: Patient) -> None:
    """Have the webhook sent the pods of the namespace from now on."""
    (label,) = scope("main")
    patient.plane.kubectl("label", "namespace", patient.namespace, f"{label}=true")


def owned(patient: Patient, owner: JsonObject, kind: str, name: str, group: str, **spec: Any) -> JsonObject:  # noqa: ANN401  fields
    """Create what a controller would create for an owner."""
    reference = {key: owner[key] for key in ("apiVersion", "kind")}
    reference |= {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True}
    template = owner["spec"]["template"]
    body: JsonObject = {"metadata": {"name": name, "ownerReferences": [reference]}}
    if kind == "pods":
        body["metadata"]["labels"] = template["metadata"]["labels"]
        body["spec"] = template["spec"]
    else:
        body["spec"] = {**spec, "selector": owner["spec"]["selector"], "template": template}
    return patient.plane.request("POST", f"/{group}/namespaces/{patient.namespace}/{kind}", body)


def rolled_out(patient: Patient) -> JsonObject:
    """Create the Deployment `web` with its ReplicaSet and a pod, as the controllers do."""
    patient.apply(deployment())
    web = patient.get("deployments", "web", "apis/apps/v1")
    replicas = owned(patient, web, "replicasets", "web-1", "apis/apps/v1")
    return owned(patient, replicas, "pods", "web-1-a", "api/v1")


def recreated(patient: Patient) -> None:
    """Do what the controllers do once the template has changed."""
    replicas = patient.get("replicasets", "web-1", "apis/apps/v1")
    patient.plane.kubectl("delete", "pod", "-n", patient.namespace, "web-1-a")
    owned(patient, replicas, "pods", "web-1-b", "api/v1")


def test_deployment_older_than_the_webhook(late: Patient) -> None:
    """Pods of a Deployment that were created before the webhook are reported once, and restarted by their owner."""
    rolled_out(late)
    watch(late)
    finding = late.one("pod-not-injected", "Deployment")
    assert "web-1-a" in finding["evidence"][0]
    late.run(finding["fix"])
    template = late.get("deployments", "web", "apis/apps/v1")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    recreated(late)
    assert late.found("pod-not-injected") == []


def test_pod_older_than_the_webhook(late: Patient) -> None:
    """A pod without an owner is created again, and gets its identity."""
    late.plane.create_pod(late.namespace, pod(serviceAccountName="app"))
    watch(late)
    late.fixed("pod-not-injected", "Pod")
    assert token_volumes(late.get("pods", "app"))


def test_job_older_than_the_webhook(late: Patient) -> None:
    """A pod of a Job is deleted, for the Job to create it again."""
    template = deployment(restartPolicy="Never")["spec"]["template"]
    late.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}})
    owned(late, late.get("jobs", "once", "apis/batch/v1"), "pods", "once-a", "api/v1")
    watch(late)
    late.fixed("pod-not-injected", "Job")


def test_job_without_label(patient: Patient) -> None:
    """A Job, whose template cannot be changed, is created again with the label."""
    template = deployment(labels={}, restartPolicy="Never")["spec"]["template"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}
    patient.apply(job)
    patient.fixed("label-missing", "Job")


def injected(patient: Patient) -> str:
    """Return the client id that the webhook gives a new pod."""
    path = f"/api/v1/namespaces/{patient.namespace}/pods?dryRun=All"
    stored = patient.plane.request("POST", path, pod("new", serviceAccountName="app"))
    client_id: str = environment(stored["spec"]["containers"][0])[names.ENV_CLIENT_ID]
    return client_id


def test_changed_client_id(patient: Patient) -> None:
    """A pod with the former client id of its account is created again with the present one."""
    patient.plane.create_pod(patient.namespace, pod(serviceAccountName="app"))
    patient.apply(account({names.CLIENT_ID: OTHER_CLIENT_ID}))
    until(lambda: injected(patient) == OTHER_CLIENT_ID)
    patient.fixed("pod-outdated", "Pod")
    assert environment(patient.get("pods", "app")["spec"]["containers"][0])[names.ENV_CLIENT_ID] == OTHER_CLIENT_ID


def test_owner_of_another_kind(patient: Patient) -> None:
    """Of an owner that only its own controller knows, the command changes the owner, not what that will overwrite."""
    replicas = {**deployment(labels={}), "kind": "ReplicaSet"}
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "roll", "uid": "r", "controller": True}
    replicas["metadata"]["ownerReferences"] = [owner]
    patient.apply(replicas)
    finding = patient.one("label-missing", "Rollout")
    assert " patch rollout.v1alpha1.argoproj.io roll --type=merge " in finding["fix"]


def test_restart(late: Patient) -> None:
    """With --restart owners are restarted after asking; without a terminal to answer on only with --yes."""
    rolled_out(late)
    watch(late)
    refused = late.doctor("--restart")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    dry = late.doctor("--restart", "--dry-run", "-o", "json")
    [request] = json.loads(dry.stdout)["requests"]
    assert (request["method"], request["url"].rpartition("/")[2]) == ("PATCH", "web")
    assert "PATCH /apis/apps/v1/" in late.doctor("--restart", "--dry-run").stdout
    template = late.get("deployments", "web", "apis/apps/v1")["spec"]["template"]
    assert "annotations" not in template["metadata"]
    done = late.doctor("--restart", "--yes", "-o", "json")
    assert f"restarted Deployment {late.namespace}/web" in done.stderr
    assert json.loads(done.stdout)["findings"][0]["code"] == "pod-not-injected"
    template = late.get("deployments", "web", "apis/apps/v1")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]


def test_one_pod(late: Patient) -> None:
    """Of one pod, what owns it is looked at, and of one account, the workloads that use it."""
    rolled_out(late)
    late.apply(deployment("other", labels={}))
    watch(late)
    by_pod = late.examined("--pod", "web-1-a")["findings"]
    assert [finding["code"] for finding in by_pod] == ["pod-not-injected"]
    by_account = late.examined("--service-account", "default")["findings"]
    assert by_account == []


def test_clock(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is ten minutes wrong is reported; set right, it is not."""
    right = clock_skew.now
    monkeypatch.setattr(clock_skew, "now", lambda: right() - timedelta(minutes=10))
    finding = patient.one("clock-skew")
    assert "ahead of" in finding["what"]
    assert "timedatectl set-ntp true" in finding["fix"]
    patient.cannot_run(finding, "it sets the clock of the API server's machine, which is the test's")
    monkeypatch.setattr(clock_skew, "now", right)
    assert patient.found("clock-skew") == []
