"""Can pods that ask for an identity binding use it?"""

from collections.abc import Iterator
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.fixes import pointer
from azwi_cli.commands.doctor.reads.images import ACR_CLIENT_ID
from azwi_cli.commands.doctor.snapshot import BINDING_GROUP, BINDING_VERB, BindingGrant, LiveWorkload, Snapshot
from webhook.admission import values

_RBAC: Final = "rbac.authorization.k8s.io"
_MANAGED: Final = "ManagedIdentityCredential"
MAX_SHOWN: Final = 5


def set_up(snapshot: Snapshot) -> Iterator[Finding]:
    """The webhook has a token proxy; without one it ignores the annotation."""
    if snapshot.has_token_proxy is not False:
        return
    for workload in snapshot.bound():
        operations: list[JsonObject] = [
            {"op": "remove", "path": pointer("metadata", "annotations", snapshot.binding_key)}
        ]
        yield Finding(
            Code.BINDING_NOT_SET_UP,
            workload.subject,
            "its pods ask for an identity binding, and the webhook has no token proxy: they federate directly",
            (f"annotation {snapshot.binding_key}", f"{names.ENV_TOKEN_PROXY} is not set in the webhook's Deployment"),
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


def misplaced(snapshot: Snapshot) -> Iterator[Finding]:
    """The annotation is on the pods: anywhere else it has no effect."""
    key = snapshot.binding_key
    for workload in snapshot.workloads:
        places = [] if key in workload.annotations else list(_other_places(snapshot, workload))
        if not places:
            continue
        metadata: JsonObject = {"annotations": {key: "true"}}
        if key in workload.labels:
            metadata["labels"] = {key: None}
        command = snapshot.commands.merge_into_pods(workload.owner, {"metadata": metadata})
        account = snapshot.accounts.get((workload.namespace, workload.service_account))
        for verb, part in ((snapshot.commands.annotate, "annotations"), (snapshot.commands.label, "labels")):
            if account and key in (account["metadata"].get(part) or {}):
                command += " && " + verb("serviceaccount", workload.namespace, workload.service_account, {key: None})
        yield Finding(
            Code.BINDING_MISPLACED,
            workload.subject,
            f"the {places[0]} is ignored: to ask for an identity binding it must be an annotation of the pods",
            tuple(f"{place} is {key}" for place in places),
            command,
        )


def _other_places(snapshot: Snapshot, workload: LiveWorkload) -> Iterator[str]:
    """Where else the annotation is true."""
    account = snapshot.accounts.get((workload.namespace, workload.service_account)) or {}
    own = {} if workload.kind == "Pod" else workload.manifest.get("metadata") or {}
    theirs = account.get("metadata") or {}
    for what, found in (
        ("label of its pods", workload.labels),
        (f"annotation of the {workload.kind}", own.get("annotations") or {}),
        (f"label of the {workload.kind}", own.get("labels") or {}),
        ("annotation of its ServiceAccount", theirs.get("annotations") or {}),
        ("label of its ServiceAccount", theirs.get("labels") or {}),
    ):
        if values.boolean(str(found.get(snapshot.binding_key, ""))):
            yield what


def default_credential(snapshot: Snapshot) -> Iterator[Finding]:
    """Apps with a binding do not use DefaultAzureCredential: it sends the token to Entra, not to the token proxy.

    AZURE_TOKEN_CREDENTIALS shows that it is used: only DefaultAzureCredential reads it. With the proxy of this webhook
    it gets tokens of the binding as a managed identity.
    """
    for workload in snapshot.bound() if snapshot.has_token_proxy is not False else ():
        has_proxy = values.boolean(workload.annotations.get(names.INJECT_PROXY, "")) is True
        found = [
            (place, index, entry["value"])
            for place, index, entry in _variables(workload.pod, names.ENV_TOKEN_CREDENTIALS)
            if entry.get("value", "").strip() and not (has_proxy and entry["value"].strip().lower() == _MANAGED.lower())
        ]
        if not found:
            continue
        operations: list[JsonObject] = [
            {"op": "replace", "path": f"{place}/env/{index}/value", "value": _MANAGED} for place, index, _ in found
        ]
        if not has_proxy:
            path = pointer("metadata", "annotations", names.INJECT_PROXY)
            operations.append({"op": "add", "path": path, "value": "true"})
        yield Finding(
            Code.BINDING_DEFAULT_CREDENTIAL,
            workload.subject,
            "its pods have an identity binding and use DefaultAzureCredential, which does not send their token to the "
            "token proxy: Entra refuses it (AADSTS700212 or 700211). The fix adds the proxy, which does; or construct "
            "WorkloadIdentityCredential with its option for the token proxy",
            tuple(f"{names.ENV_TOKEN_CREDENTIALS}={value}" for _, _, value in found),
            snapshot.commands.change_pods(workload.owner, operations),
        )


def _variables(pod: JsonObject, name: str) -> Iterator[tuple[str, int, JsonObject]]:
    """The entries of a variable: the pointer of its container, its index in `env`, and itself."""
    for group in ("initContainers", "containers"):
        for number, container in enumerate((pod.get("spec") or {}).get(group) or ()):
            for index, entry in enumerate(container.get("env") or ()):
                if entry.get("name") == name:
                    yield f"/spec/{group}/{number}", index, entry


def unused(snapshot: Snapshot) -> Iterator[Finding]:
    """Rights to use an identity belong to accounts that use them."""
    if snapshot.accounts_of is None:
        return
    used = {
        (workload.namespace, workload.service_account) for workload in snapshot.workloads if snapshot.is_bound(workload)
    }
    for grant in snapshot.binding_grants:
        idle = [
            (index, subject)
            for index, subject in enumerate(grant.subjects)
            if _is_looked_at(snapshot, subject) and not _uses_binding(snapshot, used, subject)
        ]
        if idle:
            yield Finding(
                Code.BINDING_UNUSED,
                f"ClusterRoleBinding {grant.name}",
                "it allows accounts to use an identity by a binding, and none of their pods asks for one",
                tuple(_idle(snapshot, subject, grant) for _, subject in idle[:MAX_SHOWN]),
                _revocation(snapshot, grant, [index for index, _ in idle]),
            )


def _is_looked_at(snapshot: Snapshot, subject: JsonObject) -> bool:
    return subject.get("kind") == "ServiceAccount" and snapshot.accounts_of in ("", subject.get("namespace"))


def _uses_binding(snapshot: Snapshot, used: set[tuple[str, str]], subject: JsonObject) -> bool:
    """Whether pods of an account ask for a binding, or images are pulled with one."""
    key = str(subject.get("namespace")), str(subject.get("name"))
    annotations = (snapshot.accounts.get(key) or {"metadata": {}})["metadata"].get("annotations") or {}
    return key in used or (key in snapshot.accounts and ACR_CLIENT_ID in annotations)


def _idle(snapshot: Snapshot, subject: JsonObject, grant: BindingGrant) -> str:
    namespace, name = str(subject.get("namespace")), str(subject.get("name"))
    state = "does not exist" if snapshot.knows_absent(namespace, name) else "has no pods with a binding"
    return f"ServiceAccount {namespace}/{name} {state}; client ids {', '.join(grant.client_ids[:MAX_SHOWN])}"


def _revocation(snapshot: Snapshot, grant: BindingGrant, idle: list[int]) -> str:
    if len(idle) == len(grant.subjects):
        return snapshot.commands.kubectl("delete", "clusterrolebinding", grant.name)
    operations: list[JsonObject] = [{"op": "remove", "path": f"/subjects/{index}"} for index in reversed(idle)]
    return snapshot.commands.patch("clusterrolebinding", grant.name, operations)


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
    Check(
        Group.WORKLOADS,
        "identity bindings are asked for on the pods",
        misplaced,
        frozenset({Area.WORKLOADS, Area.ACCOUNTS}),
    ),
    Check(
        Group.WORKLOADS,
        "apps with an identity binding do not rely on DefaultAzureCredential",
        default_credential,
        frozenset({Area.WORKLOADS, Area.MAPPING}),
    ),
    Check(
        Group.WORKLOADS,
        "rights to use an identity by a binding are used",
        unused,
        frozenset({Area.WORKLOADS, Area.ACCOUNTS, Area.GRANTS}),
    ),
)
