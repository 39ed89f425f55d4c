"""The workloads of a cluster whose pods carry aad-pod-identity's label, running or not, by their topmost owners."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi.cluster.kube import ApiError, Cluster, path
from azwi.commands.podidentity import bindings
from azwi.offline.manifests import POD_PATHS

# apiVersion → plural: pods apart, since of those only the labelled ones matter.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "apps/v1": ("deployments", "statefulsets", "daemonsets", "replicasets"),
    "batch/v1": ("cronjobs", "jobs"),
    "v1": ("replicationcontrollers",),
}
# Longer chains than Pod, Job, CronJob are no cluster's; a circle is one.
MAX_OWNERS: Final = 10
_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Found:
    """A workload that nothing owns: the live object, its pods' labels, and the value of POD_LABEL among them.

    `of_template` tells whether its template has that label, or only its pods.
    """

    manifest: JsonObject = field(repr=False)
    labels: Mapping[str, str]
    selector: str
    of_template: bool = True

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.manifest["kind"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.manifest["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])


@dataclass(frozen=True, slots=True, order=True)
class Stranger:
    """An owner that is not understood here; its pods carry the label."""

    namespace: str
    api_version: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read of a cluster."""

    identities: Sequence[JsonObject] = ()
    bindings: Sequence[JsonObject] = ()
    exceptions: Sequence[JsonObject] = ()
    workloads: Sequence[JsonObject] = ()
    pods: Sequence[JsonObject] = ()
    accounts: Sequence[JsonObject] = ()


def read(cluster: Cluster, namespace: str) -> Snapshot:
    """Read a namespace, or all where `namespace` is empty; bindings are read of all, since they reach across.

    Raises:
        CommandError: when something cannot be read.
    """
    return Snapshot(
        identities=_custom(cluster, bindings.IDENTITIES),
        bindings=_custom(cluster, bindings.BINDINGS),
        exceptions=_custom(cluster, bindings.EXCEPTIONS),
        workloads=[
            manifest
            for api_version, plurals in KINDS.items()
            for plural in plurals
            for manifest in cluster.list(path(api_version, plural, namespace))
        ],
        pods=list(cluster.list(path("v1", "pods", namespace), labels=bindings.POD_LABEL)),
        accounts=list(cluster.list(path("v1", "serviceaccounts", namespace))),
    )


def _custom(cluster: Cluster, plural: str) -> list[JsonObject]:
    """The custom resources of a kind; none where the kind itself is not there."""
    try:
        return list(cluster.list(path(bindings.API_VERSION, plural)))
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return []
        raise


def find(workloads: Iterable[JsonObject], pods: Iterable[JsonObject]) -> tuple[list[Found], list[Stranger]]:
    """The topmost workloads with the label in their template or on their pods, and the owners not understood."""
    by_uid = {manifest["metadata"]["uid"]: manifest for manifest in workloads}
    found: dict[str, Found] = {}
    strangers: set[Stranger] = set()
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in _FINISHED]
    for manifest in (*by_uid.values(), *running):
        labels = pod_labels(manifest)
        if bindings.POD_LABEL not in labels:
            continue
        topmost, stranger = top(manifest, by_uid)
        if stranger is not None:
            strangers.add(stranger)
        elif is_done(topmost):
            continue
        elif (of_template := pod_labels(topmost)).get(bindings.POD_LABEL):
            found[topmost["metadata"]["uid"]] = Found(topmost, of_template, of_template[bindings.POD_LABEL])
        elif manifest["kind"] == "Pod" and names.USE_LABEL not in of_template:
            # Something else put the label there, such as a policy; a workload migrated already has old pods, too.
            merged = {**of_template, **labels}
            found.setdefault(
                topmost["metadata"]["uid"], Found(topmost, merged, labels[bindings.POD_LABEL], of_template=False)
            )
    return sorted(found.values(), key=_order), sorted(strangers)


def pod_labels(manifest: JsonObject) -> Mapping[str, str]:
    """The labels of a workload's pods."""
    return (pod_of(manifest).get("metadata") or {}).get("labels") or {}


def pod_of(manifest: JsonObject) -> JsonObject:
    """The pod in a workload of a known kind: its metadata and spec."""
    for part in POD_PATHS[manifest["kind"]]:
        manifest = manifest[part]
    return manifest


def top(manifest: JsonObject, by_uid: Mapping[str, JsonObject]) -> tuple[JsonObject, Stranger | None]:
    """The topmost known owner, or the owner that is not known."""
    for _ in range(MAX_OWNERS):
        owner = next(_controllers(manifest), None)
        if owner is None:
            return manifest, None
        above = by_uid.get(owner["uid"])
        if above is None:
            namespace = manifest["metadata"]["namespace"]
            return manifest, Stranger(namespace, owner["apiVersion"], owner["kind"], owner["name"])
        manifest = above
    metadata = manifest["metadata"]
    return manifest, Stranger(metadata["namespace"], manifest["apiVersion"], manifest["kind"], metadata["name"])


def _controllers(manifest: JsonObject) -> Iterator[JsonObject]:
    return (owner for owner in manifest["metadata"].get("ownerReferences") or () if owner.get("controller"))


def is_done(manifest: JsonObject) -> bool:
    """Whether it is a Job that will run nothing any more."""
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    ended = any(each.get("type") in {"Complete", "Failed"} and each.get("status") == "True" for each in conditions)
    return manifest["kind"] == "Job" and ended


def _order(each: Found) -> tuple[str, str, str]:
    return each.namespace, each.kind, each.name
