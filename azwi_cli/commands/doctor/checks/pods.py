"""Do the pods that run have what the webhook would give them now, and can they use it?"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_network
from posixpath import dirname
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding, shown
from azwi_cli.commands.doctor.selectors import matches
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot, timestamp
from webhook.admission.review import Decision

MAX_NAMED: Final = 5
_LACKS: Final = {
    Code.POD_NOT_INJECTED: "its pods run without identity",
    Code.POD_OUTDATED: "its pods have another client id than their account",
}
HTTPS: Final = 443
DNS: Final = 53
# 10.0.0.0/8 and fc00::/7: a shorter prefix has public addresses, too.
SHORTEST_PRIVATE: Final = 7
_NEEDED: Final = {"TCP 443": ("TCP", HTTPS), "UDP 53 (DNS)": ("UDP", DNS)}
_EVERYWHERE: Final = ({"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}})


def injected(snapshot: Snapshot) -> Iterator[Finding]:
    """Pods of a workload that takes part have the token volume, and the client id that their account names now."""
    for workload in snapshot.mutated():
        if bare := [pod for pod in workload.pods if not _has_volume(pod)]:
            command = snapshot.commands.restart(workload.owner, _names(bare))
            yield _stale(workload, bare, Code.POD_NOT_INJECTED, list(_since(snapshot, workload)), command)
            continue
        named = snapshot.identity(workload.namespace, workload.service_account)
        if named is None or (workload.kind != "Pod" and _sets(workload.pod, names.ENV_CLIENT_ID)):
            continue
        if old := [pod for pod in workload.pods if named.client_id not in _client_ids(pod)]:
            theirs = ", ".join(_client_ids(old[0])) or "not set"
            source = "that of the identity mapping" if named.entry else names.CLIENT_ID
            evidence = [f"{source} is {named.client_id}, and theirs {theirs}"]
            yield _stale(workload, old, Code.POD_OUTDATED, evidence, _renewal(snapshot, workload, old))


def _stale(
    workload: LiveWorkload, pods: Sequence[JsonObject], code: Code, evidence: Sequence[str], command: str
) -> Finding:
    found = _names(pods)
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    created = min(str(pod["metadata"].get("creationTimestamp", "")) for pod in pods)
    return Finding(
        code,
        workload.subject,
        f"{_LACKS[code]}: they are older than what gives it to them, and only new pods get it",
        (f"pods {', '.join(found[:MAX_NAMED])}{more}, the oldest created at {created}", *evidence),
        command,
    )


def _names(pods: Sequence[JsonObject]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


def _renewal(snapshot: Snapshot, workload: LiveWorkload, pods: Sequence[JsonObject]) -> str:
    """New pods from the template; one without an owner carries what was injected, which is taken out first."""
    if workload.kind != "Pod":
        return snapshot.commands.restart(workload.owner, _names(pods))
    operations: list[JsonObject] = [
        {"op": "remove", "path": f"/spec/{group}/{number}/env/{index}"}
        for group in ("initContainers", "containers")
        for number, container in enumerate(workload.pod["spec"].get(group) or ())
        for index, entry in reversed(list(enumerate(container.get("env") or ())))
        if entry.get("name") in names.INJECTED_VARIABLES
    ]
    return snapshot.commands.change_pods(workload.owner, operations)


def _has_volume(pod: JsonObject) -> bool:
    volumes = pod["spec"].get("volumes") or ()
    return any(str(volume.get("name")).startswith(names.VOLUME_PREFIX) for volume in volumes)


def _variables(pod: JsonObject) -> Iterator[Mapping[str, str]]:
    """The variables of each of a pod's containers; of a name that is there twice, Kubernetes uses the last."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        yield {entry["name"]: entry.get("value", "") for entry in container.get("env") or ()}


def _client_ids(pod: JsonObject) -> list[str]:
    """The client ids that its containers see; one of several identities is enough."""
    return [found[names.ENV_CLIENT_ID] for found in _variables(pod) if names.ENV_CLIENT_ID in found]


def _sets(pod: JsonObject, name: str) -> bool:
    """Whether a template sets a variable itself."""
    return any(name in found for found in _variables(pod))


def _since(snapshot: Snapshot, workload: LiveWorkload) -> Iterator[str]:
    """When what gives pods an identity came to be."""
    account = snapshot.accounts.get((workload.namespace, workload.service_account), {"metadata": {}})
    for entry in account["metadata"].get("managedFields") or ():
        if names.CLIENT_ID in str(entry.get("fieldsV1")):
            by = entry.get("manager")
            yield f"ServiceAccount {workload.service_account} was annotated at {entry.get('time')} by {by}"
    for installation in snapshot.installations or ():
        created = installation.configuration["metadata"].get("creationTimestamp")
        yield f"{installation.subject} was created at {created}"


def rotated(snapshot: Snapshot) -> Iterator[Finding]:
    """The token that apps read is the one that the kubelet replaces: a mount by subPath never sees the new one."""
    for workload in snapshot.workloads:
        for pointer, mount in _fixed_mounts(workload):
            path = str(mount.get("mountPath"))
            whole = _webhook_mounts(workload, path)
            operations: list[JsonObject] = [{"op": "remove", "path": pointer}] if whole else _widened(pointer, path)
            ages = [
                snapshot.now - made
                for pod in workload.pods
                if (made := timestamp(pod["metadata"].get("creationTimestamp")))
            ]
            oldest = f"the oldest pod is {_hours(max(ages))} old" if ages else "no pod runs"
            yield Finding(
                Code.TOKEN_NOT_ROTATED,
                workload.subject,
                f"its token at {path} is never replaced: what is mounted by subPath stays as it was at the start, "
                f"and the token expires after {_hours(_lifetime(workload))}",
                (f"volumeMount {mount.get('name')} with subPath {mount.get('subPath')}", oldest),
                snapshot.commands.change_pods(workload.owner, operations),
            )


def _fixed_mounts(workload: LiveWorkload) -> Iterator[tuple[str, JsonObject]]:
    """The mounts by subPath of a volume with a ServiceAccount's token, with their JSON pointers in the pod."""
    spec = workload.pod.get("spec") or {}
    volumes = {volume["name"] for volume in spec.get("volumes") or () if _has_token(volume)} | names.VOLUMES
    for group in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(group) or ()):
            for index, mount in enumerate(container.get("volumeMounts") or ()):
                if mount.get("name") in volumes and (mount.get("subPath") or mount.get("subPathExpr")):
                    yield f"/spec/{group}/{number}/volumeMounts/{index}", mount


def _has_token(volume: JsonObject) -> bool:
    sources = (volume.get("projected") or {}).get("sources") or ()
    return any((source.get("serviceAccountToken") or {}).get("audience") for source in sources)


def _webhook_mounts(workload: LiveWorkload, path: str) -> bool:
    """Whether the webhook mounts the token itself where this one is, once this one is gone."""
    places = (names.DOCUMENTED_DIRECTORY, names.V160_DIRECTORY)
    return workload.outcome.decision is Decision.MUTATE and path.startswith(places)


def _widened(pointer: str, path: str) -> list[JsonObject]:
    """The whole volume in the directory in which one file of it was."""
    return [
        {"op": "remove", "path": f"{pointer}/subPath"},
        {"op": "replace", "path": f"{pointer}/mountPath", "value": dirname(path)},
    ]


def _lifetime(workload: LiveWorkload) -> timedelta:
    sources = (
        source["serviceAccountToken"].get("expirationSeconds") or names.DEFAULT_TOKEN_EXPIRATION
        for volume in (workload.pod.get("spec") or {}).get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if "serviceAccountToken" in source
    )
    return timedelta(seconds=next(iter(sources), names.DEFAULT_TOKEN_EXPIRATION))


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"


def reaches_entra(snapshot: Snapshot) -> Iterator[Finding]:
    """NetworkPolicies let pods that take part look up and reach Entra."""
    seen: set[tuple[str, ...]] = set()
    for workload in snapshot.mutated():
        policies = [
            policy
            for policy in snapshot.network_policies
            if policy["metadata"]["namespace"] == workload.namespace
            and "Egress" in (policy["spec"].get("policyTypes") or ("Ingress",))
            and matches(policy["spec"].get("podSelector"), workload.labels)
        ]
        rules = [rule for policy in policies for rule in policy["spec"].get("egress") or ()]
        blocked = [name for name, where in _NEEDED.items() if not any(_allows(rule, *where) for rule in rules)]
        key = tuple(sorted(policy["metadata"]["name"] for policy in policies))
        if not policies or not blocked or (workload.namespace, *key) in seen:
            continue
        seen.add((workload.namespace, *key))
        yield Finding(
            Code.EGRESS_BLOCKED,
            f"NetworkPolicy {workload.namespace}/{key[0]}",
            f"pods of {workload.subject} cannot reach Entra: no policy that selects them "
            f"lets {' or '.join(blocked)} out",
            tuple(
                f"policy {policy['metadata']['name']}: egress {shown(policy['spec'].get('egress') or [])}"
                for policy in policies
            ),
            snapshot.commands.apply(
                _allowing(workload.namespace, key[0], policies[0]["spec"].get("podSelector") or {})
            ),
        )


def _allows(rule: JsonObject, protocol: str, port: int) -> bool:
    """Whether a rule lets that out: for Entra to the internet, for DNS to anywhere."""
    ports = rule.get("ports")
    if ports and not any(_covers(port_entry, protocol, port) for port_entry in ports):
        return False
    peers = rule.get("to")
    return not peers or port == DNS or any(_is_public(peer) for peer in peers)


def _covers(entry: Mapping[str, Any], protocol: str, port: int) -> bool:
    first = entry.get("port")
    if entry.get("protocol", "TCP") != protocol:
        return False
    return first is None or (isinstance(first, int) and first <= port <= entry.get("endPort", first))


def _is_public(peer: Mapping[str, Any]) -> bool:
    """Whether a peer may be Entra: of its addresses no more is known than that they are public."""
    cidr = (peer.get("ipBlock") or {}).get("cidr")
    if not cidr:
        return False
    block = ip_network(cidr, strict=False)  # the API server has checked it
    return block.prefixlen < SHORTEST_PRIVATE or not block.network_address.is_private


def _allowing(namespace: str, blocking: str, selector: JsonObject) -> JsonObject:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"{blocking[:230]}-allow-entra", "namespace": namespace},
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Egress"],
            "egress": [
                {"ports": [{"protocol": "TCP", "port": HTTPS}], "to": _EVERYWHERE},
                {"ports": [{"protocol": "UDP", "port": DNS}, {"protocol": "TCP", "port": DNS}]},
            ],
        },
    }


CHECKS: Final = (
    Check(Group.WORKLOADS, "running pods have their identity", injected, frozenset({Area.WORKLOADS})),
    Check(Group.WORKLOADS, "tokens are replaced before they expire", rotated, frozenset({Area.WORKLOADS})),
    Check(
        Group.WORKLOADS,
        "NetworkPolicies let them reach Microsoft Entra",
        reaches_entra,
        frozenset({Area.WORKLOADS, Area.POLICIES}),
    ),
)
