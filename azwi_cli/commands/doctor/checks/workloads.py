"""Have workloads opted in, and does the webhook accept their pods? Decided by the webhook's own code."""

from collections.abc import Iterator, Mapping
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.accounts import identity_command
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.checks.spelling import is_misspelt, on_pod
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from webhook.admission import values
from webhook.admission.reasons import Reason, WarningCode
from webhook.admission.review import Decision

# Which annotations of a pod, taken away, end a refusal.
_CULPRITS: Final[Mapping[Reason, tuple[str, ...]]] = {
    Reason.INVALID_TOKEN_EXPIRATION: (names.TOKEN_EXPIRATION,),
    Reason.INVALID_PROXY_PORT: (names.PROXY_PORT,),
    Reason.INVALID_PROXY_MODE: (names.PROXY_MODE,),
    Reason.INVALID_PROXY_RESOURCES: (
        names.PROXY_CPU_REQUEST,
        names.PROXY_CPU_LIMIT,
        names.PROXY_MEMORY_REQUEST,
        names.PROXY_MEMORY_LIMIT,
    ),
    Reason.INVALID_PROXY_APPLICATION: (names.PROXY_THEN_CLIENT_ID, names.PROXY_THEN_TENANT_ID),
    Reason.PROXY_ON_HOST_NETWORK: (names.INJECT_PROXY,),
    Reason.PROXY_ON_WINDOWS: (names.INJECT_PROXY,),
}
_OF_ACCOUNT: Final[Mapping[Reason, str]] = {
    Reason.INVALID_TOKEN_EXPIRATION: names.TOKEN_EXPIRATION,
    Reason.INVALID_TENANT_ID: names.TENANT_ID,
}
_LABELLED: Final = {"metadata": {"labels": {names.USE_LABEL: "true"}}}


def opted_in(snapshot: Snapshot) -> Iterator[Finding]:
    """A workload that seems to be meant for the webhook has opted in."""
    for workload in snapshot.workloads:
        if workload.outcome.reason is not Reason.NOT_OPTED_IN or is_misspelt(snapshot, workload, names.USE_LABEL):
            continue
        cautions = {warning.code: warning.text for warning in workload.outcome.warnings}
        text = workload.labels.get(names.USE_LABEL)
        if text is not None and text != "true":
            yield _unlabelled(
                snapshot,
                workload,
                Code.LABEL_NOT_TRUE,
                f"its label {names.USE_LABEL} has no effect: only true has",
                [text],
            )
        elif places := list(_other_places(snapshot, workload)):
            yield _unlabelled(
                snapshot, workload, Code.LABEL_MISPLACED, f"the label {names.USE_LABEL} is not on its pods", places
            )
        elif WarningCode.LABEL_MISSING in cautions:
            what = f"its pods do not have the label {names.USE_LABEL}, so nothing is injected"
            yield _unlabelled(snapshot, workload, Code.LABEL_MISSING, what, [cautions[WarningCode.LABEL_MISSING]])


def _unlabelled(snapshot: Snapshot, workload: LiveWorkload, code: Code, what: str, evidence: list[str]) -> Finding:
    pod: JsonObject = _LABELLED
    if names.USE_LABEL in workload.annotations:
        pod = {"metadata": {**_LABELLED["metadata"], "annotations": {names.USE_LABEL: None}}}
    return Finding(
        code, workload.subject, what, tuple(evidence), snapshot.commands.merge_into_pods(workload.owner, pod)
    )


def _other_places(snapshot: Snapshot, workload: LiveWorkload) -> Iterator[str]:
    """Where the label is, and does not count."""
    if names.USE_LABEL in workload.annotations:
        yield "it is an annotation of the pods, and must be a label"
    if workload.kind != "Pod" and names.USE_LABEL in (workload.owner["metadata"].get("labels") or {}):
        yield f"it is a label of the {workload.kind} itself, and must be one of its pod template"
    account = snapshot.account(workload.namespace, workload.service_account)
    if account is not None and account.labelled:
        yield f"it is a label of ServiceAccount {workload.service_account}"
    if (snapshot.namespace_labels(workload.namespace) or {}).get(names.USE_LABEL) == "true":
        yield f"it is a label of namespace {workload.namespace}, which this webhook does not look at (--opt-in)"


def refused(snapshot: Snapshot) -> Iterator[Finding]:
    """The webhook does not refuse a workload's pods."""
    for workload in snapshot.workloads:
        if workload.outcome.decision is not Decision.REFUSE:
            continue
        missing = workload.outcome.reason is Reason.SERVICE_ACCOUNT_NOT_FOUND
        yield Finding(
            Code.ACCOUNT_MISSING if missing else Code.POD_REFUSED,
            workload.subject,
            f"ServiceAccount {workload.service_account} is not there, so the webhook refuses its pods"
            if missing
            else "the webhook refuses its pods",
            (f"{workload.outcome.message} ({workload.outcome.reason})",),
            _concession(snapshot, workload),
        )


def _concession(snapshot: Snapshot, workload: LiveWorkload) -> str:
    commands, reason = snapshot.commands, workload.outcome.reason
    if reason is Reason.SERVICE_ACCOUNT_NOT_FOUND:
        return commands.kubectl("create", "serviceaccount", workload.service_account, namespace=workload.namespace)
    present = [key for key in _CULPRITS.get(reason, ()) if key in workload.annotations]
    if present:
        return commands.merge_into_pods(workload.owner, {"metadata": {"annotations": dict.fromkeys(present)}})
    if key := _OF_ACCOUNT.get(reason):
        return commands.annotate("serviceaccount", workload.namespace, workload.service_account, {key: None})
    if reason is Reason.INVALID_CLIENT_ID:
        return f"{identity_command(snapshot, workload.namespace, workload.service_account)} --force-conflicts"
    return commands.kubectl("edit", workload.kind.lower(), workload.name, namespace=workload.namespace)


def proxied(snapshot: Snapshot) -> Iterator[Finding]:
    """The proxy that pods ask for is one that their namespace's Pod Security level admits."""
    for workload in snapshot.mutated():
        if values.boolean(workload.annotations.get(names.INJECT_PROXY, "")) is not True:
            continue
        level = (snapshot.namespace_labels(workload.namespace) or {}).get(
            "pod-security.kubernetes.io/enforce", "privileged"
        )
        if level == "privileged" or workload.annotations.get(names.PROXY_MODE, "redirect") != "redirect":
            continue
        yield Finding(
            Code.PROXY_FORBIDDEN,
            workload.subject,
            f"its pods ask for the proxy in redirect mode, which needs NET_ADMIN; level {level} forbids that",
            (
                f"namespace {workload.namespace} is labelled pod-security.kubernetes.io/enforce={level}",
                f"{names.PROXY_MODE}={workload.annotations.get(names.PROXY_MODE, '(not set: redirect)')}",
            ),
            snapshot.commands.merge_into_pods(workload.owner, on_pod(names.PROXY_MODE, "environment")),
        )


CHECKS: Final = (
    Check(
        Group.WORKLOADS,
        "workloads that seem to be meant for the webhook have opted in",
        opted_in,
        frozenset({Area.WORKLOADS, Area.NAMESPACES}),
    ),
    Check(Group.WORKLOADS, "the webhook accepts their pods", refused, frozenset({Area.WORKLOADS, Area.ACCOUNTS})),
    Check(Group.WORKLOADS, "Pod Security admits the proxy", proxied, frozenset({Area.WORKLOADS, Area.NAMESPACES})),
)
