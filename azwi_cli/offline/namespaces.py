"""What a namespace has that decides about its pods: among the manifests, then in the cluster if there is one."""

from collections.abc import Sequence
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.kube_yaml.manifests import objects
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.offline.limits import NamespaceLimits

_POD_SECURITY: Final = "pod-security.kubernetes.io/enforce"


class Namespaces:
    """The labels, LimitRanges and ResourceQuotas of namespaces; each is asked of the cluster once."""

    def __init__(self, documents: Sequence[JsonObject], default: str, cluster: Cluster | None) -> None:
        self._cluster = cluster
        self._labels: dict[str, object] = {}
        self._limits: dict[str, NamespaceLimits] = {}
        self._written: dict[tuple[str, str], list[JsonObject]] = {}
        self.unread: dict[str, str] = {}
        for document in documents:
            for _, manifest in objects(document):
                kind, metadata = manifest.get("kind"), manifest.get("metadata")
                if kind == "Namespace" and isinstance(metadata, dict):
                    self._labels[str(metadata.get("name"))] = metadata.get("labels")
                elif kind in {"LimitRange", "ResourceQuota"}:
                    namespace = (metadata.get("namespace") if isinstance(metadata, dict) else None) or default
                    self._written.setdefault((kind, str(namespace)), []).append(manifest)

    def opted_in(self, name: str) -> bool:
        """Whether a namespace has the label that opts its pods in."""
        return self._labels_of(name).get(names.USE_LABEL) == "true"

    def limits(self, name: str) -> NamespaceLimits:
        """The limits of a namespace; where the cluster does not show them, `unread` has the reason."""
        if name not in self._limits:
            self._limits[name] = NamespaceLimits(
                self._find("LimitRange", "limitranges", name),
                self._find("ResourceQuota", "resourcequotas", name),
                str(self._labels_of(name).get(_POD_SECURITY) or ""),
            )
        return self._limits[name]

    def _labels_of(self, name: str) -> JsonObject:
        if name not in self._labels and self._cluster is not None:
            stored = self._cluster.find(kube.path("v1", "namespaces", name=name)) or {"metadata": {}}
            self._labels[name] = stored["metadata"].get("labels")
        labels = self._labels.get(name)
        return labels if isinstance(labels, dict) else {}

    def _find(self, kind: str, plural: str, namespace: str) -> list[JsonObject]:
        found = list(self._written.get((kind, namespace), ()))
        if self._cluster is None:
            return found
        written = {(manifest.get("metadata") or {}).get("name") for manifest in found}
        try:
            stored = list(self._cluster.list(kube.path("v1", plural, namespace)))
        except ApiError as error:
            self.unread[namespace] = f"the {plural} of namespace {namespace} were not looked at: {error.message}"
            return found
        return found + [manifest for manifest in stored if manifest["metadata"]["name"] not in written]
