"""The image's server against a real API server: the client library that the image carries is cut down."""

import shutil
from pathlib import Path

import pytest
import yaml

from azure_workload_identity import names
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, USE, pod
from testbed.cluster.server import serving, settings_of
from testbed.pods import envelope
from tests.image.container import Machine


@pytest.mark.image
def test_server_in_its_container(
    control_plane: ControlPlane, server_kubeconfig: Path, machine: Machine, tmp_path: Path
) -> None:
    """It watches ServiceAccounts and admits pods, as the image's user on a read-only root."""
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(server_kubeconfig, kubeconfig)
    kubeconfig.chmod(0o644)
    authority = Path(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority"])
    settings = {key: value for key, value in settings_of(kubeconfig).items() if key != "PATH"}

    def command(flags: list[str]) -> list[str]:
        mounts = {path: str(path) for path in (kubeconfig, authority, tmp_path / "certificates")}
        return machine.command(*flags, mounts=mounts, environment=settings)

    namespace = control_plane.create_namespace()
    control_plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    with serving(kubeconfig, tmp_path, command=command) as server:
        created = pod("web", serviceAccountName="app")
        created["metadata"].setdefault("labels", {}).update(USE)
        status, answer = server.review(envelope(created, uid="1", namespace=namespace, operation="CREATE"))
    assert status == 200
    assert answer["response"]["allowed"] is True
    assert "patch" in answer["response"]
