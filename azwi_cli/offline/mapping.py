"""Reads the identity mapping for commands that decide as the server does: from its file, or from a ConfigMap."""

# ruff: noqa: PLC0415  few installations have an identity mapping

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from azure_workload_identity import names
from azure_workload_identity.kube_yaml import reader
from azure_workload_identity.kube_yaml.manifests import objects
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.console.errors import CommandError, UsageError
from webhook.admission.identity import IdentityMapping

CONFIG_MAP: Final = "ConfigMap"
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class LoadedMapping:
    """The mapping, and one sentence for each invalid entry of a ConfigMap."""

    mapping: IdentityMapping = field(default_factory=IdentityMapping)
    faults: tuple[str, ...] = ()


def options(command: Decorated) -> Decorated:
    """Add the server's two flags of the mapping, as `identity_mapping` and `identity_mapping_configmap`."""
    config_map = click.option(
        "--identity-mapping-configmap",
        metavar="[NAMESPACE/]NAME",
        default="",
        help=f"As the server's: ConfigMap whose key {names.MAPPING_KEY} is such a file, among the manifests or, "
        "with --from-cluster, there.",
    )
    file = click.option(
        "--identity-mapping",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="As the server's: YAML file that maps namespaces and accounts to identities; or a ConfigMap's manifest.",
    )
    return file(config_map(command))


def read(file: Path | None, config_map: str, documents: Sequence[JsonObject], cluster: Cluster | None) -> LoadedMapping:
    """The mapping of a file or of a ConfigMap `[namespace/]name`; an empty one where neither is given.

    As with the server, a bad entry of a file is refused, and one of a ConfigMap is left out and reported.

    Raises:
        CommandError: when it cannot be read or is not a mapping.
    """
    if file and config_map:
        raise UsageError(
            "--identity-mapping and --identity-mapping-configmap are two places for one thing; set one of them"
        )
    if not (file or config_map):
        return LoadedMapping()
    from webhook.config import identity_mapping

    try:
        manifest = _config_map_in(file) if file else _find_config_map(config_map, documents, cluster)
        if manifest is None:
            return LoadedMapping(identity_mapping.load(file or Path()))
        parsed = identity_mapping.parse_configmap(manifest.get("data"))
    except ValueError as error:
        where = "" if file else f"ConfigMap {config_map}: "
        raise CommandError(f"identity mapping: {where}{error}") from error
    place = f"identity mapping in ConfigMap {config_map or file}"
    return LoadedMapping(IdentityMapping(parsed.entries), tuple(f"{place}: {fault}" for fault in parsed.faults))


def is_mapping(document: object) -> bool:
    """Whether a document is an identity mapping, as the file of --identity-mapping has it."""
    return isinstance(document, dict) and document.keys() == {"mappings"}


def _config_map_in(file: Path) -> JsonObject | None:
    """The ConfigMap in a file; None where the file is anything else, which the server's reader judges."""
    try:
        document = reader.read_one(reader.content_of(file))
    except (OSError, reader.YamlError):
        return None
    return document if isinstance(document, dict) and document.get("kind") == CONFIG_MAP else None


def _find_config_map(config_map: str, documents: Sequence[JsonObject], cluster: Cluster | None) -> JsonObject:
    namespace, _, name = config_map.rpartition("/")
    found = list(_config_maps(documents, namespace, name))
    if not found and cluster is not None:
        stored = cluster.find(kube.path("v1", "configmaps", namespace or names.NAMESPACE, name))
        found = [stored] if stored else []
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(f"the manifests have {len(found)} ConfigMaps {config_map}", "name its namespace, too")
    where = f"namespace {namespace or names.NAMESPACE} of the cluster" if cluster else "the manifests"
    raise CommandError(
        f"there is no ConfigMap {config_map} in {where}",
        "give its manifest with -f, or take it from the cluster: --from-cluster "
        "--identity-mapping-configmap NAMESPACE/NAME",
    )


def _config_maps(documents: Sequence[JsonObject], namespace: str, name: str) -> Iterator[JsonObject]:
    for document in documents:
        for _, manifest in objects(document):
            metadata = manifest.get("metadata")
            if manifest.get("kind") != CONFIG_MAP or not isinstance(metadata, dict) or metadata.get("name") != name:
                continue
            if not namespace or metadata.get("namespace", namespace) == namespace:
                yield manifest
