"""A checked view of the raw pod.

The raw maps are never changed, so that unknown fields survive. The fields that admission reads are checked here, once;
later code relies on it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission.reasons import Reason, Refusal, quoted

# A stored container takes at least 60 bytes and etcd takes objects of 1.5 MiB: the API server stores no larger pod.
MAX_CONTAINERS: Final = 30_000
# The API server's limit for all annotations of an object, which it checks after admission.
MAX_ANNOTATIONS_SIZE: Final = 256 * 1024
MAX_NAME: Final = 253
DNS_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)

# Compared with the types of all entries at once: one pass in C.
_ONLY_MAPS: Final[frozenset[type]] = frozenset({dict})
_ONLY_TEXT: Final[frozenset[type]] = frozenset({str})


@dataclass(frozen=True, slots=True)
class Pod:
    """The fields of a pod that admission reads. Lists hold the raw maps; `init_containers` includes native sidecars."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    service_account: str
    host_network: bool
    container_names: frozenset[str]
    spec: JsonObject = field(repr=False)
    containers: list[JsonObject] = field(repr=False)
    init_containers: list[JsonObject] = field(repr=False)
    volumes: list[JsonObject] = field(repr=False)

    @classmethod
    def parse(cls, raw: object) -> "Pod":
        """Read a decoded pod.

        Raises:
            Refusal: with MALFORMED_POD and the path of the field that has a wrong type, with TOO_MANY_CONTAINERS, or
                with ANNOTATIONS_TOO_LARGE.
        """
        if not isinstance(raw, dict):
            raise _malformed("the object", "a pod", raw)
        metadata = _map(raw, "metadata", "")
        spec = raw.get("spec")
        if not isinstance(spec, dict):
            raise _malformed("spec", "a map", spec)
        containers, init_containers = _list(spec, "containers", "spec"), _list(spec, "initContainers", "spec")
        if len(containers) + len(init_containers) > MAX_CONTAINERS:
            raise Refusal(Reason.TOO_MANY_CONTAINERS, f"the pod has more than {MAX_CONTAINERS} containers")
        annotations = _texts(metadata, "annotations")
        if sum(map(len, annotations)) + sum(map(len, annotations.values())) > MAX_ANNOTATIONS_SIZE:
            raise Refusal(
                Reason.ANNOTATIONS_TOO_LARGE, f"the pod's annotations have more than {MAX_ANNOTATIONS_SIZE} bytes"
            )
        _check_names(containers, "containers")
        _check_names(init_containers, "initContainers")
        volumes = _list(spec, "volumes", "spec")
        _check_names(volumes, "volumes")
        return cls(
            name=_text(metadata, "name", "metadata") or _text(metadata, "generateName", "metadata"),
            labels=_texts(metadata, "labels"),
            annotations=annotations,
            service_account=_service_account(spec),
            host_network=_flag(spec, "hostNetwork"),
            container_names=frozenset(container["name"] for container in (*containers, *init_containers)),
            spec=spec,
            containers=containers,
            init_containers=init_containers,
            volumes=volumes,
        )

    @property
    def is_mirror(self) -> bool:
        """Whether a kubelet created the pod to show a static pod."""
        return names.MIRROR_POD in self.annotations

    def all_containers(self) -> Iterator[tuple[str, JsonObject]]:
        """Yield every container with its JSON pointer, init containers first."""
        for key, group in (("initContainers", self.init_containers), ("containers", self.containers)):
            for index, container in enumerate(group):
                yield f"/spec/{key}/{index}", container


def size(parent: JsonObject, key: str) -> int:
    """The length of the list at `key`, 0 where there is none."""
    value = parent.get(key)
    return len(value) if isinstance(value, list) else 0


def maps(parent: JsonObject, key: str, path: str) -> list[JsonObject]:
    """The list of maps at `key`, empty when absent or null.

    Raises:
        Refusal: when it is not a list, or an entry is not a map.
    """
    value = _list(parent, key, path)
    if value and not _ONLY_MAPS.issuperset(map(type, value)):
        wrong = next(entry for entry in value if not isinstance(entry, dict))
        raise _malformed(f"{path}.{key}", "a list of maps", wrong)
    return value


def _list(parent: JsonObject, key: str, path: str) -> list[Any]:
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _malformed(f"{path}.{key}", "a list", value)
    return value


def _check_names(entries: list[Any], key: str) -> None:
    """Refuse a list of the spec with an entry that is not a map with a name."""
    for entry in entries:
        if not isinstance(entry, dict):
            raise _malformed(f"spec.{key}", "a list of maps", entry)
        if not isinstance(entry.get("name"), str):
            raise _malformed(f"the name of an entry of spec.{key}", "a string", entry.get("name"))


def _map(parent: JsonObject, key: str, path: str) -> JsonObject:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _malformed(f"{path}.{key}".lstrip("."), "a map", value)
    return value


def _texts(metadata: JsonObject, key: str) -> Mapping[str, str]:
    values = _map(metadata, key, "metadata")
    if not _ONLY_TEXT.issuperset(map(type, values.values())):
        name, wrong = next((name, value) for name, value in values.items() if not isinstance(value, str))
        raise _malformed(f"metadata.{key}[{quoted(name)}]", "a string", wrong)
    return values


def _text(parent: JsonObject, key: str, path: str) -> str:
    value = parent.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise _malformed(f"{path}.{key}", f"a string of at most {MAX_NAME} characters", value)
    return value


def _flag(spec: JsonObject, key: str) -> bool:
    value = spec.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _malformed(f"spec.{key}", "true or false", value)
    return value


def _service_account(spec: JsonObject) -> str:
    # `serviceAccount` is the deprecated alias; the API server sets both, a manifest may have it alone.
    name = _text(spec, "serviceAccountName", "spec") or _text(spec, "serviceAccount", "spec") or "default"
    if not DNS_SUBDOMAIN.fullmatch(name):
        raise _malformed("spec.serviceAccountName", "a ServiceAccount's name", name)
    return name


def _malformed(path: str, wanted: str, found: object) -> Refusal:
    where = path.lstrip("/").replace("/", ".") if path.startswith("/") else path
    return Refusal(Reason.MALFORMED_POD, f"{where} must be {wanted}, not {_described(found)}")


def _described(value: object) -> str:
    """The kind of a JSON value, and the value where it is short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    return f"the {'string' if isinstance(value, str) else 'number'} {quoted(value)}"
