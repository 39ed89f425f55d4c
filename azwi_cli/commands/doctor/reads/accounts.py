"""Namespaces, ServiceAccounts, and the issuer of their tokens."""

from collections.abc import Mapping
from dataclasses import replace

from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.commands.doctor.findings import Area
from azwi_cli.commands.doctor.reads.reader import MAX_OBJECTS, Reader
from azwi_cli.commands.doctor.snapshot import Snapshot
from azwi_cli.issuer.discovery import CONFIGURATION_PATH


def read_namespaces(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read all, or that of the scope."""
    return replace(snapshot, namespaces=_namespaces(reader, reader.scope.namespace))


def _namespaces(reader: Reader, namespace: str) -> Mapping[str, JsonObject]:
    if not namespace:
        found = reader.list(Area.NAMESPACES, "namespaces", kube.path("v1", "namespaces"))
        return {namespace_object["metadata"]["name"]: namespace_object for namespace_object in found or ()}
    one = reader.find(Area.NAMESPACES, f"namespace {namespace}", kube.path("v1", "namespaces", name=namespace))
    return {namespace: one} if one else {}


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read all ServiceAccounts of the scope's namespace: workloads of any may be looked at."""
    where = reader.scope.namespace
    stored = reader.list(Area.ACCOUNTS, "ServiceAccounts", kube.path("v1", "serviceaccounts", where))
    complete = stored is not None and len(stored) < MAX_OBJECTS
    by_key = {(found["metadata"]["namespace"], found["metadata"]["name"]): found for found in stored or ()}
    return replace(snapshot, accounts=by_key, accounts_of=where if complete else None)


def read_issuer(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read the issuer from the API server's discovery document."""
    found = reader.find(Area.ISSUER, "the cluster's issuer", CONFIGURATION_PATH) or {}
    return replace(snapshot, issuer=str(found.get("issuer") or ""))
