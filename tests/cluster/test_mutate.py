"""`azwi mutate` and the webhook agree, and it finds in a cluster what its manifests lack."""

import json
from pathlib import Path

from click.testing import Result

from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import environment, pod, token_mounts, token_volumes
from testbed.cluster.server import TENANT_ID
from tests.azwi_cli.test_main import azwi


def test_as_the_webhook(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """With the account of a cluster, a pod gets offline what the webhook gives it when it is created."""
    manifest = pod(serviceAccountName="app")
    (tmp_path / "pod.json").write_text(json.dumps(manifest))
    cluster = ("--from-cluster", "--kubeconfig", str(control_plane.kubeconfig), "-n", namespace)
    done = azwi("mutate", "-f", str(tmp_path / "pod.json"), *cluster, "--tenant-id", TENANT_ID, "-o", "json")
    assert done.exit_code == 0, done.output

    offline, live = json.loads(done.stdout), control_plane.create_pod(namespace, manifest)

    assert injected(offline) == injected(live)


def injected(mutated: JsonObject) -> tuple[object, ...]:
    """Return what was injected into a pod of one container."""
    [container] = mutated["spec"]["containers"]
    return environment(container), token_mounts(container), token_volumes(mutated)


def test_account_that_is_nowhere(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """An account that the cluster does not have, either, is refused."""
    (tmp_path / "pod.json").write_text(json.dumps(pod(serviceAccountName="none")))
    cluster = ("--from-cluster", "--kubeconfig", str(control_plane.kubeconfig), "-n", namespace)
    done = azwi("mutate", "-f", str(tmp_path / "pod.json"), *cluster, "--tenant-id", TENANT_ID)
    assert done.exit_code == 1
    assert done.stderr.endswith("(service-account-not-found)\n")  # nothing else could be given


def test_mapping(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The identity mapping of a cluster counts when its ConfigMap is named, and a missing one is reported."""
    client_id = "2e6a9c41-7b0d-4f3e-8c52-9d1a6b7e0f34"
    mapping = {"mappings": [{"namespace": namespace, "serviceAccount": "default", "clientId": client_id}]}
    data = {"mapping.yaml": json.dumps(mapping)}
    metadata = {"name": "map", "namespace": namespace}
    control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    (tmp_path / "pod.json").write_text(json.dumps(pod()))
    cluster = ("--from-cluster", "--kubeconfig", str(control_plane.kubeconfig), "-n", namespace)

    def mutated(name: str) -> Result:
        named = ("--identity-mapping-configmap", name, "--tenant-id", TENANT_ID, "-o", "json")
        return azwi("mutate", "-f", str(tmp_path / "pod.json"), *cluster, *named)

    done = mutated(f"{namespace}/map")
    assert done.exit_code == 0, done.output
    assert environment(json.loads(done.stdout)["spec"]["containers"][0])["AZURE_CLIENT_ID"] == client_id
    assert "there is no ConfigMap" in mutated("map").stderr
