"""The server's permissions, and its behaviour without them."""

from pathlib import Path

import pytest

from azure_workload_identity import names
from testbed.cluster.control_plane import ApiError, ControlPlane
from testbed.cluster.manifests import USE, pod
from testbed.cluster.server import configuration, install_account, scope, serving, wait_until_true


def can(control_plane: ControlPlane, kubeconfig: Path, verb: str, resource: str) -> bool:
    """Ask the API server whether the owner of a kubeconfig may do something in all namespaces."""
    return control_plane.may(verb, resource, "--all-namespaces", kubeconfig=kubeconfig)


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        ("list", "serviceaccounts", True),
        ("list", "secrets", False),
        ("list", "pods", False),
        ("create", "serviceaccounts/token", False),
        ("update", "mutatingwebhookconfigurations", False),
    ],
)
def test_account_of_the_server(
    control_plane: ControlPlane, server_kubeconfig: Path, verb: str, resource: str, *, allowed: bool
) -> None:
    """The account that all these tests' server runs as reads ServiceAccounts and nothing else."""
    wait_until_true(lambda: can(control_plane, server_kubeconfig, "list", "serviceaccounts"), "its role is in force")
    assert can(control_plane, server_kubeconfig, verb, resource) is allowed


def test_server_that_loses_its_permission(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A server that may no longer read ServiceAccounts answers promptly and names what it may not do."""
    kubeconfig = install_account(control_plane, "powerless")
    with serving(kubeconfig, tmp_path) as server:
        scoped = {"objectSelector": {"matchLabels": USE}}
        control_plane.apply(configuration("powerless", server.url + names.MUTATE_PATH, server.ca_pem, **scoped))
        namespace = control_plane.create_namespace(scope("powerless"))
        control_plane.create_service_account(namespace, "app")  # without a client id: read when a pod asks
        control_plane.kubectl("delete", "clusterrolebinding", "powerless")
        try:
            error = first_error(control_plane, namespace)
        finally:  # other tests look at what webhooks there are
            control_plane.kubectl("delete", "mutatingwebhookconfiguration", "powerless")

    assert error.status == 500  # and not that the webhook did not answer in time
    assert "does not let the webhook read ServiceAccount" in error.message
    assert "grant its own ServiceAccount get, list and watch on serviceaccounts" in error.message


def first_error(control_plane: ControlPlane, namespace: str) -> ApiError:
    """Create a pod until the new webhook configuration is in force and the creation fails."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    errors: list[ApiError] = []

    def refused() -> bool:
        try:
            control_plane.request("POST", path, pod(serviceAccountName="app"))
        except ApiError as error:
            errors.append(error)
        return bool(errors)

    wait_until_true(refused, "a server without permission is asked and fails")
    return errors[0]
