"""Whether ServiceAccounts whose pods ask for an identity binding may use their identity: a review for each."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError
from azwi_cli.commands.doctor.findings import Area, Unreadable
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import BINDING_GROUP, BINDING_VERB, BindingGrant, Snapshot

MAX_REVIEWS: Final = 200
_API: Final = "authorization.k8s.io/v1"
_RBAC: Final = "rbac.authorization.k8s.io/v1"


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Ask for each account; of a verb that nobody may ask for nothing is known."""
    keys = sorted({(workload.namespace, workload.service_account) for workload in snapshot.bound()})
    if len(keys) > MAX_REVIEWS:
        reader.unreadable.append(
            Unreadable("identity bindings", f"more than {MAX_REVIEWS} accounts use one", Area.BINDINGS, "--namespace")
        )
    allowed = {}
    for namespace, name in keys[:MAX_REVIEWS]:
        identity = snapshot.identity(namespace, name)
        if identity is None:
            continue
        reader.on_step(f"asking whether {namespace}/{name} may use its identity")
        try:
            answer = reader.cluster.create(
                kube.path(_API, "subjectaccessreviews"), _review(namespace, name, identity.client_id)
            )
        except ApiError as error:
            reader.unreadable.append(
                Unreadable(
                    "identity bindings", error.message, Area.BINDINGS, "permission to create subjectaccessreviews"
                )
            )
            break
        allowed[namespace, name] = bool((answer.get("status") or {}).get("allowed"))
    return replace(snapshot, binding_allowed=allowed)


def read_grants(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read who may use identities, where pods have bindings or the webhook is set up for them."""
    if reader.scope.is_partial or not (snapshot.has_token_proxy or any(snapshot.bound())):
        return snapshot
    roles = reader.list(Area.GRANTS, "ClusterRoles", kube.path(_RBAC, "clusterroles")) or ()
    granting = {role["metadata"]["name"]: found for role in roles if (found := tuple(_client_ids(role)))}
    if not granting:
        return snapshot
    bindings = reader.list(Area.GRANTS, "ClusterRoleBindings", kube.path(_RBAC, "clusterrolebindings")) or ()
    grants = [
        BindingGrant(binding, granting[role])
        for binding in bindings
        if (role := (binding.get("roleRef") or {}).get("name")) in granting
    ]
    return replace(snapshot, binding_grants=grants)


def _client_ids(role: JsonObject) -> Iterator[str]:
    """The client ids that a ClusterRole allows to use; roles with wildcards are not about bindings."""
    for rule in role.get("rules") or ():
        if BINDING_GROUP in (rule.get("apiGroups") or ()) and BINDING_VERB in (rule.get("verbs") or ()):
            yield from rule.get("resources") or ()


def _review(namespace: str, name: str, client_id: str) -> JsonObject:
    """As the token proxy asks: https://learn.microsoft.com/azure/aks/identity-bindings ."""
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    attributes = {"group": BINDING_GROUP, "verb": BINDING_VERB, "resource": client_id}
    spec = {"user": f"system:serviceaccount:{namespace}:{name}", "groups": groups, "resourceAttributes": attributes}
    return {"apiVersion": _API, "kind": "SubjectAccessReview", "spec": spec}
