"""Are the labels and annotations of pods and ServiceAccounts spelt right, and where they count?"""

from collections.abc import Iterator
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from webhook.admission.misspellings import unrecognized_keys


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
        elif key != snapshot.binding_key or not any(_uses(snapshot, namespace, name)):
            yield _unknown(subject, key, commands.annotate("serviceaccount", namespace, name, {key: None}))
    for key, meant in unrecognized_keys(labels, frozenset({names.USE_LABEL})):
        command = commands.label("serviceaccount", namespace, name, {key: None})
        if meant in names.ACCOUNT_ANNOTATIONS:
            added = commands.annotate("serviceaccount", namespace, name, {meant: labels[key]})
            why = f"it must be the annotation {meant}"
            yield _misplaced(subject, f"label {key}={labels[key]}", why, f"{added} && {command}")
        elif key != snapshot.binding_key or not any(_uses(snapshot, namespace, name)):
            yield _unknown(subject, key, command)


def _uses(snapshot: Snapshot, namespace: str, account: str) -> Iterator[LiveWorkload]:
    """The workloads of an account: where it is theirs, a misplaced binding is reported of them."""
    return (
        workload
        for workload in snapshot.workloads
        if (workload.namespace, workload.service_account) == (namespace, account)
    )


def _moves(snapshot: Snapshot, namespace: str, account: str, meant: str, value: str) -> Iterator[str]:
    """Put a key on the pods of the workloads that use an account."""
    for workload in _uses(snapshot, namespace, account):
        yield snapshot.commands.merge_into_pods(workload.owner, on_pod(meant, value))


def on_pod(meant: str, value: str) -> JsonObject:
    """The part of a pod with that label or annotation, to be merged into it."""
    place = "labels" if meant == names.USE_LABEL else "annotations"
    return {"metadata": {place: {meant: value}}}


def _pod_keys(snapshot: Snapshot, workload: LiveWorkload) -> Iterator[Finding]:
    commands = snapshot.commands
    for key, meant in unrecognized_keys(workload.annotations, names.POD_ANNOTATIONS | {names.USE_LABEL}):
        value = workload.annotations[key]
        gone: JsonObject = {"annotations": {key: None}}
        if meant == names.USE_LABEL or meant in names.POD_ANNOTATIONS:
            command = commands.merge_into_pods(workload.owner, {"metadata": _merged(gone, on_pod(meant, value))})
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
            pod = {"metadata": _merged(gone, on_pod(meant, workload.labels[key]))}
            command = commands.merge_into_pods(workload.owner, pod)
            yield _misspelt(workload.subject, "label of its pods", key, workload.labels[key], meant, command)
        elif meant in names.POD_ANNOTATIONS:
            pod = {"metadata": _merged(gone, on_pod(meant, workload.labels[key]))}
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


def is_misspelt(snapshot: Snapshot, workload: LiveWorkload, wanted: str) -> bool:
    """Whether a key of the account or the pods was probably intended to be `wanted`: `spelt` reports that, once."""
    account = snapshot.account(workload.namespace, workload.service_account)
    own = (
        *unrecognized_keys(workload.annotations, names.POD_ANNOTATIONS | {names.USE_LABEL}),
        *unrecognized_keys(workload.labels, frozenset({names.USE_LABEL})),
    )
    theirs = (*account.unrecognized_annotations, *account.unrecognized_labels) if account else ()
    return any(intended == wanted for _, intended in (*own, *theirs))


CHECKS: Final = (
    Check(
        Group.ACCOUNTS,
        "labels and annotations are spelt right, and where they count",
        spelt,
        frozenset({Area.ACCOUNTS, Area.WORKLOADS}),
    ),
)
