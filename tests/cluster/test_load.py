"""Many pods at once, as after a node failure or at the start of a batch."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from uuid import uuid4

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from testbed.cluster.server import Server, configuration, scope, wait_until_true
from tests.cluster.support.installation import Installation, installed
from tests.cluster.support.mesh import serving_mesh

PODS = 1000
CONCURRENCY = 50
MISSING = 400
REINVOKED = 2000
REINVOKED_CONCURRENCY = 200

log = logging.getLogger(__name__)


@pytest.fixture
def installation(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Installation]:
    """Create an installation without a replica."""
    with installed(control_plane, tmp_path) as created:
        yield created


def test_reinvocation_at_scale(control_plane: ControlPlane, installation: Installation, tmp_path: Path) -> None:
    """Two thousand pods, two hundred at a time, each changed by a later webhook, are created without failure."""
    with installation.replica() as one, installation.replica() as two, serving_mesh(tmp_path) as (url, ca_pem):
        mesh = f"{installation.name}-mesh"  # called after ours: in the order of the names
        control_plane.apply(configuration(mesh, url, ca_pem))
        namespace = control_plane.create_namespace(scope(installation.name, mesh))
        control_plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
        wait_until_true(lambda: is_meshed(installation, namespace), "both webhooks are called")
        known = accounts_with_client_id(control_plane)
        wait_until_true(lambda: one.cached == two.cached == known, "the account is cached")
        begin = time.monotonic()
        with ThreadPoolExecutor(REINVOKED_CONCURRENCY) as pool:
            created = [
                pool.submit(control_plane.create_pod, namespace, pod(f"app-{number}", serviceAccountName="app"))
                for number in range(REINVOKED)
            ]
            stored = [future.result() for future in created]
        log.info("%d pods, reinvoked, in %.1f s", REINVOKED, time.monotonic() - begin)
        control_plane.kubectl("delete", "mutatingwebhookconfiguration", mesh)
    for item in stored:
        assert [container["name"] for container in item["spec"]["containers"]] == ["app", "mesh"]
        assert all(environment(c)["AZURE_CLIENT_ID"] == CLIENT_ID for c in item["spec"]["containers"])


def accounts_with_client_id(control_plane: ControlPlane) -> int:
    """How many accounts a complete cache has: also those that other tests left."""
    items = control_plane.request("GET", "/api/v1/serviceaccounts")["items"]
    return sum(names.CLIENT_ID in item["metadata"].get("annotations", {}) for item in items)


def is_meshed(installation: Installation, namespace: str) -> bool:
    """Whether a pod gets the other webhook's container, with an identity."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    stored = installation.control_plane.request("POST", path, pod(serviceAccountName="app"))
    containers = stored["spec"]["containers"]
    return len(containers) == 2 and names.ENV_CLIENT_ID in environment(containers[1])


def create_timed(control_plane: ControlPlane, namespace: str, account: str, name: str) -> float:
    """Create a pod, check that it was mutated, and return how many seconds that took."""
    begin = time.monotonic()
    stored = control_plane.create_pod(namespace, pod(name, serviceAccountName=account))
    took = time.monotonic() - begin
    assert environment(stored["spec"]["containers"][0])["AZURE_CLIENT_ID"] == CLIENT_ID
    return took


def summary(seconds: list[float]) -> str:
    """Describe latencies in milliseconds."""
    cuts = quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1e3:.0f} ms, p99 {cuts[98] * 1e3:.0f} ms, max {max(seconds) * 1e3:.0f} ms"


def test_many_pods(control_plane: ControlPlane, namespace: str) -> None:
    """Of a thousand pods created fifty at a time none fails and all are mutated."""
    begin = time.monotonic()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        created = [
            pool.submit(create_timed, control_plane, namespace, "app", f"app-{number}") for number in range(PODS)
        ]
        seconds = [future.result() for future in created]

    log.info("%d pods in %.1f s: %s", PODS, time.monotonic() - begin, summary(seconds))
    assert len(seconds) == PODS


def test_missing_accounts_do_not_delay_others(control_plane: ControlPlane, webhook: Server, namespace: str) -> None:
    """Pods are admitted promptly while hundreds that name an account that does not exist are reviewed."""
    with many_reviews_of_missing_accounts(webhook, namespace) as answers:
        seconds = []
        for number in range(40):
            account = f"new-{number}"  # one that the server has not seen before
            control_plane.create_service_account(namespace, account, {names.CLIENT_ID: CLIENT_ID})
            seconds.append(create_timed(control_plane, namespace, account, f"app-{number}"))
        still_running = sum(not entry.done() for entry in answers)

    log.info("while %d were reviewed (%d left): %s", MISSING, still_running, summary(seconds))
    assert median(seconds) < 2
    assert max(seconds) < 5
    for status, answer in (item.result() for item in answers):
        assert status == 200
        assert answer["response"]["allowed"] is False
        assert "not found" in answer["response"]["status"]["message"]


@contextmanager
def many_reviews_of_missing_accounts(webhook: Server, namespace: str) -> Iterator[list[Future[tuple[int, JsonObject]]]]:
    """Review pods whose account is missing, straight at the server.

    The API server's ServiceAccount plugin refuses such pods before it calls webhooks, but not in every cluster.
    """

    def review(number: int) -> tuple[int, JsonObject]:
        written = pod(f"lost-{number}", serviceAccountName=f"missing-{number}")
        request = {
            "uid": str(uuid4()),
            "namespace": namespace,
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": written,
        }
        return webhook.review({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        yield [pool.submit(review, number) for number in range(MISSING)]
