"""The ServiceAccounts that have an identity: of manifests, or of a cluster."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.console.errors import CommandError
from azwi_cli.offline import manifests
from webhook.admission import values
from webhook.admission.identity import Account

KIND = ("v1", "ServiceAccount")


@dataclass(frozen=True, slots=True, order=True)
class DesiredAccount:
    """A ServiceAccount with the client id of its identity, in lower case."""

    client_id: str
    namespace: str
    name: str


def from_manifests(files: Sequence[str], default_namespace: str) -> list[DesiredAccount]:
    """The ServiceAccounts with a client id in files, directories and stdin; in lists, too.

    Raises:
        CommandError: when something cannot be read, is no object, or an account is not as it should be.
    """
    read = manifests.read(files)
    if read.skipped:
        raise CommandError(read.skipped[0], "keep only manifests in the directory: what cannot be read is not absent")
    if not read.objects:
        raise CommandError(f"there are no manifests in {', '.join(files)}", "did the command that writes them fail?")
    return _accounts(_flat(read.objects), default_namespace)


def from_cluster(cluster: Cluster, namespace: str) -> list[DesiredAccount]:
    """Those of a cluster, or of one of its namespaces.

    Raises:
        CommandError: when they cannot be listed, or an account is not as it should be.
    """
    return _accounts(cluster.list(kube.path("v1", "serviceaccounts", namespace)), "")


def _flat(objects: Iterable[JsonObject]) -> Iterable[JsonObject]:
    for item in objects:
        if str(item["kind"]).endswith("List") and isinstance(item.get("items"), list):
            kind = {"apiVersion": item.get("apiVersion"), "kind": str(item["kind"]).removesuffix("List")}
            yield from _flat({**kind, **inner} for inner in item["items"] if isinstance(inner, dict))
        else:
            yield item


def _accounts(objects: Iterable[JsonObject], default_namespace: str) -> list[DesiredAccount]:
    found: dict[tuple[str, str], DesiredAccount] = {}
    for item in objects:
        metadata = item.get("metadata")
        if (item.get("apiVersion"), item["kind"]) != KIND or not isinstance(metadata, dict):
            continue
        account = _account(metadata, default_namespace)
        if account is None:
            continue
        other = found.setdefault((account.namespace, account.name), account)
        if other != account:
            raise CommandError(
                f"ServiceAccount {account.namespace}/{account.name} is there twice, with two client ids",
                "keep one of them",
            )
    return sorted(found.values())


def _account(metadata: JsonObject, default_namespace: str) -> DesiredAccount | None:
    client_id = Account.from_metadata(metadata).client_id.lower()
    if not client_id:
        return None
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or default_namespace)
    if not values.is_uuid(client_id):
        raise CommandError(
            f"ServiceAccount {namespace}/{name}: {client_id[:80]!a} is not a client id",
            "give the UUID that az identity show --query clientId prints",
        )
    if not name:
        raise CommandError("a ServiceAccount with a client id has no name", "generateName is not supported here")
    return DesiredAccount(client_id, namespace, name)
