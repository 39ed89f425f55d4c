"""Conflicts between the proxy and a pod's containers."""

import pytest

from azure_workload_identity.types import JsonObject
from testbed.pods import codes, container, parsed
from webhook.admission.conflicts import proxy_conflicts
from webhook.admission.policy import Resources
from webhook.admission.proxy import ProxyMode, ProxyPlan

REDIRECT = ProxyPlan(ProxyMode.REDIRECT, 8000, Resources())
ENVIRONMENT = ProxyPlan(ProxyMode.ENVIRONMENT, 8000, Resources())


def listening(port: object, name: str = "app", **fields: object) -> JsonObject:
    """Write a container that declares a port."""
    return container(name, ports=[{"containerPort": port, **fields}])


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (container(), []),
        (listening(8080), []),
        (listening(8000), ["proxy-port-taken"]),
        (listening(8000, protocol="TCP"), ["proxy-port-taken"]),
        (listening(8000, protocol="UDP"), []),
        (listening("8000"), []),
        (listening(8000, "azwi-proxy"), []),
        (container(ports="8000"), []),
        (container(ports=[8000]), []),
    ],
)
def test_ports(own: JsonObject, expected: list[str]) -> None:
    """A container that declares the proxy's port is warned of, in either mode."""
    assert codes(list(proxy_conflicts(parsed(own), REDIRECT))) == expected
    assert codes(list(proxy_conflicts(parsed(own), ENVIRONMENT))) == expected


@pytest.mark.parametrize(
    ("of_pod", "of_container", "expected"),
    [
        (None, None, []),
        ({"runAsUser": 1000}, None, []),
        ({"runAsUser": 1501}, None, ["proxy-uid-used"]),
        ({"runAsUser": 1501}, {"runAsUser": 1000}, []),
        ({"runAsUser": 1501}, {"runAsUser": 0}, []),
        ({"runAsUser": 1000}, {"runAsUser": 1501}, ["proxy-uid-used"]),
        ({"runAsGroup": 1501}, {}, []),
        ([], "x", []),
    ],
)
def test_uids(of_pod: object, of_container: object, expected: list[str]) -> None:
    """A container that runs as the proxy's uid is warned of where the redirect rules exempt it."""
    pod = parsed(container(securityContext=of_container), securityContext=of_pod)
    assert codes(list(proxy_conflicts(pod, REDIRECT))) == expected
    assert codes(list(proxy_conflicts(pod, ENVIRONMENT))) == []


def test_several_containers() -> None:
    """Several containers with the same conflict make one warning, which names them all."""
    pod = parsed(listening(8000, "a"), listening(8000, "b"), container("c"))
    (warning,) = proxy_conflicts(pod, REDIRECT)
    assert "container 'a, b' declares port 8000" in warning.text
    assert "azure.workload.identity/proxy-sidecar-port" in warning.text
