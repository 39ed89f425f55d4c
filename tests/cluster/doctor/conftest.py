"""A control plane where no other test leaves a webhook, shared by the tests of the doctor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from azwi.azure.options import AZURE_VARIABLES
from tests.cluster.control_plane import ControlPlane, Programs
from tests.cluster.control_plane import control_plane as running_control_plane
from tests.cluster.doctor.patient import Patient
from tests.cluster.manifests import CLIENT_ID
from tests.cluster.server import Server, install_account, register, scope, serving
from webhook import names


@pytest.fixture(scope="package")
def plane(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run a control plane where no other test leaves a webhook."""
    with running_control_plane(programs, tmp_path_factory.mktemp("doctor")) as running:
        yield running


@pytest.fixture(scope="package")
def server(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the webhook there."""
    with serving(install_account(plane), tmp_path_factory.mktemp("doctor-webhook")) as running:
        register(plane, running, "main")
        yield running


@pytest.fixture
def patient(
    plane: ControlPlane,
    server: Server,  # noqa: ARG001  the webhook must run
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Patient:
    """Return a healthy one: account `app` has an identity."""
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "no-cli"))
    namespace = plane.create_namespace(scope("main"))
    plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    return Patient(plane, namespace, tmp_path)
