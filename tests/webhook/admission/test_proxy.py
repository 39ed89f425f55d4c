"""The proxy that a pod asks for."""

import pytest

from azure_workload_identity import names
from testbed.pods import codes, container, parsed
from webhook.admission import proxy
from webhook.admission.annotations import PodAnnotations
from webhook.admission.pod import Pod
from webhook.admission.policy import ProxySettings, Resources
from webhook.admission.proxy import ProxyMode, ProxyPlan
from webhook.admission.reasons import Reason, Refusal

SETTINGS = ProxySettings("proxy.test/proxy:1")


def plan_of(pod: Pod, settings: ProxySettings = SETTINGS) -> ProxyPlan | None:
    """Return the plan for a pod."""
    return proxy.plan(PodAnnotations.parse(pod, None).proxy, pod, settings)


def planned(**annotations: str) -> ProxyPlan | None:
    """Return the plan for a pod that asks for the proxy with these annotations (their names with underscores)."""
    return plan_of(parsed(annotations=asked_with(**annotations)))


def asked_with(**annotations: str) -> dict[str, str]:
    """Return the annotations of a pod that asks for the proxy."""
    given = {names.PREFIX + name.replace("_", "-"): value for name, value in annotations.items()}
    return {names.INJECT_PROXY: "true", **given}


@pytest.mark.parametrize("text", ["true", "True", "1", "t"])
def test_asked_for(text: str) -> None:
    """A pod asks for the proxy with an annotation that is true."""
    assert planned(inject_proxy_sidecar=text) == ProxyPlan(ProxyMode.REDIRECT, 8000, Resources())


@pytest.mark.parametrize(
    "annotations", [{}, {names.INJECT_PROXY: "false"}, {names.INJECT_PROXY: ""}, {names.PROXY_PORT: "0"}]
)
def test_not_asked_for(annotations: dict[str, str]) -> None:
    """Without the annotation, or with one that is not true, there is no proxy, whatever the others say."""
    assert plan_of(parsed(annotations=annotations)) is None


@pytest.mark.parametrize(
    ("text", "port"), [("8080", 8080), ("1", 1), ("65535", 65535), ("+8080", 8080), ("08080", 8080)]
)
def test_port(text: str, port: int) -> None:
    """The proxy listens on the annotation's port."""
    assert (plan := planned(proxy_sidecar_port=text))
    assert plan.port == port


@pytest.mark.parametrize("text", ["invalid", "0", "-1", "65536", "70000", "", " 8080", "8_080", "80.0"])
def test_impossible_ports(text: str) -> None:
    """A value that is not a port is refused, before the API server refuses the container."""
    with pytest.raises(Refusal, match="is not a port from 1 to 65535") as refused:
        planned(proxy_sidecar_port=text)
    assert refused.value.reason is Reason.INVALID_PROXY_PORT


@pytest.mark.parametrize("mode", ProxyMode)
def test_mode(mode: ProxyMode) -> None:
    """The annotation chooses how the app reaches the proxy."""
    assert (plan := planned(proxy_mode=mode.value))
    assert plan.mode is mode


@pytest.mark.parametrize("text", ["", "iptables", "Redirect"])
def test_unknown_modes(text: str) -> None:
    """An unknown mode is refused, with the known ones."""
    with pytest.raises(Refusal, match="is not one of redirect, environment") as refused:
        planned(proxy_mode=text)
    assert refused.value.reason is Reason.INVALID_PROXY_MODE


def test_on_the_hosts_network() -> None:
    """A pod on its node's network cannot have the proxy."""
    with pytest.raises(Refusal, match="hostNetwork is set to true, cannot inject proxy sidecar") as refused:
        plan_of(parsed(annotations=asked_with(), hostNetwork=True))
    assert refused.value.reason is Reason.PROXY_ON_HOST_NETWORK


def test_on_windows() -> None:
    """A Windows pod cannot have the proxy."""
    with pytest.raises(Refusal, match="runs on Linux only") as refused:
        plan_of(parsed(annotations=asked_with(), os={"name": "windows"}))
    assert refused.value.reason is Reason.PROXY_ON_WINDOWS


def test_resources() -> None:
    """Requests and limits are the settings', unless the pod's annotations replace them."""
    assert (plan := planned(proxy_cpu_request="20m", proxy_memory_limit="1Gi"))
    assert plan.resources == Resources(cpu_request="20m", memory_limit="1Gi")


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"proxy_cpu_request": "2"}, Resources(cpu_request="2", cpu_limit="2")),
        ({"proxy_cpu_limit": "5m"}, Resources(cpu_request="5m", cpu_limit="5m")),
        ({"proxy_memory_request": "1Gi"}, Resources(memory_request="1Gi", memory_limit="1Gi")),
        ({"proxy_memory_limit": "32Mi"}, Resources(memory_request="32Mi", memory_limit="32Mi")),
        ({"proxy_cpu_limit": "0"}, Resources(cpu_request="0", cpu_limit="0")),
    ],
)
def test_a_default_gives_way(annotations: dict[str, str], expected: Resources) -> None:
    """A default that contradicts what the pod asks for follows it."""
    assert (plan := planned(**annotations))
    assert plan.resources == expected


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, Resources("", "", "", "")),
        ({"proxy_cpu_request": "2"}, Resources("2", "", "", "")),
        ({"proxy_cpu_request": "1", "proxy_cpu_limit": "2"}, Resources("1", "", "2", "")),
    ],
)
def test_a_budget_of_the_pods_own(annotations: dict[str, str], expected: Resources) -> None:
    """A pod with pod-level resources shares them with the proxy, unless its annotations say otherwise."""
    candidate = parsed(annotations=asked_with(**annotations), resources={"limits": {"cpu": "1"}})
    assert (plan := plan_of(candidate))
    assert plan.resources == expected


def test_a_request_above_its_limit() -> None:
    """A pod that contradicts itself is refused."""
    with pytest.raises(Refusal, match="cpu request 2 is above its limit 1") as refused:
        planned(proxy_cpu_request="2", proxy_cpu_limit="1")
    assert refused.value.reason is Reason.INVALID_PROXY_RESOURCES


@pytest.mark.parametrize("text", ["", "lots", "-1", "1 Gi"])
def test_impossible_resources(text: str) -> None:
    """A value that is not a quantity is refused."""
    with pytest.raises(Refusal, match="is not a quantity such as 50m or 64Mi") as refused:
        planned(proxy_memory_request=text)
    assert refused.value.reason is Reason.INVALID_PROXY_RESOURCES


APPLICATION = "2e6a9c41-7b0d-4f3e-8c52-9d1a6b7e0f34"


def test_second_exchange() -> None:
    """An application and its tenant are read without blanks; an empty one counts as not set."""
    assert (plan := planned(proxy_then_client_id=f" {APPLICATION} ", proxy_then_tenant_id="fabrikam.test\n"))
    assert plan.then == proxy.Application(APPLICATION, "fabrikam.test")
    assert (plan := planned(proxy_then_client_id=APPLICATION, proxy_then_tenant_id=" "))
    assert plan.then == proxy.Application(APPLICATION)
    assert (plan := planned(proxy_then_client_id="", proxy_then_tenant_id=""))
    assert plan.then is None


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"proxy_then_client_id": "orders"}, "proxy-then-client-id 'orders' is not a UUID"),
        ({"proxy_then_client_id": APPLICATION, "proxy_then_tenant_id": "../x"}, "is neither a UUID nor a domain"),
        ({"proxy_then_client_id": APPLICATION, "proxy_then_tenant_id": "a" * 300}, "is neither a UUID nor a domain"),
        ({"proxy_then_tenant_id": "fabrikam.test"}, "is set without azure.workload.identity/proxy-then-client-id"),
    ],
)
def test_bad_second_exchange(annotations: dict[str, str], expected: str) -> None:
    """What cannot be an application or a tenant, and a tenant without an application, is refused."""
    with pytest.raises(Refusal, match=expected) as refused:
        planned(**annotations)
    assert refused.value.reason is Reason.INVALID_PROXY_APPLICATION


@pytest.mark.parametrize("text", ["", "yes", "enabled"])
def test_an_annotation_that_is_no_boolean(text: str) -> None:
    """An annotation that is neither true nor false injects nothing, and the author is warned."""
    pod = parsed(annotations={names.INJECT_PROXY: text})
    requested = PodAnnotations.parse(pod, None)
    assert requested.proxy is None
    assert codes(requested.warnings) == ["not-a-boolean"]


@pytest.mark.parametrize(("native", "expected"), [(True, []), (False, ["proxy-after-init"])])
def test_init_containers_before_the_proxy(native: bool, expected: list[str]) -> None:  # noqa: FBT001  a setting
    """Init containers that run before an ordinary proxy container cannot use it, and the author is warned."""
    pod = parsed(annotations=asked_with(), init=(container("migrate"),))
    settings = ProxySettings("proxy.test/proxy:1", native=native)
    assert codes(list(proxy.warnings(pod, settings, plan_of(pod, settings)))) == expected
