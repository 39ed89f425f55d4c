"""Do workloads and ServiceAccounts say what they mean? Decided by the webhook's own code."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.bounds import bounded
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from webhook.admission import values
from webhook.admission.misspellings import unrecognized_keys
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
    Reason.PROXY_ON_HOST_NETWORK: (names.INJECT_PROXY,),
    Reason.PROXY_ON_WINDOWS: (names.INJECT_PROXY,),
}
_OF_ACCOUNT: Final[Mapping[Reason, str]] = {
    Reason.INVALID_TOKEN_EXPIRATION: names.TOKEN_EXPIRATION,
    Reason.INVALID_TENANT_ID: names.TENANT_ID,
}
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_LABELLED: Final = {"metadata": {"labels": {names.USE_LABEL: "true"}}}


def opted_in(snapshot: Snapshot) -> Iterator[Finding]:
    """A workload that seems to be meant for the webhook has opted in."""
    for workload in snapshot.workloads:
        if workload.outcome.reason is not Reason.NOT_OPTED_IN or _is_misspelt(snapshot, workload, names.USE_LABEL):
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


def identity_command(snapshot: Snapshot, namespace: str, account: str) -> str:
    """Create or find the identity of a ServiceAccount, annotate the account, and federate both."""
    named = ("--service-account-namespace", namespace, "--service-account-name", account)
    return snapshot.commands.azwi("serviceaccount", "create", *named)


def identified(snapshot: Snapshot) -> Iterator[Finding]:
    """The account of pods that take part names an identity, unless all of its pods' containers name one."""
    if snapshot.mapping and snapshot.mapping.there is None:
        return  # a mapping that is not shown may give it one
    seen: set[tuple[str, str]] = set()
    for workload in snapshot.mutated():
        key = (workload.namespace, workload.service_account)
        warned = {warning.code for warning in workload.outcome.warnings}
        if (
            WarningCode.NO_CLIENT_ID not in warned
            or key in seen
            or key not in snapshot.accounts
            or _names_identity(workload)
            or _is_misspelt(snapshot, workload, names.CLIENT_ID)
        ):
            continue
        seen.add(key)
        yield Finding(
            Code.NO_CLIENT_ID,
            f"ServiceAccount {workload.namespace}/{workload.service_account}",
            f"it has no annotation {names.CLIENT_ID}, so pods get a token and no {names.ENV_CLIENT_ID}",
            (f"{workload.subject} uses it and takes part",),
            identity_command(snapshot, *key),
        )


def valid_client_ids(snapshot: Snapshot) -> Iterator[Finding]:
    """Client ids are UUIDs: Entra knows no other ones. One that cannot even be injected refuses the pod instead."""
    for (namespace, name), identity in snapshot.identities().items():
        if identity.entry is not None or values.is_uuid(identity.client_id) or not values.is_id(identity.client_id):
            continue
        inner = _UUID.search(identity.client_id)
        annotate = snapshot.commands.annotate(
            "serviceaccount", namespace, name, {names.CLIENT_ID: inner[0] if inner else None}
        )
        create = f"{identity_command(snapshot, namespace, name)} --force-conflicts"
        yield Finding(
            Code.CLIENT_ID_INVALID,
            f"ServiceAccount {namespace}/{name}",
            f"its annotation {names.CLIENT_ID} is not a UUID, so Entra refuses its tokens (AADSTS700016)",
            (f"{names.CLIENT_ID}={identity.client_id}",),
            annotate if inner else create,
        )


def _is_misspelt(snapshot: Snapshot, workload: LiveWorkload, wanted: str) -> bool:
    """Whether a key of the account or the pods was probably intended to be `wanted`: `spelt` reports that, once."""
    account = snapshot.account(workload.namespace, workload.service_account)
    own = (
        *unrecognized_keys(workload.annotations, names.POD_ANNOTATIONS | {names.USE_LABEL}),
        *unrecognized_keys(workload.labels, frozenset({names.USE_LABEL})),
    )
    theirs = (*account.unrecognized_annotations, *account.unrecognized_labels) if account else ()
    return any(intended == wanted for _, intended in (*own, *theirs))


def _names_identity(workload: LiveWorkload) -> bool:
    containers = (workload.pod.get("spec") or {}).get("containers") or ()
    return all(
        names.ENV_CLIENT_ID in {entry.get("name") for entry in container.get("env") or ()} for container in containers
    )


def spelt(snapshot: Snapshot) -> Iterator[Finding]:
    """Keys with the prefix are known ones, and on the object where they count."""
    for (namespace, name), manifest in snapshot.accounts.items():
        metadata = manifest["metadata"]
        yield from _account_keys(snapshot, namespace, name, metadata)
    for workload in snapshot.workloads:
        yield from _pod_keys(snapshot, workload)


def _account_keys(snapshot: Snapshot, namespace: str, name: str, metadata: JsonObject) -> Iterator[Finding]:
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    subject, commands = f"ServiceAccount {namespace}/{name}", snapshot.commands
    for key, meant in unrecognized_keys(annotations, names.ACCOUNT_ANNOTATIONS):
        wanted = {meant: annotations[key]} if meant and meant not in annotations else {}
        if meant in names.ACCOUNT_ANNOTATIONS:
            command = commands.annotate("serviceaccount", namespace, name, {key: None, **wanted})
            yield _misspelt(subject, "annotation", key, annotations[key], meant, command)
        elif meant is not None:
            moved = [*_moves(snapshot, namespace, name, meant, annotations[key])]
            command = " && ".join([*moved, commands.annotate("serviceaccount", namespace, name, {key: None})])
            yield _misplaced(subject, f"annotation {key}={annotations[key]}", "it belongs on the pods", command)
        else:
            yield _unknown(subject, key, commands.annotate("serviceaccount", namespace, name, {key: None}))
    for key, meant in unrecognized_keys(labels, frozenset({names.USE_LABEL})):
        command = commands.label("serviceaccount", namespace, name, {key: None})
        if meant in names.ACCOUNT_ANNOTATIONS:
            added = commands.annotate("serviceaccount", namespace, name, {meant: labels[key]})
            why = f"it must be the annotation {meant}"
            yield _misplaced(subject, f"label {key}={labels[key]}", why, f"{added} && {command}")
        else:
            yield _unknown(subject, key, command)


def _moves(snapshot: Snapshot, namespace: str, account: str, meant: str, value: str) -> Iterator[str]:
    """Put a key on the pods of the workloads that use an account."""
    for workload in snapshot.workloads:
        if (workload.namespace, workload.service_account) == (namespace, account):
            yield snapshot.commands.merge_into_pods(workload.owner, _on_pod(meant, value))


def _on_pod(meant: str, value: str) -> JsonObject:
    place = "labels" if meant == names.USE_LABEL else "annotations"
    return {"metadata": {place: {meant: value}}}


def _pod_keys(snapshot: Snapshot, workload: LiveWorkload) -> Iterator[Finding]:
    commands = snapshot.commands
    for key, meant in unrecognized_keys(workload.annotations, names.POD_ANNOTATIONS | {names.USE_LABEL}):
        value = workload.annotations[key]
        gone: JsonObject = {"annotations": {key: None}}
        if meant == names.USE_LABEL or meant in names.POD_ANNOTATIONS:
            command = commands.merge_into_pods(workload.owner, {"metadata": _merged(gone, _on_pod(meant, value))})
            yield _misspelt(workload.subject, "annotation of its pods", key, value, meant, command)
        elif meant is not None:
            wrong = f"annotation {key}={value} of its pods"
            yield _misplaced(
                workload.subject, wrong, "it belongs on the ServiceAccount", _to_account(snapshot, workload, key, meant)
            )
        elif not key.startswith(names.CUSTOM_ENDPOINT_PREFIX):
            yield _unknown(workload.subject, key, commands.merge_into_pods(workload.owner, {"metadata": gone}))
    for key, meant in unrecognized_keys(workload.labels, frozenset({names.USE_LABEL})):
        gone = {"labels": {key: None}}
        if meant == names.USE_LABEL:
            pod = {"metadata": _merged(gone, _on_pod(meant, workload.labels[key]))}
            command = commands.merge_into_pods(workload.owner, pod)
            yield _misspelt(workload.subject, "label of its pods", key, workload.labels[key], meant, command)
        elif meant in names.POD_ANNOTATIONS:
            pod = {"metadata": _merged(gone, _on_pod(meant, workload.labels[key]))}
            command = commands.merge_into_pods(workload.owner, pod)
            yield _misplaced(workload.subject, f"label {key} of its pods", "it must be an annotation of them", command)
        elif meant is not None:
            wrong, why = f"label {key} of its pods", "it must be an annotation of the ServiceAccount"
            yield _misplaced(workload.subject, wrong, why, _to_account(snapshot, workload, key, meant))


def _merged(first: JsonObject, second: JsonObject) -> JsonObject:
    metadata = second["metadata"]
    return {place: {**first.get(place, {}), **metadata.get(place, {})} for place in {**first, **metadata}}


def _to_account(snapshot: Snapshot, workload: LiveWorkload, key: str, meant: str) -> str:
    place = "annotations" if key in workload.annotations else "labels"
    value = (workload.annotations if key in workload.annotations else workload.labels)[key]
    stored = (snapshot.accounts.get((workload.namespace, workload.service_account)) or {"metadata": {}})["metadata"]
    off = snapshot.commands.merge_into_pods(workload.owner, {"metadata": {place: {key: None}}})
    if meant in (stored.get("annotations") or {}):
        return off
    on = snapshot.commands.annotate("serviceaccount", workload.namespace, workload.service_account, {meant: value})
    return f"{on} && {off}"


def _misspelt(subject: str, kind: str, key: str, value: str, meant: str, command: str) -> Finding:
    return Finding(
        Code.NEAR_MISS, subject, f"the {kind} {key} is ignored; did you mean {meant}?", (f"{key}={value}",), command
    )


def _misplaced(subject: str, wrong: str, why: str, command: str) -> Finding:
    return Finding(Code.WRONG_OBJECT, subject, f"the {wrong.partition('=')[0]} is ignored: {why}", (wrong,), command)


def _unknown(subject: str, key: str, command: str) -> Finding:
    what = f"{key} is not known and ignored"
    return Finding(Code.UNKNOWN_KEY, subject, what, (f"no key of {names.PREFIX} is spelt like it",), command)


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
            snapshot.commands.merge_into_pods(workload.owner, _on_pod(names.PROXY_MODE, "environment")),
        )


CHECKS: Final = (
    Check(
        Group.ACCOUNTS,
        "accounts of opted-in pods name an identity",
        identified,
        frozenset({Area.ACCOUNTS, Area.WORKLOADS, Area.MAPPING}),
    ),
    Check(Group.ACCOUNTS, "client ids are UUIDs", valid_client_ids, frozenset({Area.ACCOUNTS})),
    Check(
        Group.ACCOUNTS,
        "labels and annotations are spelt right, and where they count",
        spelt,
        frozenset({Area.ACCOUNTS, Area.WORKLOADS}),
    ),
    Check(
        Group.WORKLOADS,
        "workloads that seem to be meant for the webhook have opted in",
        opted_in,
        frozenset({Area.WORKLOADS, Area.NAMESPACES}),
    ),
    Check(Group.WORKLOADS, "the webhook accepts their pods", refused, frozenset({Area.WORKLOADS, Area.ACCOUNTS})),
    Check(Group.WORKLOADS, "Pod Security admits the proxy", proxied, frozenset({Area.WORKLOADS, Area.NAMESPACES})),
    Check(
        Group.WORKLOADS,
        "LimitRanges and ResourceQuotas admit the proxy",
        bounded,
        frozenset({Area.WORKLOADS, Area.LIMITS}),
    ),
)
