"""The IMDS proxy that a pod asks for: whether it can have one, how the app reaches it, what it may use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from azure_workload_identity import names
from webhook.admission import values
from webhook.admission.pod import Pod
from webhook.admission.policy import ProxySettings, Resources
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted
from webhook.admission.windows import is_windows

MAX_PORT: Final = 65535
NO_RESOURCES: Final = Resources("", "", "", "")
RESOURCE_ANNOTATIONS: Final = (
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
class Application:
    """The application of which the proxy gets tokens by a second exchange; an empty tenant is the identity's."""

    client_id: str
    tenant_id: str = ""


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """What the annotations of a pod ask for; `resources` are those that it sets, by the fields of Resources.

    `then` is the application of a second exchange, None for none.
    """

    mode: ProxyMode
    port: int
    resources: Mapping[str, str]
    then: Application | None = None

    @classmethod
    def parse(cls, annotations: Mapping[str, str]) -> "ProxyRequest":
        """Read the annotations of a pod that asks for the proxy.

        Raises:
            Refusal: INVALID_PROXY_MODE, INVALID_PROXY_PORT, INVALID_PROXY_RESOURCES or INVALID_PROXY_APPLICATION.
        """
        return cls(_mode(annotations), _port(annotations), _resources(annotations), _application(annotations))


@dataclass(frozen=True, slots=True)
class ProxyPlan:
    """The proxy that one pod gets."""

    mode: ProxyMode
    port: int
    resources: Resources
    then: Application | None = None


def plan(request: ProxyRequest | None, pod: Pod, settings: ProxySettings) -> ProxyPlan | None:
    """The proxy that a pod gets, None where it asks for none.

    Raises:
        Refusal: where the proxy cannot work: on the host's network, on Windows, with a request above its limit.
    """
    if request is None:
        return None
    if pod.host_network:
        raise Refusal(
            Reason.PROXY_ON_HOST_NETWORK,
            "hostNetwork is set to true, cannot inject proxy sidecar: it would serve the whole node; "
            f"remove hostNetwork or {names.INJECT_PROXY}",
        )
    if is_windows(pod):
        raise Refusal(
            Reason.PROXY_ON_WINDOWS,
            f"the proxy sidecar runs on Linux only; remove {names.INJECT_PROXY} and use an SDK with workload identity",
        )
    # A pod with resources of its own (spec.resources) shares them: the proxy's requests would have to fit in there.
    base = NO_RESOURCES if pod.spec.get("resources") else settings.resources
    return ProxyPlan(request.mode, request.port, _merged(base, request.resources), request.then)


def check_first_identity(plan: ProxyPlan | None, client_id: str, account: str) -> None:
    """Check that a second exchange has a first identity, of ServiceAccount `account`.

    Raises:
        Refusal: INVALID_PROXY_APPLICATION.
    """
    if plan is not None and plan.then is not None and not client_id:
        raise Refusal(
            Reason.INVALID_PROXY_APPLICATION,
            f"{names.PROXY_THEN_CLIENT_ID} needs an identity that the application trusts; annotate ServiceAccount "
            f"{account} with {names.CLIENT_ID}",
        )


def warnings(pod: Pod, settings: ProxySettings, proxy: ProxyPlan | None) -> Iterator[AdmissionWarning]:
    """Warn where the proxy that a pod gets does not serve all of its containers."""
    if proxy and not settings.native and any(own["name"] != names.PROXY_INIT_CONTAINER for own in pod.init_containers):
        yield AdmissionWarning(
            WarningCode.PROXY_AFTER_INIT,
            "init containers run before the proxy on this cluster and cannot get tokens from it",
        )


def _mode(annotations: Mapping[str, str]) -> ProxyMode:
    text = annotations.get(names.PROXY_MODE, ProxyMode.REDIRECT)
    try:
        return ProxyMode(text)
    except ValueError:
        raise Refusal(
            Reason.INVALID_PROXY_MODE,
            f"{names.PROXY_MODE} {quoted(text)} is not one of {', '.join(ProxyMode)}",
        ) from None


def _port(annotations: Mapping[str, str]) -> int:
    text = annotations.get(names.PROXY_PORT)
    if text is None:
        return names.DEFAULT_PROXY_PORT
    port = values.integer(text)
    if port is None or not 1 <= port <= MAX_PORT:
        raise Refusal(
            Reason.INVALID_PROXY_PORT, f"{names.PROXY_PORT} {quoted(text)} is not a port from 1 to {MAX_PORT}"
        )
    return port


def _application(annotations: Mapping[str, str]) -> Application | None:
    client_id = annotations.get(names.PROXY_THEN_CLIENT_ID, "").strip()
    tenant_id = annotations.get(names.PROXY_THEN_TENANT_ID, "").strip()
    if client_id and not values.is_uuid(client_id):
        raise Refusal(
            Reason.INVALID_PROXY_APPLICATION,
            f"{names.PROXY_THEN_CLIENT_ID} {quoted(client_id)} is not a UUID, as application ids are",
        )
    if tenant_id and not values.is_tenant(tenant_id):
        raise Refusal(
            Reason.INVALID_PROXY_APPLICATION,
            f"{names.PROXY_THEN_TENANT_ID} {quoted(tenant_id)} is neither a UUID nor a domain",
        )
    if tenant_id and not client_id:
        raise Refusal(
            Reason.INVALID_PROXY_APPLICATION,
            f"{names.PROXY_THEN_TENANT_ID} is set without {names.PROXY_THEN_CLIENT_ID}",
        )
    return Application(client_id, tenant_id) if client_id else None


def _resources(annotations: Mapping[str, str]) -> Mapping[str, str]:
    return {
        name: _quantity(annotation, annotations[annotation])
        for annotation, name in RESOURCE_ANNOTATIONS
        if annotation in annotations
    }


def _quantity(annotation: str, text: str) -> str:
    if values.quantity(text) is None:
        raise Refusal(
            Reason.INVALID_PROXY_RESOURCES, f"{annotation} {quoted(text)} is not a quantity such as 50m or 64Mi"
        )
    return text


def _merged(base: Resources, requested: Mapping[str, str]) -> Resources:
    """`base` with the requested resources; a default that contradicts one of them is moved to the same amount."""
    if not requested:
        return base
    resources = replace(base, **requested)
    for kind in ("cpu", "memory"):
        request, limit = f"{kind}_request", f"{kind}_limit"
        both_set = getattr(resources, request) and getattr(resources, limit)
        if not both_set or _amount(resources, request) <= _amount(resources, limit):
            continue
        if request in requested and limit in requested:
            raise Refusal(
                Reason.INVALID_PROXY_RESOURCES,
                f"the proxy's {kind} request {requested[request]} is above its limit {requested[limit]}",
            )
        amount = requested.get(request) or requested[limit]
        resources = replace(resources, **{request: amount, limit: amount})
    return resources


def _amount(resources: Resources, name: str) -> float:
    return float(values.quantity(getattr(resources, name)) or 0)
