"""Can images be pulled with the token of a ServiceAccount, by the kubelet's credential provider?

Only what API objects show is looked at: the kubelet's own configuration is a file on each node.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.reads.images import ACR_CLIENT_ID, ACR_TENANT_ID, AUDIENCE_VERB, wants_images
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from webhook.admission import values
from webhook.admission.review import Decision

# Since then the kubelet requests such tokens by default:
# https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/ , of the name
# KubeletServiceAccountTokenForCredentialProviders.
MIN_MINOR: Final = 34
MAX_NAMED: Final = 5
_VERSION: Final = re.compile(r"v?1\.(\d{1,3})\.")
_KEYS: Final = (ACR_CLIENT_ID, ACR_TENANT_ID)
_RBAC: Final = "rbac.authorization.k8s.io"


def complete(snapshot: Snapshot) -> Iterator[Finding]:
    """The annotations of the credential provider are on the ServiceAccount, and usable."""
    for workload in snapshot.workloads:
        found = {
            key: workload.annotations[key] for key in (ACR_CLIENT_ID, ACR_TENANT_ID) if key in workload.annotations
        }
        account = snapshot.accounts.get((workload.namespace, workload.service_account))
        if not found or account is None or wants_images(account):
            continue
        on = snapshot.commands.annotate("serviceaccount", workload.namespace, workload.service_account, {**found})
        gone: JsonObject = {"metadata": {"annotations": dict.fromkeys(found)}}
        yield Finding(
            Code.IMAGE_PULL_INCOMPLETE,
            workload.subject,
            "its pods are annotated for image pulls: the kubelet reads these annotations of the ServiceAccount only",
            tuple(f"{key}={value}" for key, value in found.items()),
            f"{on} && {snapshot.commands.merge_into_pods(workload.owner, gone)}",
        )
    for namespace, name, annotations in _annotated(snapshot):
        client_id = annotations.get(ACR_CLIENT_ID, "")
        if values.is_uuid(client_id):
            continue
        state = "is not a UUID" if client_id else "is missing"
        own = annotations.get(names.CLIENT_ID, "").strip()
        yield Finding(
            Code.IMAGE_PULL_INCOMPLETE,
            f"ServiceAccount {namespace}/{name}",
            f"{ACR_CLIENT_ID} {state}, so the credential provider gets no token of the registry",
            tuple(f"{key}={annotations[key]}" for key in _KEYS if key in annotations),
            snapshot.commands.annotate(
                "serviceaccount", namespace, name, {ACR_CLIENT_ID: own if values.is_uuid(own) else "CLIENT_ID"}
            ),
        )


def _annotated(snapshot: Snapshot) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Namespace, name and annotations of the accounts that images are pulled with."""
    for (namespace, name), account in snapshot.accounts.items():
        if wants_images(account):
            yield namespace, name, account["metadata"]["annotations"]


def allowed(snapshot: Snapshot) -> Iterator[Finding]:
    """Nodes may request tokens with the audience that the credential provider needs.

    The API server allows a node the audiences of the pod's own volumes; any other needs a right of its own.
    """
    for namespace, name, annotations in _annotated(snapshot):
        granted = snapshot.image_audiences.get((namespace, name))
        if granted is None:
            continue
        audience = names.DEFAULT_AUDIENCE if ACR_TENANT_ID in annotations else names.BINDING_AUDIENCE
        lacking = [
            workload
            for workload in snapshot.workloads
            if (workload.namespace, workload.service_account) == (namespace, name)
            and audience not in _volume_audiences(snapshot, workload)
        ]
        if audience in granted or not lacking:
            continue
        more = f" and {len(lacking) - MAX_NAMED} more" if len(lacking) > MAX_NAMED else ""
        named = ", ".join(workload.subject for workload in lacking[:MAX_NAMED]) + more
        yield Finding(
            Code.IMAGE_PULL_FORBIDDEN,
            f"ServiceAccount {namespace}/{name}",
            f"it is annotated for image pulls, and nodes may not request its token for {audience}: the kubelet pulls "
            "without it",
            (
                f"verb {AUDIENCE_VERB} on {audience} is not allowed to system:nodes",
                f"no volume of {named} has that audience",
            ),
            snapshot.commands.apply(_rights(namespace, name, audience)),
        )


def _volume_audiences(snapshot: Snapshot, workload: LiveWorkload) -> set[str]:
    """The audiences of the tokens in the volumes that its pods get."""
    volumes = (workload.pod.get("spec") or {}).get("volumes") or ()
    sources = [source for volume in volumes for source in (volume.get("projected") or {}).get("sources") or ()]
    own = {str((source.get("serviceAccountToken") or {}).get("audience", "")) for source in sources}
    injected = snapshot.audiences(workload) if workload.outcome.decision is Decision.MUTATE else ()
    return own | set(injected)


def _rights(namespace: str, name: str, audience: str) -> JsonObject:
    """A Role for that account alone, and its binding to all nodes."""
    role = f"azwi-image-pull-{namespace}-{name}"
    rule = {"apiGroups": [""], "resources": [audience], "resourceNames": [name], "verbs": [AUDIENCE_VERB]}
    metadata = {"name": role, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": role},
                "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": "system:nodes"}],
            },
        ],
    }


def supported(snapshot: Snapshot) -> Iterator[Finding]:
    """The kubelets are new enough to request tokens for image pulls."""
    old = [f"{node}: {version}" for node, version in snapshot.kubelets.items() if _is_old(version)]
    for namespace, name, _ in _annotated(snapshot) if old else ():
        yield Finding(
            Code.IMAGE_PULL_UNSUPPORTED,
            f"ServiceAccount {namespace}/{name}",
            f"it is annotated for image pulls, and {len(old)} of {len(snapshot.kubelets)} kubelets are older than "
            f"1.{MIN_MINOR}: they do not request its token",
            tuple(old[:MAX_NAMED]),
            "az aks nodepool upgrade --resource-group GROUP --cluster-name CLUSTER --name POOL "
            "--kubernetes-version VERSION",
        )


def _is_old(version: str) -> bool:
    match = _VERSION.match(version)
    return match is not None and int(match[1]) < MIN_MINOR


CHECKS: Final = (
    Check(
        Group.WORKLOADS,
        "accounts for image pulls are annotated completely",
        complete,
        frozenset({Area.ACCOUNTS, Area.WORKLOADS}),
    ),
    Check(
        Group.WORKLOADS,
        "nodes may request the tokens that images are pulled with",
        allowed,
        frozenset({Area.ACCOUNTS, Area.WORKLOADS, Area.IMAGES}),
    ),
    Check(
        Group.WORKLOADS,
        "kubelets pull images with tokens of accounts",
        supported,
        frozenset({Area.ACCOUNTS, Area.IMAGES}),
    ),
)
