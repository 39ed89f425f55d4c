"""The creation of a labelled pod in a dry run: does the API server call the webhook?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError
from azwi_cli.commands.doctor import settings
from azwi_cli.commands.doctor.findings import Area, Unreadable
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import Probe, Snapshot

WHAT: Final = "the call of the webhook"
SMALL: Final[Mapping[str, str]] = {"cpu": "1m", "memory": "1Mi"}
# Admitted by every Pod Security level; its resources are the least that the namespace admits.
CONTAINER: Final[Mapping[str, Any]] = {
    "name": "probe",
    "image": "azwi-doctor.invalid/probe",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Create the pod where one takes part already, if any does; without a webhook there is nothing to try."""
    if snapshot.installations == []:
        if snapshot.engine and snapshot.engine.bound():
            reader.unreadable.append(Unreadable(WHAT, "there is none: admission policies inject", Area.CALL))
        return snapshot
    if snapshot.policy and not settings.takes_labels(snapshot.policy):
        reader.unreadable.append(Unreadable(WHAT, "labelled pods do not take part (--opt-in)", Area.CALL))
        return snapshot
    reader.on_step("creating a pod in a dry run")
    namespace, account = _place(snapshot, reader.cluster.namespace)
    known = snapshot.installations is not None
    pod = _pod(account, _least_resources(snapshot.limit_ranges, namespace))
    return replace(snapshot, probe=_probe(reader, namespace, pod, configurations_known=known))


def _place(snapshot: Snapshot, default: str) -> tuple[str, str]:
    """The namespace and the account of the pod."""
    if workload := next(snapshot.mutated(), None):
        return workload.namespace, workload.service_account
    if key := next(iter(snapshot.accounts), None):
        return next((account for account in snapshot.accounts if account[0] == default), key)
    return default, "default"


def _pod(account: str, resources: JsonObject) -> JsonObject:
    return {
        "metadata": {"generateName": "azwi-doctor-", "labels": {names.USE_LABEL: "true"}},
        "spec": {
            "serviceAccountName": account,
            "restartPolicy": "Never",
            "containers": [{**CONTAINER, "resources": resources}],
        },
    }


def _least_resources(ranges: Sequence[JsonObject], namespace: str) -> JsonObject:
    """Small for every quota, and not below what a LimitRange demands."""
    least = dict(SMALL)
    for found in ranges:
        for item in found["spec"].get("limits") or ():
            if found["metadata"]["namespace"] == namespace and item.get("type") in {"Container", "Pod"}:
                wanted = item.get("min") or {}
                least |= {name: wanted[name] for name in SMALL if name in wanted}
    return {"requests": least, "limits": least}


def _probe(reader: Reader, namespace: str, pod: JsonObject, *, configurations_known: bool) -> Probe | None:
    try:
        stored = reader.cluster.create(kube.path("v1", "pods", namespace), pod, dry_run=True)
    except ApiError as error:
        if "failed calling webhook" in error.message:
            return Probe(namespace, failure=error.message.removeprefix("the API server answered: "))
        if names.PREFIX in error.message or "workload-identity" in error.message:
            return None  # it answered; the check of the account reports the refusal
        reader.unreadable.append(Unreadable(WHAT, error.message, Area.CALL, _needed(error, namespace)))
        return None
    injected = any(volume["name"] == names.VOLUME for volume in stored["spec"].get("volumes") or ())
    if not injected and not configurations_known:
        why = f"a labelled pod in namespace {namespace} got no identity, and the webhook configurations cannot be read"
        reader.unreadable.append(Unreadable(WHAT, why, Area.CALL, "the permission above"))
        return None
    return Probe(namespace, injected=injected)


def _needed(error: ApiError, namespace: str) -> str:
    denied = "cannot create resource" in error.message
    return f"permission to create pods in {namespace}" if denied else "a namespace that admits a small pod"
