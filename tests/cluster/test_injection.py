"""Users' pods as they are stored."""

import json

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import (
    CLIENT_ID,
    container,
    environment,
    generated,
    own_spec,
    pod,
    token_mounts,
    token_volumes,
)
from testbed.cluster.server import TENANT_ID

TOKENS = "/var/run/secrets/azure/tokens"
V160_TOKENS = "/var/run/secrets/azure/wi"

IDENTITY = {
    "AZURE_CLIENT_ID": CLIENT_ID,
    "AZURE_TENANT_ID": TENANT_ID,
    "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
    "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
}


def test_labelled_pod_gets_identity_and_token(control_plane: ControlPlane, namespace: str) -> None:
    """A labelled pod with an annotated account gets the four variables and the token at both paths."""
    stored = control_plane.create_pod(namespace, pod(serviceAccountName="app"))

    (app,) = stored["spec"]["containers"]
    volumes = token_volumes(stored)
    assert environment(app) == IDENTITY
    assert [mount for mount in app["volumeMounts"] if mount["name"] in names.VOLUMES] == [
        {"name": volumes[0]["name"], "mountPath": V160_TOKENS, "readOnly": True},
        {"name": volumes[1]["name"], "mountPath": TOKENS, "readOnly": True},
    ]
    assert [volume["projected"]["sources"] for volume in volumes] == [
        [{"serviceAccountToken": {"audience": "api://AzureADTokenExchange", "expirationSeconds": 3600, "path": path}}]
        for path in ("token/azure-identity-token", "azure-identity-token")
    ]


def test_generated_name(control_plane: ControlPlane, namespace: str) -> None:
    """A pod whose name the API server completes, as a Deployment's, is mutated when kubectl creates it."""
    created = control_plane.create(namespace, generated(pod(serviceAccountName="app")))

    stored = json.loads(created.stdout)
    assert stored["metadata"]["name"].startswith("app-7d4b9c6f5d-")
    assert environment(stored["spec"]["containers"][0]) == IDENTITY
    assert len(token_volumes(stored)) == 2


def test_init_containers_and_native_sidecars(control_plane: ControlPlane, namespace: str) -> None:
    """Init containers and native sidecars get identity and token too."""
    others = [container("setup"), container("sidecar", restartPolicy="Always")]

    stored = control_plane.create_pod(namespace, pod(serviceAccountName="app", initContainers=others))

    for init in stored["spec"]["initContainers"]:
        assert environment(init) == IDENTITY
        assert token_mounts(init) == [V160_TOKENS, TOKENS]


def test_unlabelled_pod_is_left_alone(control_plane: ControlPlane, namespace: str, plain_namespace: str) -> None:
    """A pod without the label is stored as where no webhook is."""
    unlabelled = pod(labels={}, serviceAccountName="app")

    stored = control_plane.create_pod(namespace, unlabelled)

    assert "env" not in stored["spec"]["containers"][0]
    assert token_volumes(stored) == []
    assert own_spec(stored) == own_spec(control_plane.create_pod(plain_namespace, unlabelled))


NEW_FIELDS: dict[str, JsonObject] = {
    "pod resources": {
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        }
    },
    "hostname override": {"hostnameOverride": "a-name-of-its-own"},
    "restart rules": {
        "containers": [
            container(
                restartPolicy="Never",
                restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
            )
        ]
    },
    "variable from a file": {
        "volumes": [{"name": "variables", "emptyDir": {}}],
        "containers": [
            container(
                env=[
                    {
                        "name": "COLOUR",
                        "valueFrom": {"fileKeyRef": {"volumeName": "variables", "path": "env", "key": "COLOUR"}},
                    }
                ]
            )
        ],
    },
}


@pytest.mark.parametrize("fields", NEW_FIELDS.values(), ids=NEW_FIELDS)
def test_new_fields_survive(
    control_plane: ControlPlane, namespace: str, plain_namespace: str, fields: JsonObject
) -> None:
    """Fields that are newer than client libraries are stored as they would be without the webhook."""
    written = pod(serviceAccountName="app", **fields)

    stored = control_plane.create_pod(namespace, written)

    expected = control_plane.create_pod(plain_namespace, written)
    assert environment(stored["spec"]["containers"][0]).items() >= IDENTITY.items()
    assert own_spec(stored) == own_spec(expected)
    for field in fields.keys() - {"containers", "volumes"}:
        assert stored["spec"][field] == fields[field]


def test_users_mount_at_the_token_path(control_plane: ControlPlane, namespace: str) -> None:
    """A pod that mounts something of its own at the token directory finds its token elsewhere."""
    mount = {"name": "mine", "mountPath": TOKENS}

    stored = control_plane.create_pod(
        namespace,
        pod(
            serviceAccountName="app",
            containers=[container(volumeMounts=[mount])],
            volumes=[{"name": "mine", "emptyDir": {}}],
        ),
    )

    (app,) = stored["spec"]["containers"]
    paths = [mount["mountPath"] for mount in app["volumeMounts"]]
    assert mount in app["volumeMounts"]
    assert len(paths) == len(set(paths))
    assert token_mounts(app) == [V160_TOKENS]
    assert environment(app)["AZURE_FEDERATED_TOKEN_FILE"] == f"{V160_TOKENS}/token/azure-identity-token"


def test_stored_pod_created_again(control_plane: ControlPlane, namespace: str) -> None:
    """A pod that was exported after its mutation can be created again and changes no more."""
    stored = control_plane.create_pod(namespace, pod(serviceAccountName="app"))

    copy = {**stored, "metadata": {"name": "copy", "labels": stored["metadata"]["labels"]}}
    again = control_plane.create_pod(namespace, copy)

    assert again["spec"] == stored["spec"]
