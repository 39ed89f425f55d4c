"""Accounts of a tenant that are as large as the API server lets them be."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from azure_workload_identity import names
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from testbed.cluster.server import Server, register, scope, serving, wait_until_true

LARGE = 250
LETTERS = 100_000
OTHER_CLIENT_ID = "f3a9d1f0-0f6e-4f6b-8c57-6b0c2b8f9d11"


@pytest.fixture(scope="module")
def tenant(control_plane: ControlPlane) -> str:
    """Fill a tenant's namespace with accounts whose client ids have 100,000 letters."""
    namespace = control_plane.create_namespace()
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(
            lambda number: control_plane.create_service_account(
                namespace, f"large-{number}", {names.CLIENT_ID: "x" * LETTERS}
            ),
            range(LARGE),
        )
        assert len(list(made)) == LARGE
    return namespace


def cached(server: Server) -> float:
    """Return how many accounts are in the cache; -1 before the first list is complete."""
    lines = server.get(server.metrics_url)[1].splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("azwi_accounts_")}
    is_current = values["azwi_accounts_staleness_seconds"] >= 0
    return values["azwi_accounts_cached"] if is_current else -1


def test_other_tenants(control_plane: ControlPlane, server_kubeconfig: Path, tenant: str, tmp_path: Path) -> None:
    """A new replica completes its list, and sees a change of another tenant, without a restart of its watch."""
    other = control_plane.create_namespace(scope("large"))
    control_plane.create_service_account(other, "app", {names.CLIENT_ID: CLIENT_ID})
    with serving(server_kubeconfig, tmp_path) as server:
        register(control_plane, server, "large")
        wait_until_true(lambda: cached(server) > LARGE, "the cache is complete")
        control_plane.request(
            "PATCH",
            f"/api/v1/namespaces/{other}/serviceaccounts/app",
            {"metadata": {"annotations": {names.CLIENT_ID: OTHER_CLIENT_ID}}},
            content_type="application/merge-patch+json",
        )
        control_plane.request(
            "PATCH",
            f"/api/v1/namespaces/{tenant}/serviceaccounts/large-0",
            {"metadata": {"annotations": {names.CLIENT_ID: "y" * LETTERS}}},
            content_type="application/merge-patch+json",
        )

        numbers = count()

        def created() -> object:
            stored = control_plane.create_pod(other, pod(f"app-{next(numbers)}", serviceAccountName="app"))
            return environment(stored["spec"]["containers"][0]).get(names.ENV_CLIENT_ID)

        wait_until_true(lambda: created() == OTHER_CLIENT_ID, "the change of another tenant is seen")
        restarts = [line for line in server.get(server.metrics_url)[1].splitlines() if "azwi_watch_restarts" in line]
        assert not [line for line in restarts if "malformed" in line or "unavailable" in line]
