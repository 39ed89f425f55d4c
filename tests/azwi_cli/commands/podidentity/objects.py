"""Objects of aad-pod-identity and workloads, as an API server has them."""

from collections.abc import Mapping

from azure_workload_identity.types import JsonObject
from azwi_cli.commands.podidentity.bindings import API_VERSION, BEHAVIOR, POD_LABEL

CLIENT = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
OTHER_CLIENT = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"
RESOURCE = (
    "/subscriptions/9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e/resourceGroups/g/providers/"
    "Microsoft.ManagedIdentity/userAssignedIdentities/shop"
)
API_VERSIONS = {"Pod": "v1", "ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}


def identity(
    name: str = "shop", namespace: str = "shop", *, client_id: str = CLIENT, namespaced: bool = False, **spec: object
) -> JsonObject:
    """Write an AzureIdentity."""
    metadata = {"name": name, "namespace": namespace, "annotations": {BEHAVIOR: "namespaced"} if namespaced else {}}
    return {
        "apiVersion": API_VERSION,
        "kind": "AzureIdentity",
        "metadata": metadata,
        "spec": {"type": 0, "resourceID": RESOURCE, "clientID": client_id, **spec},
    }


def binding(
    name: str = "shop", namespace: str = "shop", *, selector: str = "shop", azure_identity: str = "shop"
) -> JsonObject:
    """Write an AzureIdentityBinding."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AzureIdentityBinding",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"azureIdentity": azure_identity, "selector": selector},
    }


def exception(labels: Mapping[str, str], namespace: str = "shop") -> JsonObject:
    """Write an AzurePodIdentityException."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AzurePodIdentityException",
        "metadata": {"name": "exempt", "namespace": namespace},
        "spec": {"podLabels": dict(labels)},
    }


def pod_template(name: str, *, labels: Mapping[str, str] | None = None, **spec: object) -> JsonObject:
    """Write the pod in a workload, labelled for the selector `shop` unless told otherwise."""
    return {
        "metadata": {"labels": {"app": name, **({POD_LABEL: "shop"} if labels is None else labels)}},
        "spec": {"containers": [{"name": "app", "image": "registry.test/app:1"}], **spec},
    }


def workload(
    kind: str = "Deployment",
    name: str = "web",
    namespace: str = "shop",
    *,
    owner: JsonObject | None = None,
    labels: Mapping[str, str] | None = None,
    **spec: object,
) -> JsonObject:
    """Write a live workload; `spec` is for its pods."""
    template = pod_template(name, labels=labels, **spec)
    metadata: JsonObject = {
        "name": name,
        "namespace": namespace,
        "uid": f"{namespace}-{kind}-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "own": "kept"},
    }
    if owner is not None:
        metadata["ownerReferences"] = [
            {"controller": True, "kind": owner["kind"], "apiVersion": owner["apiVersion"], **_owner(owner)}
        ]
    if kind == "CronJob":
        body: JsonObject = {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}}
    elif kind == "Job":
        template["metadata"]["labels"]["controller-uid"] = "x"
        body = {"selector": {"matchLabels": {"controller-uid": "x"}}, "template": template}
    elif kind == "Pod":
        metadata["labels"], body = template["metadata"]["labels"], template["spec"]
    else:
        body = {"selector": {"matchLabels": {"app": name}}, "template": template}
    api_version = API_VERSIONS.get(kind, "apps/v1")
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": body, "status": {"replicas": 1}}


def account(name: str, namespace: str = "shop", annotations: Mapping[str, str] | None = None) -> JsonObject:
    """Write a live ServiceAccount."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations or {})},
    }


def _owner(owner: JsonObject) -> JsonObject:
    return {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
