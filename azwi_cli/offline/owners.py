"""Which object makes a pod: from a pod, or a workload, up the owner references to the topmost one that is known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.offline.templates import POD_PATHS

# apiVersion → plural of the kinds that make pods.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "apps/v1": ("deployments", "statefulsets", "daemonsets", "replicasets"),
    "batch/v1": ("cronjobs", "jobs"),
    "v1": ("replicationcontrollers",),
}
# Longer chains than Pod, Job, CronJob are no cluster's; a circle is one.
MAX_OWNERS: Final = 10
# What the Job controller writes into a Job, and the API server does not accept from its creator.
JOB_LABELS: Final = frozenset(
    {"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"}
)


@dataclass(frozen=True, slots=True, order=True)
class UnknownOwner:
    """An owner of a kind that is not known here, such as an Argo Rollout."""

    namespace: str
    api_version: str
    kind: str
    name: str


def pod_of(manifest: JsonObject) -> JsonObject:
    """The pod in a workload of a known kind: its metadata and spec."""
    for part in POD_PATHS[manifest["kind"]]:
        manifest = manifest[part]
    return manifest


def pod_labels(manifest: JsonObject) -> Mapping[str, str]:
    """The labels of a workload's pods."""
    return (pod_of(manifest).get("metadata") or {}).get("labels") or {}


def topmost(manifest: JsonObject, by_uid: Mapping[str, JsonObject]) -> tuple[JsonObject, UnknownOwner | None]:
    """The topmost known owner, and what owns that one where it is of an unknown kind."""
    for _ in range(MAX_OWNERS):
        owner = next(_controllers(manifest), None)
        if owner is None:
            return manifest, None
        above = by_uid.get(owner["uid"])
        if above is None:
            namespace = manifest["metadata"]["namespace"]
            return manifest, UnknownOwner(namespace, owner["apiVersion"], owner["kind"], owner["name"])
        manifest = above
    metadata = manifest["metadata"]
    return manifest, UnknownOwner(metadata["namespace"], manifest["apiVersion"], manifest["kind"], metadata["name"])


def _controllers(manifest: JsonObject) -> Iterator[JsonObject]:
    return (owner for owner in manifest["metadata"].get("ownerReferences") or () if owner.get("controller"))


def is_finished(manifest: JsonObject) -> bool:
    """Whether it is a Job that will run no more pods."""
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    ended = any(
        condition.get("type") in {"Complete", "Failed"} and condition.get("status") == "True"
        for condition in conditions
    )
    return manifest["kind"] == "Job" and ended
