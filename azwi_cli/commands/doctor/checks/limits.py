"""Do LimitRanges and ResourceQuotas admit the injected proxy? The API server decides that after the webhook."""

from collections.abc import Iterator, Sequence
from typing import Final

from azure_workload_identity import names
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from azwi_cli.offline.limit_problem import LimitProblem


def admitted(snapshot: Snapshot) -> Iterator[Finding]:
    """What is injected fits the limits of its namespace."""
    for workload in snapshot.mutated():
        problems = [problem for problem in workload.limit_problems if not _is_past(problem, workload)]
        if problems:
            yield Finding(
                Code.PROXY_OUT_OF_BOUNDS,
                workload.subject,
                "its pods ask for the proxy, whose resources its namespace does not admit: they cannot be created",
                tuple(f"{problem.source}: {problem.text}" for problem in problems),
                " && ".join(_remedies(snapshot, workload, problems)),
            )


def _is_past(problem: LimitProblem, workload: LiveWorkload) -> bool:
    """Whether a quota is used up by the workload's own pods with the proxy: it has admitted them."""
    return problem.kind == "ResourceQuota" and any(names.PROXY_CONTAINER in _containers(pod) for pod in workload.pods)


def _containers(pod: dict[str, dict[str, list[dict[str, str]]]]) -> set[str]:
    groups = (pod["spec"].get(group) or () for group in ("initContainers", "containers"))
    return {container["name"] for group in groups for container in group}


def _remedies(snapshot: Snapshot, workload: LiveWorkload, problems: Sequence[LimitProblem]) -> Iterator[str]:
    """Annotations of the pods where they are enough; else more room in what has none."""
    annotations = {key: value for problem in problems for key, value in problem.annotations}
    if annotations:
        yield snapshot.commands.merge_into_pods(workload.owner, {"metadata": {"annotations": annotations}})
    for problem in problems:
        if not problem.annotations:
            kind, where = problem.kind.lower(), workload.namespace
            yield (
                snapshot.commands.patch(kind, problem.name, problem.operations, namespace=where)
                if problem.operations
                else snapshot.commands.kubectl("edit", kind, problem.name, namespace=where)
            )


CHECKS: Final = (
    Check(
        Group.WORKLOADS,
        "LimitRanges and ResourceQuotas admit the proxy",
        admitted,
        frozenset({Area.WORKLOADS, Area.LIMITS}),
    ),
)
