"""A control plane where no other test leaves a webhook, shared by the tests of the doctor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_workload_identity import names
from azwi_cli.azure.options import AZURE_VARIABLES
from testbed.azure_management import Azure, azure_management
from testbed.azure_management.login import install_az
from testbed.cluster.control_plane import ControlPlane, Programs
from testbed.cluster.control_plane import control_plane as running_control_plane
from testbed.cluster.manifests import CLIENT_ID
from testbed.cluster.server import Server, install_account, register, scope, serving
from tests.cluster.support.doctor_release import LABELS, endpoints, server_deployment
from tests.cluster.support.installation import Installation, installed
from tests.cluster.support.patient import Patient, account


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


@pytest.fixture
def release(patient: Patient, plane: ControlPlane) -> Iterator[Installation]:
    """Install a release of which no server runs; the patient's namespace is its."""
    with installed(plane, patient.directory) as found:
        service = f"/api/v1/namespaces/{found.name}/services/{names.WEBHOOK_SERVICE}"
        plane.request("PATCH", service, {"spec": {"selector": LABELS}}, content_type="application/merge-patch+json")
        plane.apply(server_deployment(found), endpoints(found))
        patient.namespace = plane.create_namespace(scope(found.name))
        patient.apply(account({names.CLIENT_ID: CLIENT_ID}))
        yield found


@pytest.fixture
def azure(tmp_path: Path, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    """Run ARM and Graph, where the patient's admin is logged in."""
    with azure_management(tmp_path / "azure") as served:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(served.ca_file))
        monkeypatch.setenv("PATH", f"{install_az(served, tmp_path)}:/usr/bin:/bin")
        patient.flags = [f"--arm-endpoint={served.arm}", f"-s={served.subscription}", "--auth-method=cli"]
        yield served
