"""Which workloads carry aad-pod-identity's label."""

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.podidentity.bindings import POD_LABEL
from azwi_cli.commands.podidentity.workloads import find
from azwi_cli.offline.owners import KINDS, UnknownOwner
from tests.azwi_cli.commands.podidentity.objects import workload


def found(workloads: list[JsonObject], pods: list[JsonObject] | None = None) -> list[tuple[str, str]]:
    """Return kind and name of what is found, where nothing is strange."""
    known, unknown_owners = find(workloads, pods or [])
    assert unknown_owners == []
    return [(workload.kind, workload.name) for workload in known]


@pytest.mark.parametrize(
    "kind",
    ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"],
)
def test_templates(kind: str) -> None:
    """Every kind is found by its template, with no pod running; one without the label is not."""
    assert kind.lower() + "s" in {plural for plurals in KINDS.values() for plural in plurals}
    assert found([workload(kind), workload(kind, "plain", labels={})]) == [(kind, "web")]


def test_owners() -> None:
    """What something known owns is its owner's."""
    deployment = workload()
    replicas = workload("ReplicaSet", "web-1", owner=deployment)
    pod = workload("Pod", "web-1-a", owner=replicas)
    cron = workload("CronJob", "tick")
    job = workload("Job", "tick-1", owner=cron)
    assert found([deployment, replicas, job, cron], [pod]) == [("CronJob", "tick"), ("Deployment", "web")]


def test_pod_of_nobody() -> None:
    """A pod that nothing owns is found, unless it has ended."""
    ended = workload("Pod", "ended")
    ended["status"] = {"phase": "Succeeded"}
    assert found([], [workload("Pod", "alone"), ended]) == [("Pod", "alone")]


def test_ended_job() -> None:
    """A Job that has ended has nothing to migrate."""
    job = workload("Job")
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert found([job]) == []


def test_unknown_owner() -> None:
    """An owner that is not known is reported once, and stops nothing."""
    rollout = {"kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1", "metadata": {"name": "roll", "uid": "r"}}
    replicas = [workload("ReplicaSet", f"roll-{number}", owner=rollout) for number in range(2)]
    pod = workload("Pod", "roll-1-a", owner=replicas[1])
    known, unknown_owners = find([*replicas, workload()], [pod])
    assert [workload.name for workload in known] == ["web"]
    assert unknown_owners == [UnknownOwner("shop", "argoproj.io/v1alpha1", "Rollout", "roll")]


def test_kind_of_another_group() -> None:
    """A Deployment of somebody else's API group is not taken for one."""
    other = {"kind": "Deployment", "apiVersion": "example.com/v1", "metadata": {"name": "web", "uid": "other"}}
    known, unknown_owners = find([workload()], [workload("Pod", owner=other)])
    assert [workload.name for workload in known] == ["web"]
    assert unknown_owners == [UnknownOwner("shop", "example.com/v1", "Deployment", "web")]


def test_label_on_pods_only() -> None:
    """A label that something puts on pods counts, unless their workload has been migrated already."""
    deployment = workload(labels={})
    [labelled], _ = find([deployment], [workload("Pod", "web-a", owner=deployment)])
    assert (labelled.name, labelled.selector, labelled.of_template) == ("web", "shop", False)

    migrated = workload(labels={names.USE_LABEL: "true"})
    assert found([migrated], [workload("Pod", "web-a", owner=migrated)]) == []


def test_empty_label() -> None:
    """An empty label binds nothing."""
    assert found([workload(labels={POD_LABEL: ""})]) == []


def test_circle_of_owners() -> None:
    """Owners that own each other end."""
    one, two = workload("ReplicaSet", "one"), workload("ReplicaSet", "two")
    for manifest, owner in ((one, two), (two, one)):
        reference = {"controller": True, "uid": owner["metadata"]["uid"], "kind": "ReplicaSet", "apiVersion": "apps/v1"}
        manifest["metadata"]["ownerReferences"] = [{**reference, "name": owner["metadata"]["name"]}]
    known, unknown_owners = find([one, two], [])
    assert known == []
    assert {owner.kind for owner in unknown_owners} == {"ReplicaSet"}
