"""The manifests that migrate one workload: its ServiceAccount, and itself with the opt-in and without the past."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.podidentity.bindings import POD_LABEL, AzureIdentity
from azwi_cli.commands.podidentity.workloads import LabelledWorkload
from azwi_cli.offline.owners import JOB_LABELS, pod_of

_METADATA: Final = ("name", "namespace", "labels", "annotations", "ownerReferences")
# Written by kubectl and the controllers; a manifest that has them would undo what they write next.
_WRITTEN_BY_OTHERS: Final = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "deprecated.daemonset.template.generation",
    "batch.kubernetes.io/",
)
_API_ACCESS: Final = "kube-api-access-"


def account(namespace: str, name: str, identity: AzureIdentity, tenant_id: str, token_expiration: int) -> JsonObject:
    """The ServiceAccount, with our annotations only: applied to one that is there it leaves the rest of it alone."""
    annotations = {names.CLIENT_ID: identity.client_id}
    if tenant := tenant_id or identity.tenant_id:
        annotations[names.TENANT_ID] = tenant
    if token_expiration != names.DEFAULT_TOKEN_EXPIRATION:
        annotations[names.TOKEN_EXPIRATION] = str(token_expiration)
    metadata = {"name": name, "namespace": namespace, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def workload(found: LabelledWorkload, service_account: str, proxy_port: int) -> JsonObject:
    """The live workload, ready to be applied: opted in, with the proxy, as that ServiceAccount."""
    live = deepcopy(found.manifest)
    made = {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {key: live["metadata"][key] for key in _METADATA if live["metadata"].get(key)},
        "spec": live["spec"],
    }
    _without_past(made)
    pod = pod_of(made)
    _opted_in(pod, proxy_port, keep_label=POD_LABEL in selector(found.manifest))
    pod["spec"].pop("serviceAccount", None)
    pod["spec"]["serviceAccountName"] = service_account
    return made


def selector(manifest: JsonObject) -> Mapping[str, object]:
    """The labels that a workload finds its pods by, which must stay on them."""
    found = manifest.get("spec", {}).get("selector") or {}
    expressions = {expression["key"]: expression for expression in found.get("matchExpressions") or ()}
    return {**(found.get("matchLabels") or ({} if expressions else found)), **expressions}


def _opted_in(pod: JsonObject, proxy_port: int, *, keep_label: bool) -> None:
    metadata = pod.setdefault("metadata", {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != POD_LABEL or keep_label}
    metadata["labels"] = {**labels, names.USE_LABEL: "true"}
    proxy = {names.INJECT_PROXY: "true"}
    if proxy_port != names.DEFAULT_PROXY_PORT:
        proxy[names.PROXY_PORT] = str(proxy_port)
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **proxy}
    metadata.pop("creationTimestamp", None)


def _without_past(made: JsonObject) -> None:
    """Take out what the cluster wrote into this one object and would refuse or contradict in its successor."""
    annotations = made["metadata"].get("annotations") or {}
    made["metadata"]["annotations"] = {
        key: value for key, value in annotations.items() if not key.startswith(_WRITTEN_BY_OTHERS)
    }
    if not made["metadata"]["annotations"]:
        del made["metadata"]["annotations"]
    if made["kind"] == "Job" and not made["spec"].get("manualSelector"):
        made["spec"].pop("selector", None)
        metadata = pod_of(made)["metadata"]
        metadata["labels"] = {key: value for key, value in metadata["labels"].items() if key not in JOB_LABELS}
    if made["kind"] == "Pod":
        made["spec"].pop("nodeName", None)
        _without_api_access(made["spec"])


def _without_api_access(spec: JsonObject) -> None:
    """Remove the API token's volume; the next admission adds it again."""
    spec["volumes"] = [volume for volume in spec.get("volumes") or () if not _is_api_access(volume)]
    for container in _containers(spec):
        mounts = container.get("volumeMounts") or ()
        container["volumeMounts"] = [mount for mount in mounts if not _is_api_access(mount)]


def _is_api_access(named: JsonObject) -> bool:
    return str(named["name"]).startswith(_API_ACCESS)


def _containers(spec: JsonObject) -> Iterator[JsonObject]:
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or ()
