"""Finds the pod templates in an object of any kind.

Kubernetes' own kinds have theirs in one known place. In any other kind a template is a map with `spec.containers`
below a field whose name has "template" in it, or a whole Pod. The kinds whose controller writes the pod itself are in
azwi_cli.offline.composed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from azure_workload_identity.kube_yaml.manifests import objects
from azure_workload_identity.types import JsonObject
from azwi_cli.console.errors import CommandError
from azwi_cli.offline import composed

# Where Kubernetes' own kinds have their pod.
POD_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), ("spec", "template")
    ),
}
_OWN_GROUPS: Final = frozenset({"", "apps", "batch", "extensions", "autoscaling", "policy"})
_OWN_SUFFIX: Final = ".k8s.io"
_OTHER_PROJECTS: Final = (".x-k8s.io", "sparkoperator.k8s.io")  # groups with that suffix whose kinds may lead to pods

# API groups, and kinds of other groups, whose objects never lead to a pod.
_GROUPS_WITHOUT_PODS: Final = frozenset(
    {
        "aadpodidentity.k8s.io",
        "acme.cert-manager.io",
        "bitnami.com",
        "cert-manager.io",
        "cilium.io",
        "constraints.gatekeeper.sh",
        "crd.projectcalico.org",
        "external-secrets.io",
        "gateway.networking.x-k8s.io",
        "generators.external-secrets.io",
        "karpenter.azure.com",
        "karpenter.sh",
        "kyverno.io",
        "linkerd.io",
        "metallb.io",
        "networking.istio.io",
        "policy.linkerd.io",
        "projectcalico.org",
        "secrets-store.csi.x-k8s.io",
        "security.istio.io",
        "telemetry.istio.io",
        "templates.gatekeeper.sh",
        "traefik.io",
    }
)
_KINDS_WITHOUT_PODS: Final[Mapping[str, frozenset[str]]] = {
    "argoproj.io": frozenset({"AppProject"}),
    "keda.sh": frozenset({"ClusterTriggerAuthentication", "ScaledObject", "TriggerAuthentication"}),
    "kustomize.config.k8s.io": frozenset({"Component", "Kustomization"}),
    "monitoring.coreos.com": frozenset(
        {"AlertmanagerConfig", "PodMonitor", "Probe", "PrometheusRule", "ScrapeConfig", "ServiceMonitor"}
    ),
}
_MAX_NAMED_PART: Final = 63


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """A pod in an object: `pod` has metadata and spec.

    `pointer` is its JSON pointer in the document, None where the controller of that kind puts the pod together.
    `part` tells several pods of one object apart. `assumption` says what that kind's controller is assumed to fill in.
    """

    api_version: str
    kind: str
    name: str
    namespace: str
    pointer: str | None
    pod: JsonObject = field(repr=False)
    part: str = ""
    assumption: str = ""

    def __str__(self) -> str:
        whole = f"{self.kind} {self.namespace}/{self.name or '(no name)'}"
        return f"{whole} ({self.part})" if self.part else whole


@dataclass(frozen=True, slots=True)
class Search:
    """The pod templates of a document, and the objects that may lead to pods but have no template."""

    templates: tuple[PodTemplate, ...]
    unread: tuple[str, ...] = ()


def search(document: JsonObject, namespace: str, ignored_kinds: frozenset[str] = frozenset()) -> Search:
    """Look through a document; `namespace` is for objects that name none, `ignored_kinds` need not be read.

    Raises:
        CommandError: when one of Kubernetes' own kinds has no pod where it should.
    """
    templates: list[PodTemplate] = []
    unread: list[str] = []
    for pointer, manifest in objects(document):
        found = list(pod_templates(manifest, namespace, pointer))
        templates += found
        if not found and may_have_pods(manifest) and manifest.get("kind") not in ignored_kinds:
            unread.append(_named(manifest, namespace))
    return Search(tuple(templates), tuple(unread))


def pod_templates(manifest: JsonObject, namespace: str = "default", pointer: str = "") -> Iterator[PodTemplate]:
    """The pod templates of one object, whose own JSON pointer is `pointer`.

    Raises:
        CommandError: when one of Kubernetes' own kinds has no pod where it should.
    """
    kind, group = _kind(manifest), _group(manifest)
    if group in _OWN_GROUPS and kind in POD_PATHS:
        path = POD_PATHS[kind]
        pod = _at(manifest, path)
        if not isinstance(pod, dict):
            raise CommandError(f"{kind} {_name(manifest)} has no {'.'.join(path)}", "is the manifest whole?")
        yield _template(manifest, namespace, "/".join([pointer, *path]), pod)
        return
    if group in _OWN_GROUPS:
        return
    found = list(_nested(manifest, ()))
    composed_pods = list(composed.pods(kind, manifest)) if not found else []
    several = len(found) + len(composed_pods) > 1
    for path, pod in found:
        named, assumption = composed.with_container_names(group, pod)
        part = _part(path) if several else ""
        yield _template(manifest, namespace, _pointer(pointer, path), named, part, assumption)
    for composed_pod in composed_pods:
        part = composed_pod.part if several else ""
        yield _template(manifest, namespace, None, composed_pod.pod, part, composed_pod.assumption)


def may_have_pods(manifest: JsonObject) -> bool:
    """Whether an object of that kind may lead to pods."""
    kind, group = _kind(manifest), _group(manifest)
    if group in _GROUPS_WITHOUT_PODS or kind in _KINDS_WITHOUT_PODS.get(group, ()):
        return False
    own = group in _OWN_GROUPS or (group.endswith(_OWN_SUFFIX) and not group.endswith(_OTHER_PROJECTS))
    return kind in POD_PATHS if own else True


def _nested(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], JsonObject]]:
    if isinstance(value, dict):
        if path and _is_template(value, path):
            yield path, value
            return
        for key, entry in value.items():
            yield from _nested(entry, (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _nested(entry, (*path, str(index)))


def _is_template(value: JsonObject, path: tuple[str, ...]) -> bool:
    field_name = next((part for part in reversed(path) if not part.isdecimal()), "")
    return isinstance(_at(value, ("spec", "containers")), list) and (
        "template" in field_name.lower() or value.get("kind") == "Pod"
    )


def _template(
    manifest: JsonObject, namespace: str, pointer: str | None, pod: JsonObject, part: str = "", assumption: str = ""
) -> PodTemplate:
    return PodTemplate(
        api_version=str(manifest.get("apiVersion", "")),
        kind=_kind(manifest),
        name=_name(manifest),
        namespace=str(_metadata(manifest).get("namespace") or namespace),
        pointer=pointer,
        pod=pod,
        part=part,
        assumption=assumption,
    )


def _part(path: Sequence[str]) -> str:
    """The fields that tell a template apart: those on its way without the ones that every template has."""
    parts = [part for part in path if part not in {"spec", "template"}]
    return ".".join(parts)[:_MAX_NAMED_PART]


def _pointer(pointer: str, path: Sequence[str]) -> str:
    return "/".join([pointer, *(part.replace("~", "~0").replace("/", "~1") for part in path)])


def _named(manifest: JsonObject, namespace: str) -> str:
    return f"{_kind(manifest)} {_metadata(manifest).get('namespace') or namespace}/{_name(manifest) or '(no name)'}"


def _kind(manifest: JsonObject) -> str:
    return str(manifest.get("kind", ""))


def _group(manifest: JsonObject) -> str:
    return str(manifest.get("apiVersion", "")).rpartition("/")[0]


def _metadata(manifest: JsonObject) -> JsonObject:
    metadata = manifest.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _name(manifest: JsonObject) -> str:
    metadata = _metadata(manifest)
    return str(metadata.get("name") or metadata.get("generateName") or "")


def _at(manifest: object, path: Sequence[str]) -> object:
    for part in path:
        manifest = manifest.get(part) if isinstance(manifest, dict) else None
    return manifest
