"""The ServiceAccounts that have an identity: of manifests, or of a cluster."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.console.errors import CommandError
from azwi_cli.offline import manifests
from webhook.admission import values
from webhook.admission.identity import Account

KIND: Final = ("v1", "ServiceAccount")
# The fields that the API server knows of it, and of the metadata of any object:
# https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/service-account-v1/
_FIELDS: Final = frozenset(
    {"apiVersion", "kind", "metadata", "secrets", "imagePullSecrets", "automountServiceAccountToken"}
)
_METADATA: Final = frozenset(
    {
        "name",
        "generateName",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "managedFields",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


@dataclass(frozen=True, slots=True, order=True)
class DesiredAccount:
    """A ServiceAccount with the client id of its identity, in lower case."""

    client_id: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What was read; `unusable` says of accounts, by namespace and name, why their identity cannot be used."""

    accounts: tuple[DesiredAccount, ...] = ()
    unusable: Mapping[tuple[str, str], str] = field(default_factory=dict)


def from_manifests(files: Sequence[str], default_namespace: str) -> Desired:
    """The ServiceAccounts with a client id in files, directories and stdin; in lists, too.

    Raises:
        CommandError: when something cannot be read, is no object, or an account is not as it should be.
    """
    read = manifests.read(files)
    if read.skipped:
        raise CommandError(read.skipped[0], "keep only manifests in the directory: what cannot be read is not absent")
    if not read.objects:
        raise CommandError(f"there are no manifests in {', '.join(files)}", "did the command that writes them fail?")
    objects = list(_flat(read.objects))
    found = _desired(objects, default_namespace)
    for item in objects:
        if _is_account(item):
            _check_fields(item, default_namespace)
    for why in found.unusable.values():
        raise CommandError(why, "correct it: what cannot be read is not absent")
    return found


def from_cluster(cluster: Cluster, namespace: str) -> Desired:
    """Those of a cluster, or of one of its namespaces. One that is not as it should be does not stop the others.

    Raises:
        CommandError: when they cannot be listed.
    """
    return _desired(cluster.list(kube.path("v1", "serviceaccounts", namespace)), "")


def _flat(objects: Iterable[JsonObject]) -> Iterable[JsonObject]:
    for item in objects:
        if str(item["kind"]).endswith("List") and isinstance(item.get("items"), list):
            kind = {"apiVersion": item.get("apiVersion"), "kind": str(item["kind"]).removesuffix("List")}
            yield from _flat({**kind, **inner} for inner in item["items"] if isinstance(inner, dict))
        else:
            yield item


def _is_account(item: JsonObject) -> bool:
    return (item.get("apiVersion"), item["kind"]) == KIND and isinstance(item.get("metadata"), dict)


def _check_fields(item: JsonObject, default_namespace: str) -> None:
    """Check that there is no field that the API server does not know: its value would be lost, such as a client id.

    Raises:
        CommandError: when there is one.
    """
    metadata = item["metadata"]
    unknown = [*sorted(item.keys() - _FIELDS), *(f"metadata.{key}" for key in sorted(metadata.keys() - _METADATA))]
    for name in unknown:
        raise CommandError(
            f"ServiceAccount {_where(metadata, default_namespace)} has an unknown field: {name[:80]!a}",
            "correct it: kubectl refuses it, too",
        )


def _where(metadata: JsonObject, default_namespace: str) -> str:
    return f"{str(metadata.get('namespace') or default_namespace)[:63]}/{str(metadata.get('name') or '')[:253]}"


def _desired(objects: Iterable[JsonObject], default_namespace: str) -> Desired:
    """The accounts, in order. Of one that is there with two client ids, neither counts."""
    found: dict[tuple[str, str], DesiredAccount] = {}
    unusable: dict[tuple[str, str], str] = {}
    for item in filter(_is_account, objects):
        metadata = item["metadata"]
        key = str(metadata.get("namespace") or default_namespace), str(metadata.get("name") or "")
        account = Account.from_metadata(metadata)
        client_id = account.client_id.lower()
        if why := _fault(account, key):
            unusable[key] = f"ServiceAccount {_where(metadata, default_namespace)}: {why}"
        elif client_id and found.setdefault(key, DesiredAccount(client_id, *key)).client_id != client_id:
            unusable[key] = f"ServiceAccount {_where(metadata, default_namespace)} is there twice, with two client ids"
    return Desired(tuple(sorted(account for key, account in found.items() if key not in unusable)), unusable)


def _fault(account: Account, key: tuple[str, str]) -> str:
    """Why an account's identity cannot be used; empty where it can, or it names none."""
    if not account.client_id:
        keys = (*account.unrecognized_annotations, *account.unrecognized_labels)
        misspelt = next((found for found, intended in keys if intended == names.CLIENT_ID), "")
        return f"{misspelt[:80]!a} has no effect: the annotation is {names.CLIENT_ID}" if misspelt else ""
    if not values.is_uuid(account.client_id):
        shown = f"{account.client_id[:80]!a}"
        return f"{shown} is not a client id: give the UUID that az identity show --query clientId prints"
    return "" if key[1] else "it has a client id and no name; generateName is not supported here"
