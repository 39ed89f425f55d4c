"""Conflicts between the proxy and a pod's own containers that the spec shows."""

from collections.abc import Iterator

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission.pod import Pod
from webhook.admission.proxy import ProxyMode, ProxyPlan
from webhook.admission.reasons import AdmissionWarning, WarningCode, quoted


def proxy_conflicts(pod: Pod, plan: ProxyPlan) -> Iterator[AdmissionWarning]:
    """Warn of containers that listen on the proxy's port or, in redirect mode, run as its uid."""
    own = [
        container
        for container in (*pod.init_containers, *pod.containers)
        if container["name"] not in names.PROXY_CONTAINERS
    ]
    if listening := _named([container for container in own if _declares_port(container, plan.port)]):
        yield AdmissionWarning(
            WarningCode.PROXY_PORT_TAKEN,
            f"container {listening} declares port {plan.port}, on which the proxy listens; "
            f"set {names.PROXY_PORT} to another port",
        )
    if plan.mode is not ProxyMode.REDIRECT:
        return
    of_pod = _user(pod.spec, None)
    if exempt := _named([container for container in own if _user(container, of_pod) == names.PROXY_UID]):
        yield AdmissionWarning(
            WarningCode.PROXY_UID_USED,
            f"container {exempt} runs as uid {names.PROXY_UID}, the proxy's: its requests to IMDS are not redirected; "
            "run it as another user",
        )


def _named(containers: list[JsonObject]) -> str:
    return quoted(", ".join(container["name"] for container in containers)) if containers else ""


def _declares_port(container: JsonObject, port: int) -> bool:
    ports = container.get("ports")
    if not ports or not isinstance(ports, list):
        return False
    return any(
        isinstance(entry, dict) and entry.get("containerPort") == port and entry.get("protocol", "TCP") == "TCP"
        for entry in ports
    )


def _user(parent: JsonObject, default: object) -> object:
    context = parent.get("securityContext")
    user = context.get("runAsUser") if isinstance(context, dict) else None
    return default if user is None else user
