"""Workloads with their pods, what the webhook would do with these, and what else decides about pods."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.commands.doctor import settings
from azwi_cli.commands.doctor.findings import Area
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from azwi_cli.offline import admissions, owners
from azwi_cli.offline.admissions import AdmissionContext
from azwi_cli.offline.limits import NamespaceLimits
from webhook.admission.identity import Account

MAX_WORKLOADS: Final = 5_000
_FINISHED: Final = frozenset({"Succeeded", "Failed"})


def read_limits(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read LimitRanges and ResourceQuotas."""
    namespace = reader.scope.namespace
    ranges = reader.list(Area.LIMITS, "LimitRanges", kube.path("v1", "limitranges", namespace))
    quotas = reader.list(Area.LIMITS, "ResourceQuotas", kube.path("v1", "resourcequotas", namespace))
    return replace(snapshot, limit_ranges=ranges or (), quotas=quotas or ())


def read_network_policies(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read NetworkPolicies."""
    path = kube.path("networking.k8s.io/v1", "networkpolicies", reader.scope.namespace)
    return replace(snapshot, network_policies=reader.list(Area.POLICIES, "NetworkPolicies", path) or ())


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read what makes pods, and the pods; of one pod or account, keep what belongs to it only."""
    found = _workloads(reader, _admission_context(snapshot))
    snapshot = replace(snapshot, workloads=found)
    if not reader.scope.is_partial:
        return snapshot
    wanted = {reader.scope.service_account, *(workload.service_account for workload in found)}
    accounts = {key: account for key, account in snapshot.accounts.items() if key[1] in wanted}
    return replace(snapshot, accounts=accounts, accounts_of=None)


def _workloads(reader: Reader, context: AdmissionContext) -> Sequence[LiveWorkload]:
    scope = reader.scope
    makers = [
        manifest
        for api_version, plurals in owners.KINDS.items()
        for plural in plurals
        for manifest in reader.list(
            Area.WORKLOADS, plural, kube.path(api_version, plural, scope.namespace), most=MAX_WORKLOADS
        )
        or ()
    ]
    pods = reader.list(Area.WORKLOADS, "pods", kube.path("v1", "pods", scope.namespace)) or []
    if scope.pod:
        pods = [pod for pod in pods if pod["metadata"]["name"] == scope.pod]
    by_uid = {owner["metadata"]["uid"]: owner for owner in makers}
    grouped: dict[str, tuple[JsonObject, JsonObject, list[JsonObject]]] = {}
    for manifest in (*([] if scope.pod else makers), *filter(_is_running, pods)):
        top, unknown_owner = owners.topmost(manifest, by_uid)
        owner = _named(unknown_owner) if unknown_owner else top
        *_, mine = grouped.setdefault(top["metadata"]["uid"], (top, owner, []))
        if manifest["kind"] == "Pod":
            mine.append(manifest)
    workloads = (
        _workload(top, owner, mine, context)
        for top, owner, mine in grouped.values()
        if mine or not owners.is_finished(top)
    )
    return sorted(
        (workload for workload in workloads if scope.service_account in ("", workload.service_account)),
        key=lambda workload: (workload.namespace, workload.kind, workload.name),
    )


def _of(namespace: str, objects: Sequence[JsonObject]) -> list[JsonObject]:
    return [item for item in objects if item["metadata"]["namespace"] == namespace]


def _workload(
    top: JsonObject, owner: JsonObject, pods: Sequence[JsonObject], context: AdmissionContext
) -> LiveWorkload:
    admission, *_ = admissions.mutate(top, context).admissions
    return LiveWorkload(top, pods, admission.outcome, owner, admission.limit_problems)


def _is_running(pod: JsonObject) -> bool:
    ended = (pod.get("status") or {}).get("phase") in _FINISHED
    return not ended and not pod["metadata"].get("deletionTimestamp")


def _named(unknown_owner: owners.UnknownOwner) -> JsonObject:
    """All that is known of an owner of another kind."""
    metadata = {"namespace": unknown_owner.namespace, "name": unknown_owner.name}
    return {"apiVersion": unknown_owner.api_version, "kind": unknown_owner.kind, "metadata": metadata}


def _admission_context(snapshot: Snapshot) -> AdmissionContext:
    """What the webhook would see: what is in the cluster now. Accounts that were not read may be there."""

    def find(namespace: str, name: str) -> Account | None:
        stored = snapshot.accounts.get((namespace, name))
        if stored is None:
            return None if snapshot.knows_absent(namespace, name) else Account()
        return Account.from_metadata(stored["metadata"])

    def labelled(name: str) -> bool:
        return (snapshot.namespace_labels(name) or {}).get(names.USE_LABEL) == "true"

    def limits(namespace: str) -> NamespaceLimits:
        """Those of the API server; of Pod Security another check reports."""
        return NamespaceLimits(_of(namespace, snapshot.limit_ranges), _of(namespace, snapshot.quotas))

    return AdmissionContext(find, labelled, snapshot.policy or settings.default(), limits=limits)
