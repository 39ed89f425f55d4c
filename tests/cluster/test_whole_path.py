"""From `kubectl create` to a token of Entra: a pod of the API server, its injected containers, an unmodified SDK."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, container, environment, pod
from testbed.cluster.server import TENANT_ID, register, scope, serving
from testbed.entra import FederatedCredential
from testbed.processes import MAX_WAIT_SECONDS, running, wait_until
from testbed.program import ROOT
from tests.cluster.support.kubelet import Kubelet, project
from tests.support import azure_app, http_proxy
from tests.support.netns import IMDS, NODE, require
from tests.support.proxied import BINDING_HOST, LOGIN, Outside, outside

ISSUER: Final = "https://issuer.azwi.test/"
VAULT: Final = "https://vault.azure.net"
# The containers' credentials. An SDK that supports workload identity asks Entra itself if the variables are set.
APPS: Final = {
    "redirect": {"app": ["workload-identity", "msal"], "older": ["managed-identity"]},
    "environment": {"app": ["workload-identity", "msal"], "older": []},
}

BINDING: Final = names.CUSTOM_ENDPOINT_PREFIX + "identity-binding"
BINDING_AUDIENCE: Final = "api://AKSIdentityBinding"
BINDING_PORT: Final = 8443
BINDING_SNI: Final = "binding.azwi.test"
SETTINGS: Final = {
    "PROXY_INIT_IMAGE": "",  # one image for both containers
    names.ENV_TOKEN_PROXY: f"https://{BINDING_HOST}:{BINDING_PORT}",
    names.ENV_TOKEN_PROXY_SNI: BINDING_SNI,
    "AZURE_KUBERNETES_CA_CONFIGMAP_NAME": "binding-ca",
}
FLAGS: Final = (
    "--custom-token-endpoint-annotation-suffix=identity-binding",
    f"--custom-token-endpoint-audience={BINDING_AUDIENCE}",
)

HTTP_PROXY_PORT: Final = 3128
EGRESS_CA: Final = "egress-ca"
EGRESS: Final = (
    f"--proxy-https-proxy=http://{NODE}:{HTTP_PROXY_PORT}",
    f"--proxy-ca-configmap={EGRESS_CA}",
    "--proxy-pass-through=/metadata/instance",
)


@pytest.fixture(scope="module")
def watched(
    control_plane: ControlPlane, server_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Run a server with these settings; the labels of namespaces that it watches."""
    directory = tmp_path_factory.mktemp("webhook")
    with serving(server_kubeconfig, directory, *FLAGS, environment=SETTINGS) as server:
        register(control_plane, server, "whole-path")
        yield scope("whole-path")


@pytest.fixture
def services(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Outside]:
    """Make what the pod reaches; Entra fetches the keys of the cluster from the API server."""
    require()
    with outside(tmp_path / "entra") as made:
        token = control_plane.token(control_plane.create_namespace(), "default")
        made.entra.trust_url(ISSUER, f"{control_plane.url}/openid/v1/jwks", control_plane.ca_file, token)
        yield made


@pytest.fixture
def namespace(control_plane: ControlPlane, watched: dict[str, str]) -> str:
    """Create a namespace with the account `app`."""
    created = control_plane.create_namespace(watched)
    control_plane.create_service_account(created, "app", {names.CLIENT_ID: CLIENT_ID})
    return created


def allow(services: Outside, namespace: str, audience: str = names.DEFAULT_AUDIENCE) -> None:
    """Make the identity trust the account."""
    subject = f"system:serviceaccount:{namespace}:app"
    services.entra.register(TENANT_ID, CLIENT_ID, FederatedCredential(ISSUER, subject, audience))


def create(control_plane: ControlPlane, namespace: str, annotations: Mapping[str, str]) -> JsonObject:
    """Create a pod with the proxy and a container that is skipped."""
    written = pod(
        serviceAccountName="app",
        annotations={names.INJECT_PROXY: "true", names.SKIP_CONTAINERS: "older", **annotations},
        containers=[container("app"), container("older")],
    )
    return control_plane.create_pod(namespace, written)


@contextmanager
def started(control_plane: ControlPlane, stored: JsonObject, services: Outside, directory: Path) -> Iterator[Kubelet]:
    """Run the injected containers as they are stored; unless they know better, they trust Entra."""
    project(control_plane, stored, directory)
    ca_file = str(services.entra.ca_file)
    kubelet = Kubelet(services.network.pod, directory, {"SSL_CERT_FILE": ca_file, "REQUESTS_CA_BUNDLE": ca_file})
    *rules, proxy = stored["spec"]["initContainers"]
    for rule in rules:
        done = kubelet.run(rule)
        assert done.returncode == 0, done.stderr
    with kubelet.native_sidecar(proxy, directory / "azwi-proxy.log"):
        yield kubelet


def ask(kubelet: Kubelet, in_container: JsonObject, credentials: list[str], services: Outside) -> None:
    """Run the app in a container: each credential must get a token of the pod's identity."""
    found = azure_app.read(kubelet.run(in_container, *azure_app.command(VAULT, *credentials)))
    assert found.errors == {}
    for token in found.tokens.values():
        claims = services.entra.verify(token)
        assert (claims["appid"], claims["aud"], claims["tid"]) == (CLIENT_ID, VAULT, TENANT_ID)


@pytest.mark.parametrize("mode", APPS)
def test_token(control_plane: ControlPlane, namespace: str, services: Outside, tmp_path: Path, mode: str) -> None:
    """An annotated account and pod are all it takes for an app that only knows managed identity to get a token."""
    allow(services, namespace)
    stored = create(control_plane, namespace, {names.PROXY_MODE: mode})
    with started(control_plane, stored, services, tmp_path / "volume") as kubelet:
        for container in stored["spec"]["containers"]:
            ask(kubelet, container, APPS[mode][container["name"]], services)

    senders = [exchange.user_agent.partition("/")[0] for exchange in services.entra.exchanges]
    assert senders == ["azsdk-python-identity", "azwi-proxy"]
    assert services.imds.asked == []


def test_identity_binding(control_plane: ControlPlane, namespace: str, services: Outside, tmp_path: Path) -> None:
    """With an identity binding the proxy's exchange goes to the token proxy alone: the app need not know of it."""
    allow(services, namespace, BINDING_AUDIENCE)
    ca_directory = tmp_path / "binding"
    listener = services.network.node.listen((NODE, BINDING_PORT))
    with services.entra.token_proxy(ca_directory, BINDING_SNI, listener=listener):
        config_map = {"metadata": {"name": "binding-ca"}, "data": {"ca.crt": (ca_directory / "ca.crt").read_text()}}
        control_plane.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map)
        stored = create(control_plane, namespace, {BINDING: "true"})
        with started(control_plane, stored, services, tmp_path / "volume") as kubelet:
            app, older = stored["spec"]["containers"]
            ask(kubelet, app, ["msal"], services)
            ask(kubelet, older, ["managed-identity"], services)

    assert {exchange.host for exchange in services.entra.exchanges} == {f"{BINDING_HOST}:{BINDING_PORT}"}
    assert services.imds.asked == []


@contextmanager
def http_proxy_on_the_node(services: Outside, log: Path) -> Iterator[None]:
    """Run an HTTP proxy beside Entra."""
    command = services.network.node.command(sys.executable, "-m", http_proxy.__name__, NODE, str(HTTP_PROXY_PORT))
    with running(command, log, cwd=ROOT) as process:
        wait_until(lambda: http_proxy.READY in log.read_text(), process, log, MAX_WAIT_SECONDS)
        yield


def test_egress(control_plane: ControlPlane, server_kubeconfig: Path, services: Outside, tmp_path: Path) -> None:
    """The administrator's egress settings work: HTTP proxy, certificates of a ConfigMap, IMDS paths."""
    log = tmp_path / "http-proxy.log"
    (tmp_path / "webhook").mkdir()
    with (
        serving(server_kubeconfig, tmp_path / "webhook", *EGRESS, environment={"PROXY_INIT_IMAGE": ""}) as server,
        http_proxy_on_the_node(services, log),
    ):
        register(control_plane, server, "egress")
        namespace = control_plane.create_namespace(scope("egress"))
        control_plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
        allow(services, namespace)
        config_map = {"metadata": {"name": EGRESS_CA}, "data": {"ca.crt": services.entra.ca_file.read_text()}}
        control_plane.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map)
        stored = create(control_plane, namespace, {})
        bundle = environment(stored["spec"]["initContainers"][-1])[names.ENV_CERT_FILE]
        assert bundle.startswith(names.DOCUMENTED_DIRECTORY)  # what the proxy trusts, whatever the test has services it
        with started(control_plane, stored, services, tmp_path / "volume") as kubelet:
            app, older = stored["spec"]["containers"]
            ask(kubelet, older, ["managed-identity"], services)
            curl = ["curl", "--silent", "--max-time", "60", "--header", "Metadata: true", f"http://{IMDS}/metadata/"]
            passed = kubelet.run(app, *curl[:-1], curl[-1] + "instance?api-version=2021-02-01")
            kept = kubelet.run(app, *curl[:-1], curl[-1] + "identity/info?api-version=2018-02-01")

    assert log.read_text().splitlines()[1:] == [f"CONNECT {LOGIN}:443"]
    assert [exchange.user_agent.partition("/")[0] for exchange in services.entra.exchanges] == ["azwi-proxy"]
    assert passed.stdout == "imds"
    assert '"error"' in kept.stdout
    assert services.imds.asked == ["GET /metadata/instance?api-version=2021-02-01"]
