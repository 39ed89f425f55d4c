"""Kubernetes manifests as people write them: files, directories, stdin; several documents, lists, all workloads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import yaml

from azure_workload_identity.bounded_yaml import LOADER, bounded
from azure_workload_identity.types import JsonObject
from azwi_cli.console.errors import CommandError, one_line

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
STDIN: Final = "-"
# Where each kind has its pod; others may have one, too, where most have it.
POD_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), ("spec", "template")
    ),
}
_USUAL_PATH: Final = ("spec", "template")


# YAML as kubectl reads it: what looks like a date is text.
_Loader: Final = type(
    "_Loader",
    (LOADER,),
    {
        "yaml_implicit_resolvers": {
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in LOADER.yaml_implicit_resolvers.items()
        }
    },
)


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """An object with a pod in it: `pod` has metadata and spec, and is at the JSON pointer `pointer` in its document."""

    api_version: str
    kind: str
    name: str
    namespace: str
    pointer: str
    pod: JsonObject = field(repr=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name or '(no name)'}"


def read(names: Iterable[str]) -> list[JsonObject]:
    """Every document of files, of directories' files, and of stdin (-).

    Raises:
        CommandError: when something cannot be read or is no manifest.
    """
    return [document for name in names for file in _files(name) for document in _documents(file)]


def pod_templates(document: JsonObject, namespace: str) -> Iterator[PodTemplate]:
    """The workloads in a document; `namespace` is for those that name none.

    Raises:
        CommandError: when one has no pod where it should.
    """
    for pointer, manifest in objects(document):
        kind = str(manifest.get("kind", ""))
        path = POD_PATHS.get(kind, _USUAL_PATH)
        pod = _at(manifest, path)
        metadata = manifest.get("metadata")
        named = metadata if isinstance(metadata, dict) else {}
        name = str(named.get("name") or named.get("generateName") or "")
        if isinstance(pod, dict) and (kind in POD_PATHS or isinstance(_at(pod, ("spec", "containers")), list)):
            yield PodTemplate(
                api_version=str(manifest.get("apiVersion", "")),
                kind=kind,
                name=name,
                namespace=str(named.get("namespace") or namespace),
                pointer="/".join([pointer, *path]),
                pod=pod,
            )
        elif kind in POD_PATHS:
            raise CommandError(f"{kind} {name} has no {'.'.join(path)}", "is the manifest whole?")


def objects(document: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """The objects of a document with their JSON pointers: itself, or what a List holds."""
    items = document.get("items")
    if not (str(document.get("kind", "")).endswith("List") and isinstance(items, list)):
        yield "", document
        return
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield from ((f"/items/{index}{pointer}", manifest) for pointer, manifest in objects(item))


def _at(manifest: object, path: Sequence[str]) -> object:
    for part in path:
        manifest = manifest.get(part) if isinstance(manifest, dict) else None
    return manifest


def _files(name: str) -> list[str]:
    path = Path(name)
    if name == STDIN or not path.is_dir():
        return [name]
    found = sorted(str(file) for file in path.iterdir() if file.suffix in SUFFIXES)
    if not found:
        raise CommandError(f"{name} has no manifests", f"they are named *{', *'.join(sorted(SUFFIXES))}")
    return found


def _documents(name: str) -> Iterator[JsonObject]:
    where = "stdin" if name == STDIN else name
    try:
        with click.open_file(name, "rb") as file:
            documents = list(yaml.load_all(bounded(file.read()), Loader=_Loader))
    except OSError as error:
        raise CommandError(f"{where} cannot be read: {error.strerror}", "-f takes a file, a directory or -") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{where} is not YAML: {one_line(error)}") from error
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise CommandError(f"document {number} of {where} is no Kubernetes object", "it should have a kind")
        yield document
