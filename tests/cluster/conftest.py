"""One control plane and one server for the whole run; a namespace of its own for every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_workload_identity import names
from testbed.cluster.control_plane import ControlPlane, Programs
from testbed.cluster.control_plane import control_plane as running_control_plane
from testbed.cluster.manifests import CLIENT_ID
from testbed.cluster.server import Server, install_account, register, scope, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder: it needs a real API server."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def programs() -> Programs:
    """Find etcd and kube-apiserver; without them skip, or fail where REQUIRE_CLUSTER=1."""
    try:
        return Programs.find()
    except FileNotFoundError as missing:
        if os.environ.get("REQUIRE_CLUSTER") == "1":
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def control_plane(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run etcd and kube-apiserver."""
    with running_control_plane(programs, tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="session")
def server_kubeconfig(control_plane: ControlPlane) -> Path:
    """Return the kubeconfig of the account that servers run as: it reads ServiceAccounts and nothing else."""
    return install_account(control_plane)


@pytest.fixture(scope="session")
def webhook(
    control_plane: ControlPlane, server_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Run the server with the settings of an upstream admin, registered for the scope `main`."""
    with serving(server_kubeconfig, tmp_path_factory.mktemp("webhook")) as server:
        register(control_plane, server, "main")
        yield server


@pytest.fixture
def namespace(control_plane: ControlPlane, webhook: Server) -> str:  # noqa: ARG001  the webhook must run
    """Create a namespace that the webhook watches, with the account `app` that has a client id."""
    created = control_plane.create_namespace(scope("main"))
    control_plane.create_service_account(created, "app", {names.CLIENT_ID: CLIENT_ID})
    return created


@pytest.fixture
def plain_namespace(control_plane: ControlPlane) -> str:
    """Create a namespace that no webhook watches, with the account `app`."""
    created = control_plane.create_namespace()
    control_plane.create_service_account(created, "app")
    return created
