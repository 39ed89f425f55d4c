"""kubectl's messages to a user whose pod is refused or incomplete."""

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, environment, pod

DENIED = 'admission webhook "mutation.azure-workload-identity.io" denied the request: '


def refusal(control_plane: ControlPlane, namespace: str, written: JsonObject) -> str:
    """Create a pod that is refused, and return the webhook's message."""
    created = control_plane.create(namespace, written)
    assert created.returncode == 1
    assert created.stdout == ""
    head, denied, message = created.stderr.strip().partition(DENIED)
    assert denied, created.stderr
    assert head.startswith("Error from server (BadRequest): ")
    return message


@pytest.mark.parametrize("expiry", ["100", "invalid"])
def test_expiry_of_the_pod(control_plane: ControlPlane, namespace: str, expiry: str) -> None:
    """A pod whose token expiry is too short or no number is refused with the bounds."""
    written = pod(serviceAccountName="app", annotations={names.TOKEN_EXPIRATION: expiry})

    assert refusal(control_plane, namespace, written) == (
        f"azure.workload.identity/service-account-token-expiration '{expiry}' of the pod is not a number of "
        "seconds from 3600 to 86400 (invalid-token-expiration)"
    )


@pytest.mark.parametrize("expiry", ["100", "invalid"])
def test_expiry_of_the_account(control_plane: ControlPlane, namespace: str, expiry: str) -> None:
    """A pod is refused when its account's token expiry is too short or no number."""
    annotations = {names.CLIENT_ID: CLIENT_ID, names.TOKEN_EXPIRATION: expiry}
    control_plane.create_service_account(namespace, "hasty", annotations)

    assert refusal(control_plane, namespace, pod(serviceAccountName="hasty")) == (
        f"azure.workload.identity/service-account-token-expiration '{expiry}' of ServiceAccount hasty is not "
        "a number of seconds from 3600 to 86400 (invalid-token-expiration)"
    )


def test_account_without_client_id(control_plane: ControlPlane, namespace: str) -> None:
    """A pod whose account has no client id is created, and kubectl prints a warning that says so."""
    control_plane.create_service_account(namespace, "bare")

    created = control_plane.create(namespace, pod(serviceAccountName="bare"))

    assert created.returncode == 0
    assert created.stderr == (
        "Warning: azure-workload-identity: ServiceAccount bare has no azure.workload.identity/client-id "
        "annotation, so AZURE_CLIENT_ID is not injected (no-client-id)\n"
    )


def test_client_id_added_later(control_plane: ControlPlane, namespace: str) -> None:
    """A client id that is added to an account is in the very next pod."""
    control_plane.create_service_account(namespace, "late")
    control_plane.create_pod(namespace, pod("before", serviceAccountName="late"))

    control_plane.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/serviceaccounts/late",
        {"metadata": {"annotations": {names.CLIENT_ID: CLIENT_ID}}},
        content_type="application/merge-patch+json",
    )
    stored = control_plane.create_pod(namespace, pod("after", serviceAccountName="late"))

    assert environment(stored["spec"]["containers"][0])["AZURE_CLIENT_ID"] == CLIENT_ID
