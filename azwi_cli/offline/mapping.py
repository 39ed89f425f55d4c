"""The identity mapping, for commands that decide as the server does: from its file, or a ConfigMap that has one."""

# ruff: noqa: PLC0415  few installations have an identity mapping

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import yaml

from azure_workload_identity import names
from azure_workload_identity.bounded_yaml import LOADER, bounded
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.offline import manifests
from webhook.admission.identity import IdentityMapping

CONFIG_MAP: Final = "ConfigMap"
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Found:
    """The mapping, and a sentence for each entry of a ConfigMap that cannot be used."""

    mapping: IdentityMapping = field(default_factory=IdentityMapping)
    faults: tuple[str, ...] = ()


def options(command: Decorated) -> Decorated:
    """Add the server's two flags of the mapping, as `identity_mapping` and `identity_mapping_configmap`."""
    named = click.option(
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
    return file(named(command))


def read(file: Path | None, named: str, documents: Sequence[JsonObject], cluster: Cluster | None) -> Found:
    """The mapping of a file or of a ConfigMap `[namespace/]name`; none where neither is given.

    As with the server, a bad entry of a file is refused, and one of a ConfigMap left out and told.

    Raises:
        CommandError: when it cannot be read or is no mapping.
    """
    if file and named:
        raise UsageError("--identity-mapping and --identity-mapping-configmap are two places for one thing")
    if not (file or named):
        return Found()
    from webhook.config import identity_mapping

    try:
        manifest = _manifest_in(file) if file else _named(named, documents, cluster)
        if manifest is None:
            return Found(identity_mapping.load(file or Path()))
        parsed = identity_mapping.parse_configmap(manifest.get("data"))
    except ValueError as error:
        where = "" if file else f"ConfigMap {named}: "
        raise CommandError(f"identity mapping: {where}{error}") from error
    place = f"identity mapping in ConfigMap {named or file}"
    return Found(IdentityMapping(parsed.entries), tuple(f"{place}: {fault}" for fault in parsed.faults))


def _manifest_in(file: Path) -> JsonObject | None:
    """The ConfigMap that a file is; None where it is something else, of which the server's reader knows more."""
    try:
        document = yaml.load(bounded(file.read_bytes()), Loader=LOADER)  # noqa: S506  a safe loader
    except (OSError, yaml.YAMLError):
        return None
    return document if isinstance(document, dict) and document.get("kind") == CONFIG_MAP else None


def _named(named: str, documents: Sequence[JsonObject], cluster: Cluster | None) -> JsonObject:
    namespace, _, name = named.rpartition("/")
    found = list(_candidates(documents, namespace, name))
    if not found and cluster is not None:
        stored = cluster.find(kube.path("v1", "configmaps", namespace or names.NAMESPACE, name))
        found = [stored] if stored else []
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(f"there are {len(found)} ConfigMaps {named} among the manifests", "name its namespace, too")
    where = f"namespace {namespace or names.NAMESPACE} of the cluster" if cluster else "the manifests"
    raise CommandError(
        f"there is no ConfigMap {named} in {where}",
        "give its manifest with -f, or take it from the cluster: --from-cluster "
        "--identity-mapping-configmap NAMESPACE/NAME",
    )


def _candidates(documents: Sequence[JsonObject], namespace: str, name: str) -> Iterator[JsonObject]:
    for document in documents:
        for _, manifest in manifests.objects(document):
            metadata = manifest.get("metadata")
            if manifest.get("kind") != CONFIG_MAP or not isinstance(metadata, dict) or metadata.get("name") != name:
                continue
            if not namespace or metadata.get("namespace", namespace) == namespace:
                yield manifest
