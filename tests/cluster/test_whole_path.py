"""From `kubectl create` to a token of Entra: a pod of the API server, its injected containers, an unmodified SDK."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubelet import Kubelet, project_tokens
from tests.cluster.manifests import CLIENT_ID, Manifest, container, pod
from tests.cluster.server import TENANT_ID, register, scope, serving
from tests.support import azure_app
from tests.support.entra import FederatedCredential
from tests.support.netns import require
from tests.support.proxied import Outside, outside
from webhook import names

ISSUER: Final = "https://issuer.azwi.test/"
VAULT: Final = "https://vault.azure.net"
# What the containers ask with. An SDK that knows workload identity asks Entra itself where it is given the variables.
APPS: Final = {
    "redirect": {"app": ["workload-identity", "msal"], "older": ["managed-identity"]},
    "environment": {"app": ["workload-identity", "msal"], "older": []},
}


@pytest.fixture(scope="module")
def watched(
    control_plane: ControlPlane, server_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Run a server that injects one image for both containers; the labels of namespaces that it watches."""
    environment = {"PROXY_INIT_IMAGE": ""}
    with serving(server_kubeconfig, tmp_path_factory.mktemp("webhook"), environment=environment) as server:
        register(control_plane, server, "whole-path")
        yield scope("whole-path")


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Outside]:
    """Make what the pod reaches."""
    require()
    with outside(tmp_path / "entra") as made:
        yield made


def create(control_plane: ControlPlane, labels: dict[str, str], around: Outside, mode: str) -> Manifest:
    """Create an annotated account, whom Entra trusts, and a pod of it with a container that is skipped."""
    namespace = control_plane.create_namespace(labels)
    control_plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    keys = f"{control_plane.url}/openid/v1/jwks"
    around.entra.trust_url(ISSUER, keys, control_plane.ca_file, control_plane.token(namespace, "default"))
    credential = FederatedCredential(ISSUER, f"system:serviceaccount:{namespace}:app")
    around.entra.register(TENANT_ID, CLIENT_ID, credential)
    written = pod(
        serviceAccountName="app",
        annotations={names.INJECT_PROXY: "true", names.PROXY_MODE: mode, names.SKIP_CONTAINERS: "older"},
        containers=[container("app"), container("older")],
    )
    return control_plane.create_pod(namespace, written)


@contextmanager
def started(control_plane: ControlPlane, stored: Manifest, around: Outside, directory: Path) -> Iterator[Kubelet]:
    """Run the injected containers as they are stored."""
    project_tokens(control_plane, stored, directory)
    ca_file = str(around.entra.ca_file)
    trust = {"SSL_CERT_FILE": ca_file, "REQUESTS_CA_BUNDLE": ca_file}
    kubelet = Kubelet(around.network.pod, directory, trust)
    *rules, proxy = stored["spec"]["initContainers"]
    for each in rules:
        done = kubelet.run(each)
        assert done.returncode == 0, done.stderr
    with kubelet.native_sidecar(proxy, directory / "azwi-proxy.log"):
        yield kubelet


@pytest.mark.parametrize("mode", APPS)
def test_token(
    control_plane: ControlPlane, watched: dict[str, str], around: Outside, tmp_path: Path, mode: str
) -> None:
    """An annotated account and pod are all it takes for an app that only knows managed identity to get a token."""
    stored = create(control_plane, watched, around, mode)
    with started(control_plane, stored, around, tmp_path / "volume") as kubelet:
        for each in stored["spec"]["containers"]:
            found = azure_app.read(kubelet.run(each, *azure_app.command(VAULT, *APPS[mode][each["name"]])))
            assert found.errors == {}
            for token in found.tokens.values():
                claims = around.entra.verify(token)
                assert (claims["appid"], claims["aud"], claims["tid"]) == (CLIENT_ID, VAULT, TENANT_ID)

    senders = [each.user_agent.partition("/")[0] for each in around.entra.exchanges]
    assert senders == ["azsdk-python-identity", "azwi-proxy"]
    assert around.imds.asked == []
