"""Can pods that ask for an identity binding use it?"""

from collections.abc import Iterator
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.fixes import pointer
from azwi_cli.commands.doctor.snapshot import BINDING_GROUP, BINDING_VERB, Snapshot

_RBAC: Final = "rbac.authorization.k8s.io"


def set_up(snapshot: Snapshot) -> Iterator[Finding]:
    """The webhook has a token proxy; without one it ignores the annotation."""
    if snapshot.has_token_proxy is not False:
        return
    for workload in snapshot.bound():
        operations: list[JsonObject] = [{"op": "remove", "path": pointer("metadata", "annotations", names.USE_BINDING)}]
        yield Finding(
            Code.BINDING_NOT_SET_UP,
            workload.subject,
            "its pods ask for an identity binding, and the webhook has no token proxy: they federate directly",
            (f"annotation {names.USE_BINDING}", f"{names.ENV_TOKEN_PROXY} is not set in the webhook's Deployment"),
            snapshot.commands.change_pods(workload.owner, operations),
        )


def allowed(snapshot: Snapshot) -> Iterator[Finding]:
    """The ServiceAccount may use its identity, as the token proxy asks the API server."""
    for (namespace, name), is_allowed in snapshot.binding_allowed.items():
        identity = snapshot.identity(namespace, name)
        if is_allowed or identity is None:
            continue
        yield Finding(
            Code.BINDING_FORBIDDEN,
            f"ServiceAccount {namespace}/{name}",
            "its pods ask for an identity binding, and it may not use its identity: the token proxy refuses its tokens",
            (f"verb {BINDING_VERB} on {identity.client_id} of {BINDING_GROUP} is not allowed",),
            snapshot.commands.apply(_rights(namespace, name, identity.client_id)),
        )


def _rights(namespace: str, name: str, client_id: str) -> JsonObject:
    """The ClusterRole and its binding that AKS documents."""
    role = f"azwi-binding-{namespace}-{name}"
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": role},
                "rules": [{"apiGroups": [BINDING_GROUP], "resources": [client_id], "verbs": [BINDING_VERB]}],
            },
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": role},
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
            },
        ],
    }


CHECKS: Final = (
    Check(
        Group.WORKLOADS,
        "the webhook has a token proxy for pods with an identity binding",
        set_up,
        frozenset({Area.WORKLOADS, Area.MAPPING}),
    ),
    Check(
        Group.WORKLOADS,
        "accounts with an identity binding may use their identity",
        allowed,
        frozenset({Area.WORKLOADS, Area.ACCOUNTS, Area.BINDINGS}),
    ),
)
