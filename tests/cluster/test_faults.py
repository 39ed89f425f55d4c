"""An API server that restarts, forgets and goes away, and an identity mapping that breaks."""

import base64
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import pytest
import urllib3

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, pod
from testbed.cluster.server import wait_until_true
from testbed.processes import child, paused
from tests.cluster.support.installation import Installation, Replica, installed
from tests.cluster.support.mutation import is_first_mutated, wait_until_mutated
from tests.cluster.test_load import accounts_with_client_id

OTHER_CLIENT_ID = "f3a9d1f0-0f6e-4f6b-8c57-6b0c2b8f9d11"
TIMEOUT_SECONDS = 5.0  # after which the API server would not wait any more, as the chart has it
GONE_SECONDS = 30.0
MAPPING = "identities"

log = logging.getLogger(__name__)


@pytest.fixture
def installation(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Installation]:
    """Create an installation without a replica."""
    with installed(control_plane, tmp_path, MAPPING) as created:
        yield created


def review(replica: Replica, namespace: str, account: str) -> tuple[int, Any, float]:
    """Ask the server itself, as the API server would: status, answer and seconds."""
    request = {
        "uid": str(uuid4()),
        "namespace": namespace,
        "operation": "CREATE",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": pod("app", serviceAccountName=account),
    }
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    begun = time.monotonic()
    # Trust is asserted elsewhere; here the API server, which has the caBundle, is down.
    with urllib3.PoolManager(cert_reqs="CERT_NONE", assert_hostname=False, retries=False) as http:
        url = f"https://127.0.0.1:{replica.endpoint.port}{names.MUTATE_PATH}"
        answer = http.request("POST", url, body=json.dumps(body), headers={"Content-Type": "application/json"})
    took = time.monotonic() - begun
    return answer.status, json.loads(answer.data) if answer.status == 200 else answer.data.decode(), took


def annotate(control_plane: ControlPlane, namespace: str, account: str, client_id: str) -> None:
    """Give an account another client id."""
    control_plane.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}",
        {"metadata": {"annotations": {names.CLIENT_ID: client_id}}},
        content_type="application/merge-patch+json",
    )


def compact(control_plane: ControlPlane) -> None:
    """Have etcd forget everything but what is now."""
    with urllib3.PoolManager(retries=False) as http:

        def ask(path: str, body: JsonObject) -> JsonObject:
            answer = http.request("POST", f"{control_plane.etcd_url}/v3/kv/{path}", body=json.dumps(body))
            decoded: JsonObject = json.loads(answer.data)
            return decoded

        revision = ask("range", {"key": "Lw=="})["header"]["revision"]
        ask("compaction", {"revision": revision, "physical": True})


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_api_server_gone(control_plane: ControlPlane, installation: Installation) -> None:
    """While the API server is away for 30 s, what is known is served and what is not fails within 4 s."""
    namespace = installation.workload_namespace()
    with installation.replica() as replica:
        wait_until_true(lambda: replica.cached >= 1, "the account is cached")
        assert review(replica, namespace, "app")[0] == 200
        waits = list[float]()
        with control_plane.apiserver.away():
            begun = time.monotonic()
            while time.monotonic() - begun < GONE_SECONDS:
                status, answer, _ = review(replica, namespace, "app")
                assert (status, answer["response"]["allowed"]) == (200, True)
                status, text, took = review(replica, namespace, "nobody-knows")
                assert (status, "accounts-unavailable" in text) == (500, True)
                waits.append(took)
                assert replica.readiness()[0] == 200
                time.sleep(0.5)
        assert median(waits) < 2.5
        assert max(waits) < TIMEOUT_SECONDS
        back = time.monotonic()
        annotate(control_plane, namespace, "app", OTHER_CLIENT_ID)
        wait_until_true(
            lambda: client_id(review(replica, namespace, "app")[1]) == OTHER_CLIENT_ID,
            "the change is seen",
        )
        log.info("seen %.1f s after the API server was back", time.monotonic() - back)
        wait_until_mutated(installation, namespace)
        assert replica.metric('azwi_watch_restarts_total{reason="unavailable",resource="serviceaccounts"}') > 0


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_compaction(control_plane: ControlPlane, installation: Installation) -> None:
    """When the history of a watch is gone (410) the server lists again, and sees what changed meanwhile."""
    namespace = installation.workload_namespace()
    control_plane.create_service_account(namespace, "leaving", {names.CLIENT_ID: CLIENT_ID})
    with installation.replica() as replica:
        before = accounts_with_client_id(control_plane)
        wait_until_true(lambda: replica.cached == before, "the account is cached")
        with paused(child(replica.process.pid)):
            restart(control_plane)  # ends the connection on which the changes would come
            control_plane.request("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/leaving")
            control_plane.create_service_account(namespace, "coming-1", {names.CLIENT_ID: CLIENT_ID})
            control_plane.create_service_account(namespace, "coming-2", {names.CLIENT_ID: CLIENT_ID})
            compact(control_plane)
            restart(control_plane)  # its own memory of the changes is gone too
        wait_until_true(lambda: replica.cached == before + 1, "the cache is what the cluster has")
        assert replica.metric('azwi_watch_restarts_total{reason="expired",resource="serviceaccounts"}') > 0


def restart(control_plane: ControlPlane) -> None:
    """End the API server and start it again."""
    with control_plane.apiserver.away():
        pass


def client_id(answer: Any) -> str:  # noqa: ANN401  JSON
    """Return the client id that an admission injects, if any."""
    encoded = answer["response"].get("patch", "") if isinstance(answer, dict) else ""
    patch = base64.b64decode(encoded).decode()
    return next((item for item in (CLIENT_ID, OTHER_CLIENT_ID) if item in patch), "")


def write_mapping(installation: Installation, text: str) -> None:
    """Create or replace the ConfigMap of the identity mapping."""
    metadata = {"name": MAPPING, "namespace": installation.name}
    data = {names.MAPPING_KEY: text}
    installation.control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def warnings(installation: Installation) -> list[str]:
    """Return what the Events in the server's namespace say."""
    events = installation.control_plane.request("GET", f"/api/v1/namespaces/{installation.name}/events")["items"]
    return [f"{event['reason']}: {event['message']}" for event in events]


def test_mapping(control_plane: ControlPlane, installation: Installation) -> None:
    """A bad entry is reported by metric, log and Event, the good ones count, and junk leaves them in force."""
    namespace = installation.workload_namespace()
    control_plane.create_service_account(namespace, "mapped")
    good = f"- {{namespace: {namespace}, serviceAccount: mapped, clientId: {CLIENT_ID}}}\n"
    with installation.replica(f"--identity-mapping-configmap={MAPPING}") as replica:
        wait_until_mutated(installation, namespace)
        assert not installation.is_mutated(namespace, serviceAccountName="mapped")

        write_mapping(installation, f"mappings:\n{good}- {{namespace: other, clientId: mine}}\n")
        wait_until_true(lambda: replica.metric("azwi_mapping_errors") == 1, "the bad entry is counted")
        assert replica.metric("azwi_mapping_entries") == 1
        assert installation.is_mutated(namespace, serviceAccountName="mapped")
        wait_until_true(
            lambda: any("InvalidIdentityMapping: mappings.1.clientId" in text for text in warnings(installation)),
            "an Event reports it",
        )
        assert "mappings.1.clientId" in replica.log.read_text()

        write_mapping(installation, "mappings: [")
        wait_until_true(
            lambda: any("the mapping before it stays in force" in text for text in warnings(installation)),
            "junk is reported",
        )
        assert installation.is_mutated(namespace, serviceAccountName="mapped")

        write_mapping(installation, f"mappings:\n{good}")
        wait_until_true(lambda: replica.metric("azwi_mapping_errors") == 0, "it is fixed")

        path = f"/api/v1/namespaces/{installation.name}/configmaps/{MAPPING}"
        control_plane.request("DELETE", path)
        wait_until_true(lambda: replica.metric("azwi_mapping_entries") == 0, "without a ConfigMap there is no mapping")
        assert not installation.is_mutated(namespace, serviceAccountName="mapped")


def test_mapping_at_start(control_plane: ControlPlane, installation: Installation) -> None:
    """The first pod after a start already gets what the mapping says."""
    namespace = installation.workload_namespace()
    control_plane.create_service_account(namespace, "mapped")
    write_mapping(installation, f"mappings:\n- {{namespace: {namespace}, clientId: {CLIENT_ID}}}\n")
    with installation.replica(f"--identity-mapping-configmap={MAPPING}"):
        assert is_first_mutated(installation, namespace, serviceAccountName="mapped")


def test_api_server_away_at_start(control_plane: ControlPlane, installation: Installation) -> None:
    """A server that starts before its API server is healthy, waits, says so, and becomes ready."""
    with ExitStack() as stack:
        with control_plane.apiserver.away():
            replica = stack.enter_context(installation.replica(wait_for="healthz"))
            # What it waits for follows once its first request has failed.
            status, text = replica.readiness()
            assert (status, text.startswith("not ready: no certificate is served yet")) == (503, True)
            wait_until_true(
                lambda: "the API server did not answer" in replica.readiness()[1], "readiness says what it waits for"
            )
            assert replica.process.poll() is None
        wait_until_true(lambda: replica.readiness()[0] == 200, "it is ready")
        assert "waiting: the API server did not answer" in replica.log.read_text()
