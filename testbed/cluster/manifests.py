"""Pods as users write them, and how tests read what was stored."""

import json
import re
from collections.abc import Mapping
from typing import Any

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject

CLIENT_ID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
USE = {names.USE_LABEL: "true"}
OURS = {names.ENV_CLIENT_ID, names.ENV_TENANT_ID, names.ENV_TOKEN_FILE, names.ENV_AUTHORITY_HOST}
IMAGE = "registry.test/app:1"


def pod(
    name: str = "app",
    *,
    labels: Mapping[str, str] = USE,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,  # noqa: ANN401  fields of a pod's spec
) -> JsonObject:
    """Write a pod of one container; `spec` adds fields to its spec or replaces them."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels), "annotations": dict(annotations or {})},
        "spec": {"containers": [container()], **spec},
    }


def generated(named: JsonObject, prefix: str = "app-7d4b9c6f5d-") -> JsonObject:
    """Make the pod one that a ReplicaSet creates: the API server completes its name."""
    metadata = {key: value for key, value in named["metadata"].items() if key != "name"}
    return {**named, "metadata": {**metadata, "generateName": prefix}}


def container(name: str = "app", **fields: Any) -> JsonObject:  # noqa: ANN401  fields of a container
    """Write a container."""
    return {"name": name, "image": IMAGE, **fields}


def environment(in_container: JsonObject) -> JsonObject:
    """Return the variables of a container with their values."""
    return {variable["name"]: variable.get("value") for variable in in_container.get("env", [])}


def token_volumes(stored: JsonObject) -> list[JsonObject]:
    """Return the volumes of a stored pod that have a token for Entra."""
    return [
        volume
        for volume in stored["spec"].get("volumes", [])
        if volume["name"] in names.VOLUMES or volume["name"].startswith(names.VOLUME_PREFIX)
    ]


def token_mounts(in_container: JsonObject) -> list[str]:
    """Return the paths at which a container sees the token volumes."""
    mounts = in_container.get("volumeMounts", [])
    return [mount["mountPath"] for mount in mounts if mount["name"] in names.VOLUMES]


def own_spec(stored: JsonObject) -> JsonObject:
    """Return a stored pod's spec without this webhook's additions and the API server's random names."""
    spec: JsonObject = json.loads(re.sub(r"kube-api-access-\w{5}", "kube-api-access", json.dumps(stored["spec"])))
    spec["volumes"] = [volume for volume in spec.get("volumes", []) if volume["name"] not in names.VOLUMES]
    for user_container in (*spec["containers"], *spec.get("initContainers", [])):
        user_container["volumeMounts"] = [
            mount for mount in user_container.get("volumeMounts", []) if mount["name"] not in names.VOLUMES
        ]
        user_container["env"] = [variable for variable in user_container.get("env", []) if variable["name"] not in OURS]
    return spec
