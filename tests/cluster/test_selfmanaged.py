"""Self-managed certificates in a real cluster, and faults that may befall them."""

import base64
import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from azure_workload_identity import names
from certs import phases
from certs.secret_keys import CA, LEAF, LEAF_KEY
from testbed.cluster.control_plane import ApiError, ControlPlane
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from testbed.cluster.server import REPOSITORY, wait_until_true
from testbed.processes import MAX_WAIT_SECONDS, free_ports
from tests.certs.test_phases import rsa_authority
from tests.cluster.support.installation import Installation, installed
from tests.cluster.support.mutation import wait_until_mutated

log = logging.getLogger(__name__)


@pytest.fixture
def installation(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Installation]:
    """Create an installation without a replica."""
    with installed(control_plane, tmp_path) as created:
        yield created


def test_install(installation: Installation) -> None:
    """From a namespace with a webhook configuration and roles it takes seconds to the first mutated pod."""
    namespace = installation.workload_namespace()
    begun = time.monotonic()
    with installation.replica(wait_for="healthz"):
        wait_until_mutated(installation, namespace)
        took = time.monotonic() - begun
    log.info("install to first mutated pod: %.2f s", took)
    certificates = installation.certificates()
    assert installation.ca_bundle() == certificates[CA]
    assert LEAF in certificates


def test_replicas_agree(installation: Installation) -> None:
    """Replicas that start at once agree on one CA, and it is the only one that is trusted."""
    namespace = installation.workload_namespace()
    with ExitStack() as running:
        replicas = [running.enter_context(installation.replica(wait_for="healthz")) for _ in range(3)]
        for replica in replicas:
            wait_until_true(lambda replica=replica: replica.readiness()[0] == 200, "it is ready")  # type: ignore[misc]
        assert installation.ca_bundle() == installation.certificates()[CA]
        wait_until_true(lambda: len(installation.service.ready) == len(replicas), "all are endpoints")
        assert all(installation.is_mutated(namespace) for _ in range(20))


def test_not_ready_without_a_configuration(installation: Installation) -> None:
    """Without its webhook configuration the server is not ready, says why, and becomes ready once it exists."""
    manifest = installation.control_plane.request("GET", installation.configuration)
    installation.control_plane.request("DELETE", installation.configuration)
    with installation.replica(wait_for="healthz") as replica:
        wait_until_true(lambda: "is not there" in replica.readiness()[1], "it reports what is missing")
        assert replica.readiness()[0] == 503
        created = {key: manifest[key] for key in ("apiVersion", "kind", "webhooks")}
        installation.control_plane.apply({**created, "metadata": {"name": installation.name}})
        wait_until_true(lambda: replica.readiness()[0] == 200, "it is ready")


def wipe_bundle(installation: Installation) -> None:
    """Empty the caBundle, as a GitOps tool does that applies the rendered chart."""
    wipe = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]
    installation.control_plane.request(
        "PATCH", installation.configuration, wipe, content_type="application/json-patch+json"
    )


def delete_secret(installation: Installation) -> None:
    """Delete the Secret."""
    installation.control_plane.request("DELETE", installation.secret)


def write_secret(installation: Installation, **values: bytes) -> None:
    """Change keys of the Secret; a dot is written as an underscore."""
    data = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in values.items()}
    installation.control_plane.request(
        "PATCH", installation.secret, {"data": data}, content_type="application/merge-patch+json"
    )


def truncate(installation: Installation) -> None:
    """Cut the CA in half."""
    write_secret(installation, ca_crt=installation.certificates()[CA][:200])


def replace_by_foreign(installation: Installation) -> None:
    """Store a leaf that another CA signed, for other names."""
    foreign_spec = phases.CertificateSpec(("stranger.svc",), timedelta(days=30), timedelta(days=10))
    foreign = phases.step({}, foreign_spec, datetime.now(UTC)).data
    write_secret(installation, tls_crt=foreign[LEAF], tls_key=foreign[LEAF_KEY])


@pytest.mark.parametrize("fault", [wipe_bundle, delete_secret, truncate, replace_by_foreign])
def test_faults_heal(installation: Installation, fault: Callable[[Installation], None]) -> None:
    """Any damage to caBundle or Secret is repaired at once, and pods are still admitted."""
    namespace = installation.workload_namespace()
    with installation.replica():
        wait_until_mutated(installation, namespace)
        before = installation.certificates()
        fault(installation)
        begun = time.monotonic()

        def healed() -> bool:
            return is_whole(installation, before, fault)

        # Without its watches the server would not look again within that time: certs.rotation.LONGEST_PAUSE.
        wait_until_true(healed, "it is repaired")
        wait_until_mutated(installation, namespace)
        log.info("%s: repaired after %.2f s", fault.__name__, time.monotonic() - begun)
        for _ in range(20):
            assert installation.is_mutated(namespace)
            time.sleep(0.05)


def is_whole(installation: Installation, before: dict[str, bytes], fault: Callable[[Installation], None]) -> bool:
    """Whether the Secret can be served, is trusted, and has changed if it was damaged."""
    try:
        now = installation.certificates()
    except ApiError:
        return False
    again = phases.step(now, spec(installation), datetime.now(UTC))
    damaged = fault is not wipe_bundle
    return again.changes == () and again.trusted == installation.ca_bundle() and (now != before) is damaged


def spec(installation: Installation) -> phases.CertificateSpec:
    """Return the specification of the installation's certificates."""
    service = f"{names.WEBHOOK_SERVICE}.{installation.name}"
    service_names = (f"{service}.svc", f"{service}.svc.cluster.local", service, names.WEBHOOK_SERVICE)
    return phases.CertificateSpec(service_names, timedelta(days=365), timedelta(days=90))


def store_secret(installation: Installation, content: Mapping[str, bytes]) -> None:
    """Create the Secret."""
    installation.control_plane.request(
        "POST",
        f"/api/v1/namespaces/{installation.name}/secrets",
        {
            "metadata": {"name": names.CERT_SECRET},
            "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
        },
    )


def test_old_certificate(installation: Installation) -> None:
    """At 80 % of a certificate's lifetime a starting server replaces it before it serves."""
    namespace = installation.workload_namespace()
    old = phases.step({}, spec(installation), datetime.now(UTC) - timedelta(days=72)).data
    store_secret(installation, old)
    with installation.replica() as replica:
        now = installation.certificates()
        assert now[CA] == old[CA]
        assert now[LEAF] != old[LEAF]
        assert replica.metric('azwi_certificate_rotations_total{phase="renewed"}') == 1
        ends = replica.metric('azwi_certificate_expiry_timestamp_seconds{certificate="serving"}')
        assert ends > time.time() + timedelta(days=89).total_seconds()
        wait_until_mutated(installation, namespace)


def test_pair_of_another_program(installation: Installation) -> None:
    """A server does not start on a Secret with v1.6.0's pair, says what to do, and leaves it as it is."""
    upstream = rsa_authority(time.time())
    store_secret(installation, upstream)
    message = refused(installation)
    assert "is a valid certificate of another program" in message
    assert f"kubectl -n {installation.name} delete secret {names.CERT_SECRET}" in message
    assert installation.certificates() == upstream
    assert failed_starts(installation) == [message.removeprefix("azwi-webhook: ")]


def failed_starts(installation: Installation) -> list[str]:
    """Return what servers that could not start wrote as Events about their pods."""
    path = f"/api/v1/namespaces/{installation.name}/events?fieldSelector=reason=FailedStart,involvedObject.kind=Pod"
    return [event["message"] for event in installation.control_plane.request("GET", path)["items"]]


def test_no_certificate_can_be_made(installation: Installation) -> None:
    """A server whose Service cannot be named in a certificate exits with the reason, and writes it as an Event."""
    message = refused(installation, "--webhook-service=" + "x" * 64)
    assert "no certificate can be made for xxx" in message
    assert failed_starts(installation) == [message.removeprefix("azwi-webhook: ")]


def test_nothing_is_written_without_the_permission_to_patch(installation: Installation) -> None:
    """A replica that may not write the caBundle any more, as after a rollback, does not write its Secret either."""
    control_plane = installation.control_plane
    role = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/server-{installation.name}"
    with installation.replica() as replica:
        rules = control_plane.request("GET", role)["rules"]
        rules[-1]["verbs"] = ["get", "list", "watch", "update"]
        control_plane.request("PATCH", role, {"rules": rules}, content_type="application/merge-patch+json")
        wait_until_true(lambda: not may_patch(installation), "the role is in force")
        delete_secret(installation)
        message = f"does not let the webhook PATCH MutatingWebhookConfiguration {installation.name} (HTTP 403)"
        wait_until_true(lambda: message in replica.log.read_text(), "it reports what it may not do")
        assert not secret_exists(installation)


def may_patch(installation: Installation) -> bool:
    """Whether the server's account may patch the webhook configuration."""
    resource = f"mutatingwebhookconfigurations/{installation.name}"
    return installation.control_plane.may("patch", resource, kubeconfig=installation.kubeconfig)


def secret_exists(installation: Installation) -> bool:
    """Whether the Secret exists."""
    try:
        return bool(installation.control_plane.request("GET", installation.secret))
    except ApiError:
        return False


def test_draining_replica_writes_nothing(installation: Installation) -> None:
    """A Secret that is deleted while a replica drains, as by an uninstall, is not created again."""
    with installation.replica("--drain-period=10s") as replica:
        replica.process.send_signal(signal.SIGTERM)
        wait_until_true(lambda: "stopping" in replica.readiness()[1], "it drains")
        delete_secret(installation)
        assert replica.process.wait(MAX_WAIT_SECONDS) == 0
    assert not secret_exists(installation)


def test_uninstalled_release_stays_uninstalled(installation: Installation) -> None:
    """Without its webhook configuration a running replica does not create its Secret again."""
    manifest = installation.control_plane.request("GET", installation.configuration)
    with installation.replica() as replica:
        installation.control_plane.request("DELETE", installation.configuration)
        wait_until_true(lambda: replica.readiness()[0] == 503, "it has noticed")
        delete_secret(installation)
        wait_until_true(lambda: "are gone: nothing is written" in replica.log.read_text(), "it has noticed that too")
        assert not secret_exists(installation)
        created = {key: manifest[key] for key in ("apiVersion", "kind", "webhooks")}
        installation.control_plane.apply({**created, "metadata": {"name": installation.name}})
        wait_until_true(lambda: replica.readiness()[0] == 200, "it is ready again")
        assert secret_exists(installation)


def test_missing_role(installation: Installation) -> None:
    """A server that may not read its Secret does not start, and says which permission is missing."""
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{installation.name}/roles/server-{installation.name}"
    installation.control_plane.request("DELETE", role)
    said = refused(installation)
    assert f"GET Secret {installation.name}/{names.CERT_SECRET} (HTTP 403)" in said
    assert "grant its ServiceAccount get, list and watch on it by resourceNames" in said


def test_missing_cluster_role(installation: Installation) -> None:
    """A server that may not list ServiceAccounts does not start, and says what to grant."""
    role = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/server-{installation.name}"
    installation.control_plane.request("DELETE", role)
    assert "grant its ServiceAccount get, list and watch on serviceaccounts by a ClusterRole" in refused(installation)


def refused(installation: Installation, *flags: str) -> str:
    """Start a server that must refuse to start, and return its message; its exit status is 2."""
    done = subprocess.run(
        installation.command("--health-addr=0", "--metrics-addr=0", f"--webhook-port={free_ports(1)[0]}", *flags),
        env=installation.environment(),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=MAX_WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    return done.stderr.splitlines()[-1]


def test_pod_created_after_its_account(installation: Installation) -> None:
    """Pods created right after their accounts have their client id."""
    namespace = installation.workload_namespace()
    control_plane = installation.control_plane
    with installation.replica(), installation.replica():
        wait_until_mutated(installation, namespace)
        for number in range(200):
            account = f"fresh-{number}"
            control_plane.create_service_account(namespace, account, {names.CLIENT_ID: CLIENT_ID})
            stored = control_plane.create_pod(namespace, pod(account, serviceAccountName=account))
            assert environment(stored["spec"]["containers"][0])[names.ENV_CLIENT_ID] == CLIENT_ID


def test_account_annotated_after_a_pod_without(installation: Installation) -> None:
    """An account annotated after a first pod counts for the next pod as soon as the watch reports it."""
    namespace = installation.workload_namespace()
    control_plane = installation.control_plane
    with installation.replica():
        wait_until_mutated(installation, namespace)
        for account in [f"late-{number}" for number in range(20)]:
            control_plane.create_service_account(namespace, account)
            assert not installation.is_mutated(namespace, serviceAccountName=account)
            control_plane.request(
                "PATCH",
                f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}",
                {"metadata": {"annotations": {names.CLIENT_ID: CLIENT_ID}}},
                content_type="application/merge-patch+json",
            )
            wait_until_true(
                lambda account=account: installation.is_mutated(namespace, serviceAccountName=account),  # type: ignore[misc]
                "the account is known",
                5,
            )
