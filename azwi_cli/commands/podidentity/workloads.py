"""The workloads of a cluster whose pods carry aad-pod-identity's label, running or not, by their topmost owners."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster.kube import ApiError, Cluster, path
from azwi_cli.commands.podidentity import bindings
from azwi_cli.offline.owners import KINDS, UnknownOwner, is_finished, pod_labels, topmost

_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class LabelledWorkload:
    """A workload that nothing owns: the live object, its pods' labels, and the value of POD_LABEL among them.

    `of_template`: whether its template has that label, or only its pods.
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


@dataclass(frozen=True, slots=True)
class PodIdentityResources:
    """What was read of a cluster."""

    identities: Sequence[JsonObject] = ()
    bindings: Sequence[JsonObject] = ()
    exceptions: Sequence[JsonObject] = ()
    workloads: Sequence[JsonObject] = ()
    pods: Sequence[JsonObject] = ()
    accounts: Sequence[JsonObject] = ()


def read(cluster: Cluster, namespace: str) -> PodIdentityResources:
    """Read a namespace, or all where `namespace` is empty; bindings are read of all, since they reach across.

    Raises:
        CommandError: when something cannot be read.
    """
    return PodIdentityResources(
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


def find(
    workloads: Iterable[JsonObject], pods: Iterable[JsonObject]
) -> tuple[list[LabelledWorkload], list[UnknownOwner]]:
    """The topmost workloads with the label in their template or on their pods, and the owners not understood."""
    by_uid = {manifest["metadata"]["uid"]: manifest for manifest in workloads}
    found: dict[str, LabelledWorkload] = {}
    unknown_owners: set[UnknownOwner] = set()
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in _FINISHED]
    for manifest in (*by_uid.values(), *running):
        labels = pod_labels(manifest)
        if bindings.POD_LABEL not in labels:
            continue
        top, unknown_owner = topmost(manifest, by_uid)
        if unknown_owner is not None:
            unknown_owners.add(unknown_owner)
        elif is_finished(top):
            continue
        elif (of_template := pod_labels(top)).get(bindings.POD_LABEL):
            found[top["metadata"]["uid"]] = LabelledWorkload(top, of_template, of_template[bindings.POD_LABEL])
        elif manifest["kind"] == "Pod" and names.USE_LABEL not in of_template:
            # Something else put the label there, such as a policy; a workload migrated already has old pods, too.
            merged = {**of_template, **labels}
            found.setdefault(
                top["metadata"]["uid"],
                LabelledWorkload(top, merged, labels[bindings.POD_LABEL], of_template=False),
            )
    return sorted(found.values(), key=_order), sorted(unknown_owners)


def _order(workload: LabelledWorkload) -> tuple[str, str, str]:
    return workload.namespace, workload.kind, workload.name
