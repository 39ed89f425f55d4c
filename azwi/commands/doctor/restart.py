"""Has the owners of pods that lack something make them anew, as `kubectl rollout restart` and `kubectl delete` do."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from azwi.cluster import kube
from azwi.cluster.kube import Cluster
from azwi.commands.doctor.findings import Code, Finding
from azwi.commands.doctor.fixes import ROLLING
from azwi.commands.doctor.snapshot import Snapshot, Workload
from azwi.console.dry_run import Planned

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
RESTARTED: Final = frozenset({Code.POD_NOT_INJECTED, Code.POD_OUTDATED})


def wanted(snapshot: Snapshot, findings: Sequence[Finding]) -> list[Workload]:
    """The owners whose pods are to be made anew; a pod that nobody owns would be gone, so it is left to its command."""
    subjects = {each.subject for each in findings if each.code in RESTARTED}
    return [each for each in snapshot.workloads if each.subject in subjects and each.kind != "Pod"]


def requests(workload: Workload) -> Iterator[tuple[Planned, str]]:
    """What is to be sent for it, each with a word of what that does."""
    if workload.kind in ROLLING:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}
        path = kube.path("apps/v1", f"{workload.kind.lower()}s", workload.namespace, workload.name)
        yield Planned("PATCH", path, patch), f"restarted {workload.subject}"
        return
    for name in workload.pod_names:
        path = kube.path("v1", "pods", workload.namespace, name)
        yield Planned("DELETE", path), f"deleted Pod {workload.namespace}/{name} of {workload.subject}"


def restart(cluster: Cluster, workload: Workload) -> Iterator[str]:
    """Do it, and say what was done; a pod that has gone meanwhile is not told of."""
    for request, done in requests(workload):
        if request.method == "PATCH":
            cluster.patch(request.url, request.body)
            yield done
        elif cluster.delete(request.url):
            yield done
