"""What the kubelet needs to pull images with a ServiceAccount's token: rights of the nodes, versions of the kubelets.

https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/#service-account-token-for-image-pulls
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError
from azwi_cli.commands.doctor.findings import Area, Unreadable
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import Snapshot

# The annotations of ServiceAccounts that the credential provider of Azure Container Registry reads; the tenant is for
# its own exchange, and not for that of AKS through an identity binding.
ACR_CLIENT_ID: Final = "kubernetes.azure.com/acr-client-id"
ACR_TENANT_ID: Final = "kubernetes.azure.com/acr-tenant-id"
# Kubernetes' own, for audiences that no volume of the pod has.
AUDIENCE_VERB: Final = "request-serviceaccounts-token-audience"
# A node that no Node object belongs to: its rights are those of the group.
_NODE: Final = "system:node:azwi-doctor"
MAX_ACCOUNTS: Final = 100
_API: Final = "authorization.k8s.io/v1"
_AUDIENCES: Final = (names.DEFAULT_AUDIENCE, names.BINDING_AUDIENCE)


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Ask for each account that is annotated for it; where none is, nothing is asked."""
    keys = sorted(key for key, account in snapshot.accounts.items() if wants_images(account))
    if not keys:
        return snapshot
    if len(keys) > MAX_ACCOUNTS:
        why = f"more than {MAX_ACCOUNTS} accounts are annotated for them"
        reader.unreadable.append(Unreadable("image pulls", why, Area.IMAGES, "--namespace"))
    nodes = reader.list(Area.IMAGES, "nodes", kube.path("v1", "nodes")) or ()
    kubelets = {node["metadata"]["name"]: _version(node) for node in nodes}
    return replace(snapshot, image_audiences=_audiences(reader, keys[:MAX_ACCOUNTS]), kubelets=kubelets)


def wants_images(account: JsonObject) -> bool:
    """Whether a ServiceAccount is annotated for image pulls."""
    annotations = account["metadata"].get("annotations") or {}
    return ACR_CLIENT_ID in annotations or ACR_TENANT_ID in annotations


def _version(node: JsonObject) -> str:
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", ""))


def _audiences(reader: Reader, keys: list[tuple[str, str]]) -> Mapping[tuple[str, str], frozenset[str]]:
    found = {}
    for namespace, name in keys:
        reader.on_step(f"asking for which audiences nodes may request tokens of {namespace}/{name}")
        try:
            allowed = [audience for audience in _AUDIENCES if _may_request(reader, namespace, name, audience)]
        except ApiError as error:
            needs = "permission to create subjectaccessreviews"
            reader.unreadable.append(Unreadable("image pulls", error.message, Area.IMAGES, needs))
            break
        found[namespace, name] = frozenset(allowed)
    return found


def _may_request(reader: Reader, namespace: str, name: str, audience: str) -> bool:
    """As the API server's NodeRestriction asks for a token request of a node."""
    attributes = {"group": "", "verb": AUDIENCE_VERB, "resource": audience, "namespace": namespace, "name": name}
    groups = ["system:nodes", "system:authenticated"]
    spec = {"user": _NODE, "groups": groups, "resourceAttributes": attributes}
    review = {"apiVersion": _API, "kind": "SubjectAccessReview", "spec": spec}
    answer = reader.cluster.create(kube.path(_API, "subjectaccessreviews"), review)
    return bool((answer.get("status") or {}).get("allowed"))
