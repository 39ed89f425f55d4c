"""What `azwi serviceaccount create -o aso` prints, on a real API server with the operator's custom resources."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from testbed.cluster.control_plane import ControlPlane
from tests.azwi_cli.test_main import azwi

CRDS: Final = Path(__file__).parent / "aso" / "crds.yaml"
KINDS: Final = "userassignedidentities.managedidentity.azure.com"


@pytest.fixture
def operator(control_plane: ControlPlane) -> Iterator[None]:
    """Install the operator's custom resources, and delete them."""
    try:
        done = control_plane.kubectl("apply", "--server-side", "-f", str(CRDS))
        assert done.returncode == 0, done.stderr
        control_plane.wait_until_served(KINDS, "federatedidentitycredentials.managedidentity.azure.com")
        yield
    finally:
        control_plane.kubectl("delete", "--ignore-not-found", "-f", str(CRDS))


def test_objects(control_plane: ControlPlane, operator: None) -> None:  # noqa: ARG001  the fixture's effect
    """The API server accepts the objects, with strict validation of fields against the operator's schemas."""
    namespace = control_plane.create_namespace()
    named = ("--identity-name=web", "--identity-resource-group=identities", "--identity-location=westeurope")
    flags = (f"--namespace={namespace}", "--service-account-name=web", f"--kubeconfig={control_plane.kubeconfig}")
    text = azwi("sa", "create", "-o", "aso", *flags, *named, "--label").stdout
    applied = control_plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=text)
    assert applied.returncode == 0, applied.stderr
    assert len(applied.stdout.splitlines()) == 3
    path = f"/apis/managedidentity.azure.com/v1api20230131/namespaces/{namespace}/federatedidentitycredentials/web"
    assert control_plane.request("GET", path)["spec"]["issuer"] == "https://issuer.azwi.test/"
    wrong = text.replace("subject:", "subjects:")
    refused = control_plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=wrong)
    assert ".spec.subjects: field not declared in schema" in refused.stderr
