"""Restarts the owners of pods that must be created again, as `kubectl rollout restart` and `kubectl delete` do."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.doctor.findings import Code, Finding
from azwi_cli.commands.doctor.fixes import ROLLING
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from azwi_cli.console.dry_run import Planned

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
RESTARTED: Final = frozenset({Code.POD_NOT_INJECTED, Code.POD_OUTDATED})


def wanted(snapshot: Snapshot, findings: Sequence[Finding]) -> list[LiveWorkload]:
    """The owners to restart; a pod without an owner would be lost, so only its command is printed."""
    subjects = {finding.subject for finding in findings if finding.code in RESTARTED}
    return [workload for workload in snapshot.workloads if workload.subject in subjects and workload.kind != "Pod"]


def requests(workload: LiveWorkload) -> Iterator[tuple[Planned, str]]:
    """The requests for a restart, each with a description."""
    if workload.kind in ROLLING:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}
        path = kube.path("apps/v1", f"{workload.kind.lower()}s", workload.namespace, workload.name)
        yield Planned("PATCH", path, patch), f"restarted {workload.subject}"
        return
    for name in workload.pod_names:
        path = kube.path("v1", "pods", workload.namespace, name)
        yield Planned("DELETE", path), f"deleted Pod {workload.namespace}/{name} of {workload.subject}"


def restart(cluster: Cluster, workload: LiveWorkload) -> Iterator[str]:
    """Send them and yield the descriptions; a pod that is gone already is skipped."""
    for request, done in requests(workload):
        if request.method == "PATCH":
            cluster.patch(request.url, request.body)
            yield done
        elif cluster.delete(request.url):
            yield done
