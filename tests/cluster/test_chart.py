"""The chart, installed by helm into a real cluster: certificates that the server makes itself."""

import base64
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ApiError, Cluster, ControlPlane
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from testbed.cluster.server import TENANT_ID, scope, wait_until_true
from testbed.processes import MAX_WAIT_SECONDS
from tests.cluster.support.mutation import wait_until_mutated
from tests.cluster.support.release import FULLNAME, Release, Replica, released
from tests.cluster.support.service import Service

SECRET = f"{FULLNAME}-server-cert"
LINES = "{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{'\\n'}{end}"
CA_BUNDLE = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
OWNER = {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "0"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}


@pytest.fixture(scope="module")
def release(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Install the chart with a tenant and nothing else."""
    with released(control_plane, tmp_path_factory.mktemp("chart")) as installed:
        yield installed


@pytest.fixture(scope="module")
def serving(release: Release) -> Iterator[Service]:
    """Run the pods of the Deployment."""
    with release.replicas() as service:
        yield service


def test_install(release: Release, serving: Service) -> None:
    """`helm install` with a tenant is all: two servers are ready, pods get identity and tenant."""
    assert len(serving.ready) == 2
    namespace = release.workload_namespace()

    stored = release.control_plane.create_pod(namespace, pod(serviceAccountName="app"))

    variables = environment(stored["spec"]["containers"][0])
    assert variables["AZURE_CLIENT_ID"] == CLIENT_ID
    assert variables["AZURE_TENANT_ID"] == TENANT_ID


@pytest.mark.usefixtures("serving")
def test_own_namespace_is_left_out(release: Release) -> None:
    """Pods beside the server are not looked at, so that it never waits for itself."""
    release.control_plane.request(
        "PATCH",
        f"/api/v1/namespaces/{release.namespace}",
        {"metadata": {"labels": scope(release.namespace)}},
        content_type="application/merge-patch+json",
    )
    assert not release.is_mutated(release.namespace, serviceAccountName="default")


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        ("list", "serviceaccounts --all-namespaces", True),
        ("get", f"secrets/{SECRET}", True),
        ("update", f"secrets/{SECRET}", True),
        ("create", "secrets", False),
        ("list", "secrets", False),
        ("get", "secrets/another", False),
        ("delete", f"secrets/{SECRET}", False),
        ("get", "configmaps/any", False),
        ("patch", "mutatingwebhookconfigurations/azwi-{namespace}-" + FULLNAME, True),
        ("patch", "mutatingwebhookconfigurations/another", False),
        ("update", "mutatingwebhookconfigurations/azwi-{namespace}-" + FULLNAME, False),
        ("list", "mutatingwebhookconfigurations", False),
        ("create", "pods", False),
        ("create", "serviceaccounts/token", False),
        ("create", "events", True),
    ],
)
def test_permissions(release: Release, verb: str, resource: str, *, allowed: bool) -> None:
    """The server's account may do what it needs, by name, and nothing else."""
    asked = resource.format(namespace=release.namespace).split()
    account = f"system:serviceaccount:{release.namespace}:{FULLNAME}"
    where = [] if "--all-namespaces" in asked else [f"--namespace={release.namespace}"]
    assert release.control_plane.may(verb, *asked, f"--as={account}", *where) is allowed


# For each field that a stolen token must not change a JSON Patch of the first webhook or of the metadata.
FORBIDDEN_PATCHES = {
    "clientConfig.service": ("replace", "/webhooks/0/clientConfig/service/name", "evil"),
    "clientConfig.url": ("replace", "/webhooks/0/clientConfig", {"url": "https://evil.example/mutate"}),
    "rules": ("add", "/webhooks/0/rules/0/resources/-", "secrets"),
    "namespaceSelector": ("replace", "/webhooks/0/namespaceSelector", {}),
    "objectSelector": ("replace", "/webhooks/0/objectSelector", {}),
    "matchConditions": ("remove", "/webhooks/0/matchConditions/0", None),
    "matchPolicy": ("replace", "/webhooks/0/matchPolicy", "Exact"),
    "failurePolicy": ("replace", "/webhooks/0/failurePolicy", "Ignore"),
    "reinvocationPolicy": ("replace", "/webhooks/0/reinvocationPolicy", "Never"),
    "sideEffects": ("replace", "/webhooks/0/sideEffects", "NoneOnDryRun"),
    "timeoutSeconds": ("replace", "/webhooks/0/timeoutSeconds", 30),
    "admissionReviewVersions": ("replace", "/webhooks/0/admissionReviewVersions", ["v1"]),
    "add, remove or rename webhooks": ("remove", "/webhooks/0", None),
    "metadata.labels": ("add", "/metadata/labels/a", "b"),
    "metadata.annotations": ("add", "/metadata/annotations", {"a": "b"}),
    "metadata.finalizers": ("add", "/metadata/finalizers", ["a.example/b"]),
    "metadata.ownerReferences": ("add", "/metadata/ownerReferences", [OWNER]),
}


def patch_as_server(release: Release, *operations: JsonObject) -> str:
    """Patch the webhook configuration with the server's own token, in a dry run; return the API server's refusal."""
    kubeconfig = release.control_plane.kubeconfig_for(release.namespace, FULLNAME)
    name = f"azwi-{release.namespace}-{FULLNAME}"
    patch = ("patch", "mutatingwebhookconfiguration", name, "--type=json", f"--patch={json.dumps(operations)}")
    return release.control_plane.kubectl(*patch, "--dry-run=server", kubeconfig=kubeconfig).stderr


@pytest.mark.parametrize("field", FORBIDDEN_PATCHES)
def test_token_of_the_server(release: Release, field: str) -> None:
    """With the server's token nothing but the caBundle of its webhook configuration can be changed."""
    op, path, value = FORBIDDEN_PATCHES[field]
    bundle = {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": CA_BUNDLE}
    wait_until_true(
        lambda: "may change the caBundle only" in patch_as_server(release, {"op": "remove", "path": "/webhooks/0"}),
        "the policy is in force",
    )

    refused = patch_as_server(release, {"op": op, "path": path, **({} if value is None else {"value": value})})

    reported = "clientConfig.service" if field == "clientConfig.url" else field  # a URL replaces the Service
    assert f"the webhook's server may change the caBundle only, not {reported}" in refused
    assert patch_as_server(release, bundle) == ""


def test_policy_knows_every_field(release: Release) -> None:
    """The policy compares every field that this API server knows in a webhook, but for the caBundle."""
    schemas = release.control_plane.request("GET", "/openapi/v3/apis/admissionregistration.k8s.io/v1")
    schemas = schemas["components"]["schemas"]
    fields = set(schemas["io.k8s.api.admissionregistration.v1.MutatingWebhook"]["properties"]) - {
        "name",
        "clientConfig",
    }
    config = set(schemas["io.k8s.api.admissionregistration.v1.WebhookClientConfig"]["properties"]) - {"caBundle"}
    assert fields | {f"clientConfig.{field}" for field in config} <= FORBIDDEN_PATCHES.keys()


def template_pod(release: Release) -> JsonObject:
    """Return the pod that the Deployment's ReplicaSet would create."""
    template = release.get("deployment")["spec"]["template"]
    return {"metadata": {**template["metadata"], "generateName": f"{FULLNAME}-"}, "spec": template["spec"]}


def test_restricted(release: Release) -> None:
    """In a namespace where Pod Security enforces `restricted` the server's pod is admitted, without a warning."""
    release.control_plane.kubectl("label", "namespace", release.namespace, *(f"{k}={v}" for k, v in RESTRICTED.items()))

    created = release.control_plane.create(
        release.namespace, {"apiVersion": "v1", "kind": "Pod", **template_pod(release)}
    )

    assert (created.returncode, created.stderr) == (0, "")
    assert json.loads(created.stdout)["spec"]["priorityClassName"] == "system-cluster-critical"


def test_deleted_secret(release: Release, serving: Service) -> None:
    """Servers whose Secret was deleted keep serving, and fill the one that `helm upgrade` creates."""
    namespace = release.workload_namespace()
    release.control_plane.kubectl("delete", "secret", SECRET, f"--namespace={release.namespace}")
    logs = list(release.directory.glob(f"{release.namespace}-*.log"))
    wait_until_true(
        lambda: any("helm upgrade" in log.read_text() for log in logs), "a server reports that it may not create it"
    )
    assert len(serving.ready) == 2
    assert release.is_mutated(namespace)

    release.apply("upgrade")
    wait_until_true(lambda: is_trusted(release), "a server fills the new one, and its CA is trusted")
    wait_until_mutated(release, namespace)


def is_trusted(release: Release) -> bool:
    """Whether there is a certificate, and every caBundle has its CA."""
    data = release.get("secret", SECRET).get("data", {})
    bundles = [base64.b64decode(bundle) for bundle in release.bundles()]
    return "tls.crt" in data and all(base64.b64decode(data["ca.crt"]) in bundle for bundle in bundles)


@pytest.mark.usefixtures("serving")
def test_upgrade_keeps_certificates(release: Release) -> None:
    """`helm upgrade`, rollback and `kubectl apply --server-side` change neither Secret nor caBundle."""
    before = (release.get("secret", SECRET)["data"], release.bundles())
    assert {"ca.crt", "tls.crt", "tls.key"} <= before[0].keys()
    assert all(before[1])

    release.apply("upgrade", serviceAccountTokenExpiration=7200, commonLabels={"team": "identity"})
    assert (release.get("secret", SECRET)["data"], release.bundles()) == before
    assert release.get("secret", SECRET)["metadata"]["labels"]["team"] == "identity"

    assert release.helm("rollback", release.name).returncode == 0
    assert (release.get("secret", SECRET)["data"], release.bundles()) == before

    manifest = release.helm("get", "manifest", release.name).stdout
    applied = release.control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    assert applied.returncode == 0, applied.stderr
    assert (release.get("secret", SECRET)["data"], release.bundles()) == before


def expiration(release: Release, namespace: str) -> int:
    """Return how long the token lives that a new pod is given."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    stored = release.control_plane.request("POST", path, pod(serviceAccountName="app"))
    (volume,) = [item for item in stored["spec"]["volumes"] if item["name"] == names.VOLUME]
    seconds: int = volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"]
    return seconds


def test_rollout(control_plane: ControlPlane, tmp_path: Path) -> None:
    """While pods are replaced one after the other, no creation of a pod fails; a rollback undoes it."""
    with released(control_plane, tmp_path, drainSeconds=3) as release, ExitStack() as stack:
        service = stack.enter_context(release.service())
        replicas = [stack.enter_context(release.replica(service)) for _ in range(2)]
        namespace = release.workload_namespace()
        wait_until_true(lambda: release.is_mutated(namespace), "the API server calls the webhook")
        first = release.get("deployment")["spec"]["template"]
        with creating_pods(release, namespace) as outcome:
            release.apply("upgrade", serviceAccountTokenExpiration=7200, drainSeconds=3)
            roll(release, service, replicas, stack)
            assert expiration(release, namespace) == 7200
        assert release.get("deployment")["spec"]["template"] != first

        assert release.helm("rollback", release.name).returncode == 0
        assert release.get("deployment")["spec"]["template"] == first
    assert outcome.failures == []
    assert outcome.created > 50


def roll(release: Release, service: Service, old: list[Replica], stack: ExitStack) -> None:
    """Replace pods as the Deployment's strategy says: a new one is ready before an old one is stopped."""
    for replica in old:
        stack.enter_context(release.replica(service))
        # The kubelet's signal and the end of new connections are not in step; here the signal is first.
        replica.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        service.remove(replica.endpoint)
        assert replica.process.wait(MAX_WAIT_SECONDS) == 0


class Outcome:
    """The result of pods created meanwhile."""

    def __init__(self) -> None:
        self.created = 0
        self.failures: list[str] = []


@contextmanager
def creating_pods(release: Release, namespace: str) -> Iterator[Outcome]:
    """Create pods by two clients meanwhile, and note those that failed or were not mutated."""
    outcome, done = Outcome(), threading.Event()

    def create() -> None:
        while not done.is_set():
            try:
                if not release.is_mutated(namespace):
                    outcome.failures.append("not mutated")
            except ApiError as error:
                outcome.failures.append(str(error))
            outcome.created += 1
            done.wait(0.01)

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield outcome
    finally:
        done.set()
        for thread in threads:
            thread.join()


def everything(control_plane: Cluster) -> set[str]:
    """Name every object of the cluster, but for what the API server keeps for itself."""
    kinds = control_plane.kubectl("api-resources", "--verbs=list", "--output=name").stdout.split()
    kinds = [kind for kind in kinds if not kind.startswith(("events", "leases", "flowschemas", "priorityl"))]
    listed = control_plane.kubectl(
        "get",
        ",".join(kinds),
        "--all-namespaces",
        f"--output=jsonpath={LINES}",
    )
    assert listed.returncode == 0, listed.stderr
    return set(listed.stdout.splitlines())


def test_uninstall(control_plane: ControlPlane, tmp_path: Path) -> None:
    """`helm uninstall` leaves nothing behind, the certificates that the server made included."""
    release = Release(control_plane, control_plane.create_namespace(), tmp_path)
    before = everything(control_plane)
    release.apply("install", identityMapping__mappings=[{"namespace": "none"}])
    with release.replicas():
        assert "tls.key" in release.get("secret", SECRET)["data"]
    assert len(everything(control_plane) - before) > 10

    done = release.helm("uninstall", release.name)

    assert (done.returncode, done.stderr) == (0, "")
    assert everything(control_plane) - before == set()
