"""The identity that pods of a ServiceAccount get: as the webhook gives it to a pod that is created in a dry run.

That is the only answer that knows the webhook's settings and its identity mapping. Without permission to create pods,
or without a webhook, the ServiceAccount's annotations and the flags have to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.clouds import Cloud
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.console.errors import CommandError, UsageError
from webhook.admission import values
from webhook.admission.identity import Account

_CONTAINER: Final = {
    "name": "azwi",
    "image": "registry.k8s.io/pause:3.10",
    "resources": {name: {"cpu": "1m", "memory": "4Mi"} for name in ("requests", "limits")},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """What a pod of a ServiceAccount is given; `seconds` is how long its token lives."""

    namespace: str
    service_account: str
    client_id: str
    tenant_id: str
    authority_host: str
    audience: str
    seconds: int = names.DEFAULT_TOKEN_EXPIRATION

    def variables(self, token_file: str) -> dict[str, str]:
        """The variables that the webhook injects, for a token at that path."""
        return {
            names.ENV_CLIENT_ID: self.client_id,
            names.ENV_TENANT_ID: self.tenant_id,
            names.ENV_TOKEN_FILE: token_file,
            names.ENV_AUTHORITY_HOST: self.authority_host,
        }


def resolve(cluster: Cluster, service_account: str, flags: Mapping[str, Any], cloud: Cloud) -> PodIdentity:
    """The identity; a flag counts more than what a pod would get.

    Raises:
        CommandError: when there is no such ServiceAccount, or a part of the identity is not known.
    """
    namespace = cluster.namespace
    found = cluster.find(kube.path("v1", "serviceaccounts", namespace, service_account))
    if found is None:
        raise CommandError(
            f"there is no ServiceAccount {service_account} in namespace {namespace}",
            "is --namespace the right one? kubectl get serviceaccounts --all-namespaces shows all",
        )
    account = Account.from_metadata(found["metadata"])
    by_account = PodIdentity(
        namespace,
        service_account,
        account.client_id,
        account.tenant_id,
        f"{cloud.authority_host}/",
        cloud.audience,
        values.integer(account.token_expiration) or names.DEFAULT_TOKEN_EXPIRATION,
    )
    admitted, reason = _admitted(cluster, by_account)
    return _checked(_with_flags(admitted or by_account, flags), reason)


def _with_flags(identity: PodIdentity, flags: Mapping[str, Any]) -> PodIdentity:
    given = {
        "client_id": flags["client_id"],
        "tenant_id": flags["tenant_id"],
        "authority_host": f"{flags['authority_host'].rstrip('/')}/" if flags["authority_host"] else "",
        "audience": flags["audience"],
        "seconds": flags["token_expiration"],
    }
    return replace(identity, **{name: value for name, value in given.items() if value})


def _checked(identity: PodIdentity, reason: str) -> PodIdentity:
    account = f"ServiceAccount {identity.namespace}/{identity.service_account}"
    seen = f"; a pod in a dry run could not be asked: {reason}" if reason else ""
    if not identity.client_id:
        raise CommandError(
            f"{account} has no client id, so its pods have no identity{seen}",
            "give it one with azwi serviceaccount create, or try one that it does not have yet with --client-id",
        )
    if not values.is_id(identity.client_id) or not values.is_id(identity.tenant_id or "-"):
        raise CommandError(
            f"the client id or tenant id of {account} cannot be one",
            "run azwi doctor: it shows what is wrong with the annotation, and how to fix it",
        )
    if not identity.tenant_id:
        raise UsageError(
            f"--tenant-id is required: {account} names no tenant{seen}", "az account show --query tenantId"
        )
    return identity


def _admitted(cluster: Cluster, identity: PodIdentity) -> tuple[PodIdentity | None, str]:
    """The identity as the webhook injects it; None and the reason where that cannot be seen."""
    pod: JsonObject = {
        "metadata": {"generateName": "azwi-run-", "labels": {names.USE_LABEL: "true"}},
        "spec": {
            "serviceAccountName": identity.service_account,
            "restartPolicy": "Never",
            "containers": [_CONTAINER],
        },
    }
    try:
        stored = cluster.create(kube.path("v1", "pods", identity.namespace), pod, dry_run=True)
    except ApiError as error:
        return None, error.message.removeprefix("the API server answered: ")
    variables = {
        variable["name"]: str(variable.get("value") or "")
        for container in stored["spec"]["containers"]
        if container["name"] == _CONTAINER["name"]
        for variable in container.get("env") or ()
    }
    projection = _projection(stored)
    if projection is None or names.ENV_TOKEN_FILE not in variables:
        return None, "no webhook gave it an identity"
    return PodIdentity(
        identity.namespace,
        identity.service_account,
        variables.get(names.ENV_CLIENT_ID, ""),
        variables.get(names.ENV_TENANT_ID, ""),
        variables.get(names.ENV_AUTHORITY_HOST, "") or identity.authority_host,
        str(projection.get("audience") or identity.audience),
        int(projection.get("expirationSeconds") or identity.seconds),
    ), ""


def _projection(pod: JsonObject) -> JsonObject | None:
    """The ServiceAccount's token in the volume that the webhook adds, v1.6.0's and v1.6.1's too."""
    for volume in pod["spec"].get("volumes") or ():
        if volume["name"].startswith(names.VOLUME_PREFIX):
            for source in (volume.get("projected") or {}).get("sources") or ():
                token = source.get("serviceAccountToken")
                if isinstance(token, dict):
                    return token
    return None
