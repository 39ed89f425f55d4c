"""Are servers of the webhook ready; and if not, why?"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.checks.webhook import CHART
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.snapshot import Installation, Snapshot
from azwi_cli.console.errors import one_line

REPLICAS: Final = 2
SERVER_PORT: Final = 9443
# The Secret that is named where another program keeps the webhook's.
OWN_SECRET: Final = "azwi-webhook-certificate"  # noqa: S105  a name
# How the server begins the line with which it ends, and what such a line is about where it has no certificate.
_LAST_LINE: Final = "azwi-webhook: "
_OF_CERTIFICATES: Final = re.compile(r"certificate|Secret ", re.IGNORECASE)
_OF_ANOTHER_PROGRAM: Final = "--cert-secret"


def served(snapshot: Snapshot) -> Iterator[Finding]:
    """The Service of a configuration is there and has a server that is ready."""
    for installation in snapshot.installations or ():
        namespace, name = installation.service_key
        if not name or installation.service is None:
            continue
        if not installation.service:
            servers = "its servers still run" if installation.deployment else "no server of it runs"
            yield Finding(
                Code.SERVICE_MISSING,
                installation.subject,
                f"it calls Service {namespace}/{name}, which does not exist",
                (installation.failure_policies, servers),
                _reapplied(snapshot, installation)
                if installation.deployment
                else snapshot.commands.uninstall(installation.configuration),
            )
        elif installation.slices is not None and installation.deployment and not installation.ready_endpoints:
            yield _not_ready(snapshot, installation, installation.deployment)


def _reapplied(snapshot: Snapshot, installation: Installation) -> str:
    """Create the Service again: from the Helm release, else for the pods of the Deployment."""
    namespace, name = installation.service_key
    if again := snapshot.commands.upgrade(installation.configuration, CHART):
        return again
    deployment = (installation.deployment or {})["metadata"]["name"]
    ports = ("--port=443", f"--target-port={SERVER_PORT}")
    return snapshot.commands.kubectl("expose", "deployment", deployment, f"--name={name}", *ports, namespace=namespace)


def _not_ready(snapshot: Snapshot, installation: Installation, deployment: JsonObject) -> Finding:
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    subject = f"Deployment {namespace}/{name}"
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status") or {}
    counted = f"replicas {wanted}, ready {status.get('readyReplicas', 0)}; no endpoint of its Service is ready"
    if wanted == 0:
        return Finding(
            Code.WEBHOOK_SCALED_TO_ZERO,
            subject,
            "the webhook is scaled to zero",
            (counted,),
            snapshot.commands.kubectl("scale", f"deployment/{name}", f"--replicas={REPLICAS}", namespace=namespace),
        )
    states = tuple(dict.fromkeys(_states(installation.pods)))
    for reason in _last_lines(installation.pods):
        if _OF_CERTIFICATES.search(reason):
            return Finding(
                Code.CERTIFICATE_NOT_MADE,
                subject,
                "the webhook's servers end at once, since they get no certificate",
                (one_line(reason), counted, *states),
                _other_certificate(snapshot, installation, deployment, reason),
            )
    conditions = tuple(
        f"{condition.get('type')}={condition.get('status')}: {condition.get('message', '')}"
        for condition in status.get("conditions") or ()
    )
    return Finding(
        Code.WEBHOOK_NOT_READY,
        subject,
        f"no server of the webhook is ready; its log has the reason: kubectl logs -n {namespace} deployment/{name}",
        (counted, *conditions, *states),
        snapshot.commands.kubectl("rollout", "restart", f"deployment/{name}", namespace=namespace),
    )


def _states(pods: Sequence[JsonObject]) -> Iterator[str]:
    """What containers wait for, and how they ended: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/."""
    for status in _statuses(pods):
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting:
            why = one_line(f"{waiting.get('reason')} {waiting.get('message', '')}")
            yield f"container {status['name']} waits: {why}"
        if ended := _ended(status):
            yield f"container {status['name']} ended with exit status {ended.get('exitCode')} ({ended.get('reason')})"


def _last_lines(pods: Sequence[JsonObject]) -> Iterator[str]:
    """The reasons with which servers ended; the kubelet keeps the end of the log (FallbackToLogsOnError)."""
    for status in _statuses(pods):
        for line in str(_ended(status).get("message", "")).splitlines():
            if line.startswith(_LAST_LINE):
                yield line.removeprefix(_LAST_LINE)


def _statuses(pods: Sequence[JsonObject]) -> Iterator[JsonObject]:
    for pod in pods:
        status = pod.get("status") or {}
        yield from (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def _ended(status: JsonObject) -> JsonObject:
    for key in ("state", "lastState"):
        if ended := (status.get(key) or {}).get("terminated"):
            found: JsonObject = ended
            return found
    return {}


def _other_certificate(snapshot: Snapshot, installation: Installation, deployment: JsonObject, reason: str) -> str:
    """A Secret of its own, where another program keeps this one; else the release's Secret and permissions again."""
    commands, configuration = snapshot.commands, installation.configuration
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    if _OF_ANOTHER_PROGRAM in reason:
        upgraded = commands.upgrade(configuration, CHART, f"certificates.secretName={OWN_SECRET}")
        return upgraded or commands.kubectl("edit", "deployment", name, namespace=namespace)
    restart = commands.kubectl("rollout", "restart", f"deployment/{name}", namespace=namespace)
    return " && ".join(filter(None, [commands.upgrade(configuration, CHART), restart]))


CHECKS: Final = (
    Check(Group.WEBHOOK, "its Service exists and has a ready server", served, frozenset({Area.WEBHOOKS, Area.SERVER})),
)
