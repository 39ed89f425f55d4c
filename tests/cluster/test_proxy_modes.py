"""The two ways in which an app reaches the injected proxy, under the API server's own rules."""

import json

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, container, environment, pod, token_mounts
from testbed.cluster.server import PROXY_IMAGE, Server, scope
from tests.cluster.test_refusals import refusal

WITH_PROXY = {names.INJECT_PROXY: "true"}
ENVIRONMENT_MODE = {**WITH_PROXY, names.PROXY_MODE: "environment"}

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
def restricted(control_plane: ControlPlane, webhook: Server) -> str:  # noqa: ARG001  the webhook must run
    """Create a namespace that admits only what Pod Security calls restricted."""
    labels = {**scope("main"), "pod-security.kubernetes.io/enforce": "restricted"}
    created = control_plane.create_namespace(labels)
    control_plane.create_service_account(created, "app", {names.CLIENT_ID: CLIENT_ID})
    return created


def restricted_pod(annotations: dict[str, str]) -> JsonObject:
    """Write a pod whose own container is restricted, so that only what is injected is judged."""
    app = container(securityContext=RESTRICTED)
    return pod(serviceAccountName="app", annotations=annotations, containers=[app])


def test_redirect(control_plane: ControlPlane, namespace: str) -> None:
    """In redirect mode the rules are written first, without privilege, and the proxy is a native sidecar."""
    user_init = container("setup")

    stored = control_plane.create_pod(
        namespace, pod(serviceAccountName="app", annotations=WITH_PROXY, initContainers=[user_init])
    )

    rules, proxy, setup = stored["spec"]["initContainers"]
    assert [rules["name"], proxy["name"], setup["name"]] == ["azwi-proxy-init", "azwi-proxy", "setup"]
    assert sorted(rules["securityContext"]["capabilities"]["add"]) == ["NET_ADMIN", "NET_RAW"]
    assert rules["securityContext"]["privileged"] is False
    assert token_mounts(rules) == []
    assert proxy["image"] == PROXY_IMAGE
    assert proxy["restartPolicy"] == "Always"
    assert "startupProbe" in proxy
    assert token_mounts(proxy)


def test_environment(control_plane: ControlPlane, namespace: str) -> None:
    """In environment mode nothing is redirected: a variable tells the app's SDK where the proxy is."""
    stored = control_plane.create_pod(
        namespace, pod(serviceAccountName="app", annotations={**ENVIRONMENT_MODE, names.PROXY_PORT: "8123"})
    )

    assert [container["name"] for container in stored["spec"]["initContainers"]] == ["azwi-proxy"]
    (app,) = stored["spec"]["containers"]
    assert environment(app)["AZURE_POD_IDENTITY_AUTHORITY_HOST"] == "http://127.0.0.1:8123"


def test_restricted_namespace_takes_environment(control_plane: ControlPlane, restricted: str) -> None:
    """Pod Security `restricted` admits a pod in environment mode, without a warning."""
    created = control_plane.create(restricted, restricted_pod(ENVIRONMENT_MODE))

    assert (created.returncode, created.stderr) == (0, "")
    assert json.loads(created.stdout)["spec"]["initContainers"][0]["name"] == "azwi-proxy"


def test_restricted_namespace_refuses_redirect(control_plane: ControlPlane, restricted: str) -> None:
    """Pod Security `restricted` refuses redirect mode, and only because of the container that writes the rules."""
    created = control_plane.create(restricted, restricted_pod(WITH_PROXY))

    assert created.returncode == 1
    assert 'violates PodSecurity "restricted:latest"' in created.stderr
    assert 'container "azwi-proxy-init"' in created.stderr
    assert '"azwi-proxy"' not in created.stderr


def test_host_network(control_plane: ControlPlane, namespace: str) -> None:
    """A pod on the node's network cannot have the proxy, and is refused with the reason."""
    written = pod(serviceAccountName="app", annotations=WITH_PROXY, hostNetwork=True)

    assert refusal(control_plane, namespace, written) == (
        "hostNetwork is set to true, cannot inject proxy sidecar: it would serve the whole node; remove "
        "hostNetwork or azure.workload.identity/inject-proxy-sidecar (proxy-on-host-network)"
    )


@pytest.mark.parametrize("port", ["0", "70000", "http", ""])
def test_bad_port(control_plane: ControlPlane, namespace: str, port: str) -> None:
    """A proxy port that is none is refused with the bounds."""
    written = pod(serviceAccountName="app", annotations={**WITH_PROXY, names.PROXY_PORT: port})

    assert refusal(control_plane, namespace, written) == (
        f"azure.workload.identity/proxy-sidecar-port '{port}' is not a port from 1 to 65535 (invalid-proxy-port)"
    )


@pytest.mark.parametrize("annotations", [WITH_PROXY, ENVIRONMENT_MODE], ids=["redirect", "environment"])
def test_pod_with_a_budget(control_plane: ControlPlane, namespace: str, annotations: dict[str, str]) -> None:
    """A pod whose own resources are all its containers may have together is stored with the proxy."""
    budget = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}

    stored = control_plane.create_pod(
        namespace, pod(serviceAccountName="app", annotations=annotations, resources=budget)
    )

    assert stored["spec"]["resources"] == budget
    assert stored["spec"]["initContainers"][-1]["name"] == "azwi-proxy"
