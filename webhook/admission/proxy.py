"""What a pod asks of the IMDS proxy: whether, how and where it listens."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from azure_workload_identity import names
from webhook.admission import values
from webhook.admission.pod import Pod
from webhook.admission.policy import ProxySettings, Resources
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted

MAX_PORT: Final = 65535
NO_RESOURCES: Final = Resources("", "", "", "")
_RESOURCE_ANNOTATIONS: Final = (
    (names.PROXY_CPU_REQUEST, "cpu_request"),
    (names.PROXY_MEMORY_REQUEST, "memory_request"),
    (names.PROXY_CPU_LIMIT, "cpu_limit"),
    (names.PROXY_MEMORY_LIMIT, "memory_limit"),
)


class ProxyMode(StrEnum):
    """How the app reaches the proxy: iptables redirect 169.254.169.254, or a variable points SDKs at it."""

    REDIRECT = "redirect"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class ProxyPlan:
    """The proxy of one pod."""

    mode: ProxyMode
    port: int
    resources: Resources


def plan(pod: Pod, settings: ProxySettings) -> ProxyPlan | None:
    """The proxy that the pod asks for, if it does.

    Raises:
        Refusal: when it asks for one that cannot work: on the host's network, on Windows, with a bad port, mode or
            resource quantity.
    """
    if not is_requested(pod):
        return None
    if pod.host_network:
        raise Refusal(
            Reason.PROXY_ON_HOST_NETWORK,
            "hostNetwork is set to true, cannot inject proxy sidecar: it would serve the whole node; "
            f"remove hostNetwork or {names.INJECT_PROXY}",
        )
    if pod.windows:
        raise Refusal(
            Reason.PROXY_ON_WINDOWS,
            f"the proxy sidecar runs on Linux only; remove {names.INJECT_PROXY} and use an SDK with workload identity",
        )
    return ProxyPlan(_mode(pod), _port(pod), _resources(pod, settings.resources))


def is_requested(pod: Pod) -> bool:
    """Whether the annotation is there and true; what is no boolean does not count (and is warned of)."""
    return values.boolean(pod.annotations.get(names.INJECT_PROXY, "")) is True


def warnings(pod: Pod, settings: ProxySettings, asked: ProxyPlan | None) -> Iterator[AdmissionWarning]:
    """What the author should know of the proxy that is, or is not, injected."""
    text = pod.annotations.get(names.INJECT_PROXY)
    if text is not None and values.boolean(text) is None:
        yield AdmissionWarning(
            WarningCode.NOT_A_BOOLEAN,
            f'{names.INJECT_PROXY} {quoted(text)} is neither "true" nor "false", so no proxy is injected',
        )
    if asked and not settings.native and any(own["name"] != names.PROXY_INIT_CONTAINER for own in pod.init_containers):
        yield AdmissionWarning(
            WarningCode.PROXY_AFTER_INIT,
            "init containers run before the proxy on this cluster and cannot get tokens from it",
        )


def _mode(pod: Pod) -> ProxyMode:
    text = pod.annotations.get(names.PROXY_MODE, ProxyMode.REDIRECT)
    try:
        return ProxyMode(text)
    except ValueError:
        raise Refusal(
            Reason.INVALID_PROXY_MODE,
            f"{names.PROXY_MODE} {quoted(text)} is not one of {', '.join(ProxyMode)}",
        ) from None


def _port(pod: Pod) -> int:
    text = pod.annotations.get(names.PROXY_PORT)
    if text is None:
        return names.DEFAULT_PROXY_PORT
    port = values.integer(text)
    if port is None or not 1 <= port <= MAX_PORT:
        raise Refusal(
            Reason.INVALID_PROXY_PORT, f"{names.PROXY_PORT} {quoted(text)} is not a port from 1 to {MAX_PORT}"
        )
    return port


def _resources(pod: Pod, settings: Resources) -> Resources:
    """The settings' resources, changed by the pod's annotations.

    A pod with a budget of its own (pod-level resources) shares that: requests of the proxy's would have to fit into it.
    """
    asked = {}
    for annotation, name in _RESOURCE_ANNOTATIONS:
        text = pod.annotations.get(annotation)
        if text is None:
            continue
        if values.quantity(text) is None:
            raise Refusal(
                Reason.INVALID_PROXY_RESOURCES,
                f"{annotation} {quoted(text)} is not a quantity such as 50m or 64Mi",
            )
        asked[name] = text
    base = NO_RESOURCES if pod.spec.get("resources") else settings
    return _consistent(replace(base, **asked), asked) if asked else base


def _consistent(resources: Resources, asked: dict[str, str]) -> Resources:
    """A default gives way to what the pod asks for: a limit below the request asked for, or the other way round."""
    for kind in ("cpu", "memory"):
        request, limit = f"{kind}_request", f"{kind}_limit"
        both_set = getattr(resources, request) and getattr(resources, limit)
        if not both_set or _amount(resources, request) <= _amount(resources, limit):
            continue
        if request in asked and limit in asked:
            raise Refusal(
                Reason.INVALID_PROXY_RESOURCES,
                f"the proxy's {kind} request {asked[request]} is above its limit {asked[limit]}",
            )
        wanted = asked.get(request) or asked[limit]
        resources = replace(resources, **{request: wanted, limit: wanted})
    return resources


def _amount(resources: Resources, name: str) -> float:
    return float(values.quantity(getattr(resources, name)) or 0)
