"""The chart's other modes: external certificates, each opt-in, other installations in the cluster."""

import base64
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
import urllib3

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ApiError, Cluster, ControlPlane
from testbed.cluster.manifests import CLIENT_ID, USE, environment, pod, token_volumes
from testbed.cluster.other_webhook import other_webhook
from testbed.cluster.server import CREATED_PODS, configuration, scope, wait_until_true
from testbed.processes import child
from testbed.upstream import chart as upstream
from tests.chart.helm import CHART, VALUE_SETS, Helm, objects
from tests.chart.test_value_sets import CUSTOM
from tests.cluster.support.mutation import is_first_mutated, mutated, wait_until_mutated
from tests.cluster.support.release import FULLNAME, Release, Replica, released

TIMEOUT_SECONDS = 6
UPSTREAM_SERVICE = "azure-wi-webhook-webhook-service"
UPSTREAM_CONFIGURATION = "azure-wi-webhook-mutating-webhook-configuration"


def encoded(data: dict[str, bytes]) -> dict[str, str]:
    """Return the data of a Secret."""
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def secret(name: str, authority: trustme.CA, *hosts: str) -> JsonObject:
    """Write a Secret with a certificate, as cert-manager does."""
    leaf = authority.issue_cert(*hosts)
    pair = {"tls.crt": leaf.cert_chain_pems[0].bytes(), "tls.key": leaf.private_key_pem.bytes()}
    data = encoded({**pair, "ca.crt": authority.cert_pem.bytes()})
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name}, "data": data}


def test_existing_secret(control_plane: ControlPlane, tmp_path: Path) -> None:
    """With a certificate of the admin's own the server may neither write its Secret nor the webhook configuration."""
    authority = trustme.CA()
    release = Release(control_plane, control_plane.create_namespace(), tmp_path)
    control_plane.create(release.namespace, secret("mine", authority, f"{FULLNAME}.{release.namespace}.svc"))

    release.apply(
        "install",
        replicaCount=1,
        certificates={"mode": "existing-secret", "secretName": "mine", "caBundle": authority.cert_pem.bytes().decode()},
    )

    with release.replicas():
        wait_until_mutated(release, release.workload_namespace())
    account = f"--as=system:serviceaccount:{release.namespace}:{FULLNAME}"
    for verb, resource in (
        ("get", "secrets/mine"),
        ("patch", f"mutatingwebhookconfigurations/azwi-{release.namespace}-{FULLNAME}"),
    ):
        where = f"--namespace={release.namespace}"
        assert not control_plane.may(verb, resource, account, where)
    assert release.helm("uninstall", release.name).returncode == 0


def test_from_one_kind_to_the_other_and_back(control_plane: ControlPlane, tmp_path: Path) -> None:
    """While an upgrade changes the kind of certificate, pods with the former and with the new one are trusted."""
    authority = trustme.CA()
    foreign = authority.cert_pem.bytes()
    mounted = {"mode": "existing-secret", "secretName": "mine", "caBundle": foreign.decode()}
    with released(control_plane, tmp_path, replicaCount=1) as release, release.service() as service:
        control_plane.create(release.namespace, secret("mine", authority, f"{FULLNAME}.{release.namespace}.svc"))
        namespace = release.workload_namespace()

        with release.replica(service):
            (own,) = release.bundles()
            release.apply("upgrade", "--force-conflicts", replicaCount=1, certificates=mounted)
            assert pems(release) == {*blocks(base64.b64decode(own)), *blocks(foreign)}
            assert release.is_mutated(namespace)
        release.apply("upgrade", "--force-conflicts", replicaCount=1, certificates=mounted)
        assert pems(release) == blocks(foreign)

        with release.replica(service):
            release.apply("upgrade", replicaCount=1)
            assert pems(release) == blocks(foreign)
            assert release.is_mutated(namespace)
            with release.replica(service):
                assert pems(release) > blocks(foreign)
                assert all(release.is_mutated(namespace) for _ in range(10))
                before = release.bundles()
                release.apply("upgrade", replicaCount=1)
                assert release.bundles() == before


def blocks(bundle: bytes) -> set[bytes]:
    """Return the certificates of a bundle."""
    return {block.strip() for block in bundle.split(b"-----END CERTIFICATE-----") if block.strip()}


def pems(release: Release) -> set[bytes]:
    """Return the certificates that the API server trusts."""
    (bundle,) = release.bundles()
    return blocks(base64.b64decode(bundle))


def definition(plural: str, kind: str) -> JsonObject:
    """Write a definition that takes any object of a kind of cert-manager's."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


@contextmanager
def taking_certificates(cluster: Cluster) -> Iterator[None]:
    """Let the API server take Certificates and Issuers."""
    definitions = [definition("certificates", "Certificate"), definition("issuers", "Issuer")]
    cluster.apply(*definitions)
    cluster.wait_until_served("certificates", "issuers")
    yield
    cluster.kubectl("delete", "crd", *(item["metadata"]["name"] for item in definitions))


@pytest.fixture
def cert_manager_kinds(control_plane: ControlPlane) -> Iterator[None]:
    """Have the kinds of cert-manager."""
    with taking_certificates(control_plane):
        yield


def act_as_cert_manager(release: Release) -> None:
    """Do what cert-manager does: sign what the Certificate asks for, and put the CA where the annotation says."""
    authority = trustme.CA()
    asked = release.get("certificate")["spec"]
    release.control_plane.create(release.namespace, secret(asked["secretName"], authority, *asked["dnsNames"]))
    configuration = release.configuration()
    source = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert source == f"{release.namespace}/{FULLNAME}"
    bundle = base64.b64encode(authority.cert_pem.bytes()).decode()
    release.control_plane.request(
        "PATCH",
        f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{configuration['metadata']['name']}",
        [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}],
        content_type="application/json-patch+json",
    )


@pytest.mark.usefixtures("cert_manager_kinds")
def test_cert_manager(control_plane: ControlPlane, tmp_path: Path) -> None:
    """With cert-manager the server serves what the chart asks it for, and an upgrade keeps the caBundle."""
    with released(control_plane, tmp_path, replicaCount=1, certificates__mode="cert-manager") as release:
        act_as_cert_manager(release)
        with release.replicas():
            wait_until_mutated(release, release.workload_namespace())
        before = release.bundles()
        release.apply("upgrade", replicaCount=1, certificates__mode="cert-manager", logLevel="debug")
        assert release.bundles() == before


def test_opt_in_modes(control_plane: ControlPlane, tmp_path: Path) -> None:
    """First annotated ServiceAccounts alone opt in, as where nobody can label pods; an upgrade goes to the others."""
    with released(control_plane, tmp_path, replicaCount=1, optIn=["service-account"]) as release:
        namespace = release.workload_namespace()
        with release.service() as service, release.replica(service):
            wait_until_mutated(release, namespace, labels={})
            assert not release.is_mutated(namespace, labels={}, serviceAccountName="default")
            assert not release.is_mutated(namespace, labels={names.USE_LABEL: "false"})

            release.apply("upgrade", replicaCount=1, optIn=["namespace-label", "pod-label"])
            with release.replica(service):
                wait_until_true(lambda: all(release.bundles()), "the new entries are given the caBundle")
        labelled = release.workload_namespace(USE)
        with release.replicas():
            wait_until_mutated(release, namespace)
            assert not release.is_mutated(namespace, labels={})
            assert release.is_mutated(labelled, labels={})
            assert release.is_mutated(labelled)
            assert not release.is_mutated(labelled, labels={names.USE_LABEL: "false"})


def test_second_call(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A call that is not answered is made once more, one that is answered is not; without an answer nothing passes."""
    webhook = {"secondCall": True, "timeoutSeconds": TIMEOUT_SECONDS}
    with released(control_plane, tmp_path, replicaCount=1, webhook=webhook) as release, release.service() as service:
        namespace = release.workload_namespace()
        with release.replica(service) as replica:
            wait_until_mutated(release, namespace)
            before = admissions(replica)
            assert all(release.is_mutated(namespace) for _ in range(10))
            assert admissions(replica) == before + 10

            server = child(replica.process.pid)
            os.kill(server, signal.SIGSTOP)
            resumed = threading.Timer(1.5 * TIMEOUT_SECONDS, os.kill, (server, signal.SIGCONT))
            resumed.start()
            begun = time.monotonic()
            assert release.is_mutated(namespace)
            assert time.monotonic() - begun > TIMEOUT_SECONDS
            resumed.join()
        with pytest.raises(ApiError, match="failed calling webhook"):
            release.is_mutated(namespace)


def admissions(replica: Replica) -> int:
    """Return how many admissions a replica has counted."""
    page = urllib3.request("GET", f"http://{replica.endpoint.host}:8095/metrics").data.decode()
    return sum(int(float(value)) for value in re.findall(r"^azwi_admissions_total{.*} (.*)$", page, re.MULTILINE))


def test_identity_mapping(control_plane: ControlPlane, tmp_path: Path) -> None:
    """Accounts that cannot be annotated get their identity from the mapping in the values."""
    release = Release(control_plane, control_plane.create_namespace(), tmp_path)
    namespace = control_plane.create_namespace(scope(release.namespace))
    mappings = [{"namespace": namespace, "serviceAccount": "default", "clientId": CLIENT_ID}]
    release.apply("install", replicaCount=1, identityMapping__mappings=mappings)
    with release.replicas():
        assert is_first_mutated(release, namespace, serviceAccountName="default")
    release.helm("uninstall", release.name)


def upstream_configuration(service_namespace: str, name: str = UPSTREAM_CONFIGURATION, **metadata: str) -> JsonObject:
    """Write the webhook configuration of another installation, for no namespace of this cluster."""
    service = {"name": UPSTREAM_SERVICE, "namespace": service_namespace, "path": names.MUTATE_PATH}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "annotations": metadata},
        "webhooks": [
            {
                "name": "mutation.azure-workload-identity.io",
                "clientConfig": {"service": service},
                "namespaceSelector": {"matchLabels": scope("nowhere")},
                "rules": [CREATED_PODS],
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
            }
        ],
    }


OF_HELM = {"meta.helm.sh/release-name": "workload-identity-webhook", "meta.helm.sh/release-namespace": "awi"}


@pytest.mark.parametrize(
    ("incumbent", "advice"),
    [
        (upstream_configuration("kube-system"), "az aks update --resource-group GROUP"),
        (upstream_configuration("awi", **OF_HELM), "helm -n awi uninstall workload-identity-webhook"),
        (upstream_configuration("awi"), f"kubectl delete mutatingwebhookconfiguration {UPSTREAM_CONFIGURATION}"),
    ],
    ids=["add-on", "helm", "manifest"],
)
def test_incumbent(control_plane: ControlPlane, tmp_path: Path, incumbent: JsonObject, advice: str) -> None:
    """An installation beside the Go original's objects says so, by name, and how to end it."""
    release = Release(control_plane, control_plane.create_namespace(), tmp_path)
    assert "another azure-workload-identity webhook" not in release.apply("install", image__registry="r.example.com")
    control_plane.apply(incumbent)

    notes = release.apply("upgrade", image__registry="r.example.com")

    control_plane.kubectl("delete", "mutatingwebhookconfiguration", UPSTREAM_CONFIGURATION)
    assert "WARNING: another azure-workload-identity webhook is installed" in notes
    assert f"MutatingWebhookConfiguration {UPSTREAM_CONFIGURATION}" in notes
    assert advice in notes
    assert notes.count("WARNING") == 1
    release.helm("uninstall", release.name)


def test_two_releases(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A second release in the same namespace is installed beside the first, and its notes name the first."""
    with released(control_plane, tmp_path) as release:
        other = Release(control_plane, release.namespace, tmp_path, "other")
        notes = other.apply("install")
        assert f"helm -n {release.namespace} uninstall azwi" in " ".join(notes.split())
        assert other.helm("uninstall", other.name).returncode == 0


def as_v160(seen: JsonObject) -> list[JsonObject]:
    """Mutate a pod of one container as v1.6.0 does, which knows its own mount by the volume's name alone."""
    name = "azure-workload-identity-reserved-0123456789abcdef0123456789abcd"
    if any(volume["name"] == name for volume in seen["spec"].get("volumes", [])):
        return []
    token = {"path": "token/azure-identity-token", "audience": names.DEFAULT_AUDIENCE, "expirationSeconds": 3600}
    volume = {"name": name, "projected": {"sources": [{"serviceAccountToken": token}]}}
    mount = {"name": name, "mountPath": names.V160_DIRECTORY, "readOnly": True}
    (container,) = seen["spec"]["containers"]
    return [
        {"op": "add", "path": "/spec/volumes", "value": [*seen["spec"].get("volumes", []), volume]},
        {"op": "add", "path": "/spec/containers/0/volumeMounts", "value": [*container.get("volumeMounts", []), mount]},
    ]


def test_beside_v160(control_plane: ControlPlane, tmp_path: Path) -> None:
    """While v1.6.0 is still there, a pod keeps its token and gets what is missing, and the API server takes it."""
    with released(control_plane, tmp_path, replicaCount=1) as release, other_webhook(as_v160) as other:
        watched = {"namespaceSelector": {"matchLabels": scope(release.namespace)}}
        control_plane.apply(configuration(UPSTREAM_CONFIGURATION, other.url, other.ca_pem, **watched))
        namespace = release.workload_namespace()
        with release.replicas():
            wait_until_true(lambda: mutated(release, namespace) and other.calls > 0, "both are called")
            stored = control_plane.create_pod(namespace, pod(serviceAccountName="app"))
        control_plane.kubectl("delete", "mutatingwebhookconfiguration", UPSTREAM_CONFIGURATION)
    assert len(token_volumes(stored)) == 1
    assert environment(stored["spec"]["containers"][0])[names.ENV_CLIENT_ID] == CLIENT_ID


# The Helm that installs, and the one that does everything after that: a release may outlive a Helm.
HELMS = pytest.mark.parametrize(("first", "later"), [("helm3", "helm3"), ("helm", "helm"), ("helm3", "helm")])


@HELMS
def test_objects_belong_to_helm_and_server(control_plane: ControlPlane, tmp_path: Path, first: str, later: str) -> None:
    """What Helm and the server both write belongs to both, from install to reinstall, also a Secret created again."""
    installer = Release(control_plane, control_plane.create_namespace(), tmp_path, program=first)
    release = replace(installer, program=later)
    values: JsonObject = {"replicaCount": 1, "rbac__createSecret": True}
    installer.apply("install", **values)
    secret_path = f"/api/v1/namespaces/{release.namespace}/secrets/{FULLNAME}-server-cert"
    with release.replicas():
        release.apply("upgrade", **values, commonLabels={"team": "identity"})
        control_plane.request("DELETE", secret_path)
        wait_until_true(lambda: exists(control_plane, secret_path), "a server creates it again")
        for arguments in (("rollback", release.name), ("upgrade", release.name, str(CHART), "--reuse-values")):
            done = release.helm(*arguments)
            assert done.returncode == 0, done.stderr
        release.apply("upgrade", **values, commonLabels={"team": "platform"})
        secret = control_plane.request("GET", secret_path)
        assert secret["metadata"]["labels"]["team"] == "platform"
        assert "tls.crt" in secret["data"]
        assert all(release.bundles())
        assert release.is_mutated(release.workload_namespace())
    assert release.helm("uninstall", release.name).returncode == 0
    assert not exists(control_plane, secret_path)
    release.apply("install", **values)
    assert release.helm("uninstall", release.name).returncode == 0


def upstream_chart(directory: Path) -> Path:
    """Write v1.6.0's chart; its server does not run here."""
    return upstream.write(directory / "upstream", "registry.test/go:1")


@HELMS
def test_upstream_release_is_taken_over(control_plane: ControlPlane, tmp_path: Path, first: str, later: str) -> None:
    """`helm upgrade` with v1.6.0's names turns a release of its chart into one of this, `helm rollback` back; again.

    Deployment and Service stay the same objects, v1.6.0's Secret keeps its pair, and servers that still run after a
    rollback are trusted with the caBundle that v1.6.0's rotator writes.
    """
    installer = Release(control_plane, control_plane.create_namespace(), tmp_path, program=first)
    release = replace(installer, program=later)
    installed = installer.helm("install", release.name, str(upstream_chart(tmp_path)), "--values=-")
    assert installed.returncode == 0, installed.stderr
    theirs = f"/api/v1/namespaces/{release.namespace}/secrets/{upstream.SECRET}"
    authority = trustme.CA().cert_pem.bytes()
    data = encoded({"ca.crt": authority, "ca.key": b"a key"})
    control_plane.request("PATCH", theirs, {"data": data}, content_type="application/merge-patch+json")
    before = release.get("deployment", upstream.DEPLOYMENT)["metadata"]["uid"]
    namespace = release.workload_namespace()

    def pair() -> dict[str, bytes]:
        return {key: base64.b64decode(value) for key, value in control_plane.request("GET", theirs)["data"].items()}

    for _ in range(2):
        notes = release.apply("upgrade", upstreamNames=True, replicaCount=1)

        assert "another azure-workload-identity webhook" not in notes
        deployment = release.get("deployment", upstream.DEPLOYMENT)
        assert deployment["metadata"]["uid"] == before
        assert [container["name"] for container in deployment["spec"]["template"]["spec"]["containers"]] == ["manager"]
        assert "volumes" not in deployment["spec"]["template"]["spec"]
        budget = release.get("poddisruptionbudget", upstream.DEPLOYMENT)
        assert "minAvailable" not in budget["spec"]
        here = f"--namespace={release.namespace}"
        gone = control_plane.kubectl("get", "configmap", upstream.CONFIG, here)
        assert gone.returncode == 1
        with release.replicas(upstream.DEPLOYMENT, UPSTREAM_SERVICE):
            wait_until_mutated(release, namespace)
            own = f"{FULLNAME}-server-cert"
            trusted = authority + base64.b64decode(release.get("secret", own)["data"]["ca.crt"])
            wait_until_true(lambda trusted=trusted: pair()["ca.crt"] == trusted, "a rollback is prepared")  # type: ignore[misc]
            back = release.helm("rollback", release.name, "1")
            assert back.returncode == 0, back.stderr
            assert pair() == {"ca.crt": trusted, "ca.key": b"a key"}
            write_ca_bundle(control_plane, control_plane.request("GET", theirs)["data"]["ca.crt"])
            assert all(release.is_mutated(namespace) for _ in range(20))
        assert control_plane.kubectl("get", "secret", own, here).returncode == 1
    assert release.helm("uninstall", release.name).returncode == 0


def write_ca_bundle(control_plane: ControlPlane, bundle: str) -> None:
    """Replace the caBundle (base64) of v1.6.0's configuration, as its rotator does, with every CA but those given."""
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{UPSTREAM_CONFIGURATION}"
    operations = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}]
    control_plane.request("PATCH", path, operations, content_type="application/json-patch+json")


def test_upstream_manifest_is_taken_over(control_plane: ControlPlane, tmp_path: Path) -> None:
    """Objects that belong to no release become one's, but for Deployment and budget, which are deleted before."""
    release = Release(control_plane, control_plane.create_namespace(), tmp_path)
    rendered = release.helm("template", "azwi", str(upstream_chart(tmp_path)), "--values=-")
    control_plane.apply(*objects(rendered.stdout))
    here = f"--namespace={release.namespace}"
    control_plane.kubectl("delete", "deployment,poddisruptionbudget", upstream.DEPLOYMENT, here)

    notes = release.apply("install", "--take-ownership", "--force-conflicts", upstreamNames=True)

    assert "another azure-workload-identity webhook" not in notes
    annotations = release.get("serviceaccount", upstream.ACCOUNT)["metadata"]["annotations"]
    assert annotations["meta.helm.sh/release-name"] == release.name
    assert release.helm("uninstall", release.name).returncode == 0


def test_fail_is_held_back(control_plane: ControlPlane, tmp_path: Path) -> None:
    """With webhook.failWhenReady nobody is refused before a server is ready, and the same command again ends that."""
    release = Release(control_plane, control_plane.create_namespace(), tmp_path)
    notes = release.apply("install", webhook__failWhenReady=True)
    assert "run the same command again" in " ".join(notes.split())
    assert [webhook["failurePolicy"] for webhook in release.configuration()["webhooks"]] == ["Ignore"]
    assert not release.is_mutated(release.workload_namespace())

    path = f"/apis/apps/v1/namespaces/{release.namespace}/deployments/{FULLNAME}/status"
    ready = {"status": {"replicas": 2, "readyReplicas": 1}}
    control_plane.request("PATCH", path, ready, content_type="application/merge-patch+json")
    notes = release.apply("upgrade", webhook__failWhenReady=True)

    assert "run the same command again" not in " ".join(notes.split())
    assert [webhook["failurePolicy"] for webhook in release.configuration()["webhooks"]] == ["Fail"]
    release.helm("uninstall", release.name)


def exists(control_plane: ControlPlane, path: str) -> bool:
    """Whether there is an object."""
    try:
        return bool(control_plane.request("GET", path))
    except ApiError:
        return False


def test_test_hook(control_plane: ControlPlane, tmp_path: Path) -> None:
    """The pod of `helm test` is given an identity, is admitted under Pod Security `restricted`, and looks at both."""
    release = Release(control_plane, control_plane.create_namespace(), tmp_path)
    namespace = release.workload_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    release.apply("install", replicaCount=1, test={"namespace": namespace})
    with release.replicas():
        rendered = release.helm("get", "hooks", release.name).stdout
        account, written = objects(rendered)
        control_plane.apply(account)
        wait_until_mutated(release, release.workload_namespace())
        stored = control_plane.create_pod(namespace, written)
    release.helm("uninstall", release.name)

    (container,) = stored["spec"]["containers"]
    token = tmp_path / "token"
    token.write_text("token")
    given = {**environment(container), "AZURE_FEDERATED_TOKEN_FILE": str(token)}
    assert run(container, given) == (0, "passed: this pod got an identity and a token\n")
    status, output = run(container, {})
    assert (status, output.split(".")[0]) == (1, "FAILED: this pod got no identity")
    assert run(container, {**given, "AZURE_FEDERATED_TOKEN_FILE": "/nowhere"})[0] == 1


def run(container: JsonObject, variables: dict[str, str]) -> tuple[int, str]:
    """Run a container's command on this machine."""
    environ = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(container["command"], env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_value_set(control_plane: ControlPlane) -> None:
    """The API server takes every built-in object of every value set, without a warning."""
    control_plane.create_namespace(name="azwi-system")
    helm = Helm(control_plane.programs.helm)
    distinct = {
        json.dumps(manifest): manifest for path in VALUE_SETS for manifest in objects(helm.template(f"--values={path}"))
    }
    # Pods wait for their ServiceAccount, which a dry run does not make; test_test_hook creates one.
    builtin = [item for item in distinct.values() if item["apiVersion"] not in CUSTOM and item["kind"] != "Pod"]
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": builtin})

    done = control_plane.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=everything
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(builtin) > 50
