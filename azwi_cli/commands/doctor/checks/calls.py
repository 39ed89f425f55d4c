"""Does the API server call the webhook, and for the pods of all namespaces that use it?"""

from collections.abc import Iterator
from typing import Final

from azure_workload_identity import names
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding, shown
from azwi_cli.commands.doctor.selectors import missing
from azwi_cli.commands.doctor.snapshot import USED, Installation, Snapshot


def called(snapshot: Snapshot) -> Iterator[Finding]:
    """The API server reaches the webhook, and what it answers is injected."""
    probe = snapshot.probe
    if probe is None or probe.injected:
        return
    labels = snapshot.namespace_labels(probe.namespace)
    watching = [
        installation
        for installation in snapshot.installations or ()
        if labels is None or installation.watches(labels, USED)
    ]
    if not watching:
        return  # reported by not_watched
    first = watching[0]
    command = _revival(snapshot, first)
    if probe.failure:
        yield Finding(
            Code.WEBHOOK_CALL_FAILED,
            first.subject,
            f"the API server cannot call the webhook: no labelled pod can be created in namespace {probe.namespace}",
            (probe.failure,),
            command,
        )
    else:
        yield Finding(
            Code.WEBHOOK_NOT_CALLED,
            first.subject,
            f"a labelled pod in namespace {probe.namespace} is admitted without identity: the webhook was not called, "
            "or its failure was ignored",
            (f"dry-run creation of a pod labelled {names.USE_LABEL}=true", first.failure_policies),
            command,
        )


def _revival(snapshot: Snapshot, installation: Installation) -> str:
    if installation.deployment:
        metadata = installation.deployment["metadata"]
        name = f"deployment/{metadata['name']}"
        return snapshot.commands.kubectl("rollout", "restart", name, namespace=metadata["namespace"])
    if installation.service_key[1] and installation.deployment is None:  # it may be there
        return snapshot.commands.kubectl("rollout", "restart", "deployment", namespace=installation.service_key[0])
    return snapshot.commands.uninstall(installation.configuration)


def not_watched(snapshot: Snapshot) -> Iterator[Finding]:
    """Namespaces with pods that take part are those that a configuration selects."""
    installations = snapshot.installations
    if not installations:
        return
    using = {
        installation.namespace: installation
        for installation in snapshot.mutated()
        if installation.labels.get(names.USE_LABEL) == "true"
    }
    for namespace, workload in using.items():
        labels = snapshot.namespace_labels(namespace)
        if labels is None or any(installation.watches(labels, USED) for installation in installations):
            continue
        entry = next(entry for installation in installations for entry in installation.webhooks)
        changes = missing(entry.get("namespaceSelector"), labels)
        excluded = "kubernetes.io/metadata.name" in changes  # a label that cannot be changed
        yield Finding(
            Code.NAMESPACE_NOT_WATCHED,
            f"Namespace {namespace}",
            f"its pods take part, such as those of {workload.subject}, but no webhook is sent them",
            (
                f"namespaceSelector of {installations[0].name}: {shown(entry.get('namespaceSelector'))}",
                f"labels of the namespace: {shown(labels)}",
            ),
            snapshot.commands.kubectl("edit", "mutatingwebhookconfiguration", installations[0].name)
            if excluded
            else snapshot.commands.label("namespace", "", namespace, changes),
        )


CHECKS: Final = (
    Check(
        Group.WEBHOOK, "the API server calls it, and a labelled pod gets an identity", called, frozenset({Area.CALL})
    ),
    Check(
        Group.WEBHOOK,
        "it gets the pods of all namespaces that use it",
        not_watched,
        frozenset({Area.WEBHOOKS, Area.NAMESPACES, Area.WORKLOADS}),
    ),
)
