"""Is the webhook installed, alone, and called?"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding, shown
from azwi_cli.commands.doctor.fixes import line
from azwi_cli.commands.doctor.selectors import missing
from azwi_cli.commands.doctor.snapshot import HELM_RELEASE, Installation, Snapshot

RELEASE: Final = "azwi"
CHART: Final = "charts/workload-identity-webhook"
SYSTEM_NAMESPACE: Final = "azwi-system"
# As in docs/install/chart.md; a person puts the registry of the image there.
REGISTRY: Final = "registry.example.com"
AZ_TENANT: Final = "az account show --query tenantId -o tsv"
REPLICAS: Final = 2
SERVER_PORT: Final = 9443
USED: Final = {names.USE_LABEL: "true"}


def installed(snapshot: Snapshot) -> Iterator[Finding]:
    """There is a configuration that sends pods to the webhook."""
    if snapshot.installations != []:
        return
    annotations = (account["metadata"].get("annotations") or {} for account in snapshot.accounts.values())
    tenant = snapshot.tenant or next(
        (found[names.TENANT_ID] for found in annotations if found.get(names.TENANT_ID)), ""
    )
    install = ("install", RELEASE, CHART, "--namespace", SYSTEM_NAMESPACE, "--create-namespace", "--set")
    wanted = line(f"azureTenantID={tenant}") if tenant else f'azureTenantID="$({AZ_TENANT})"'
    yield Finding(
        Code.NOT_INSTALLED,
        "cluster",
        "the webhook is not installed: no MutatingWebhookConfiguration is Azure Workload Identity's",
        ("none has an entry named mutation.azure-workload-identity.io",),
        f"{snapshot.commands.helm(*install)} {wanted} --set image.registry={REGISTRY}",
    )


def alone(snapshot: Snapshot) -> Iterator[Finding]:
    """No two configurations send the same pods to two webhooks."""
    installations = snapshot.installations or ()
    for name, namespace in snapshot.namespaces.items():
        labels = namespace["metadata"].get("labels") or {}
        watching = [installation for installation in installations if installation.watches(labels, USED)]
        if len(watching) > 1:
            surplus = _surplus(watching)
            yield Finding(
                Code.SEVERAL_WEBHOOKS,
                ", ".join(installation.subject for installation in watching),
                f"{len(watching)} webhooks are sent the same pods, such as those of namespace {name}: they may give "
                "them different tenants, images and tokens",
                tuple(
                    f"{installation.name}: created {_created(installation)}, calls {_called(installation)}"
                    for installation in watching
                ),
                _removal(snapshot, surplus),
            )
            return


def _surplus(watching: Sequence[Installation]) -> Installation:
    """The one to remove: one that nobody answers, else one that is not the cloud's own, else the older."""
    return min(
        watching, key=lambda installation: (_answers(installation), _is_managed(installation), _created(installation))
    )


def _answers(installation: Installation) -> bool:
    return installation.service != {} and (
        installation.slices is None or bool(_ready(installation)) or not installation.service_key[1]
    )


def _is_managed(installation: Installation) -> bool:
    return installation.service_key[0] == "kube-system"


def _removal(snapshot: Snapshot, surplus: Installation) -> str:
    annotations = surplus.configuration["metadata"].get("annotations") or {}
    release = annotations.get(HELM_RELEASE)
    namespace = annotations.get("meta.helm.sh/release-namespace")
    if release and namespace:
        return snapshot.commands.helm("uninstall", release, "--namespace", namespace)
    return snapshot.commands.kubectl("delete", "mutatingwebhookconfiguration", surplus.name)


def _reapplied(snapshot: Snapshot, installation: Installation) -> str:
    """Create the Service again: from the Helm release, else for the pods of the Deployment."""
    namespace, name = installation.service_key
    release = (installation.configuration["metadata"].get("annotations") or {}).get(HELM_RELEASE)
    if release:
        manifest = snapshot.commands.helm("get", "manifest", release, "--namespace", namespace)
        return f"{manifest} | {snapshot.commands.kubectl('apply', '-f', '-', namespace=namespace)}"
    deployment = (installation.deployment or {})["metadata"]["name"]
    ports = ("--port=443", f"--target-port={SERVER_PORT}")
    return snapshot.commands.kubectl("expose", "deployment", deployment, f"--name={name}", *ports, namespace=namespace)


def _created(installation: Installation) -> str:
    return str(installation.configuration["metadata"].get("creationTimestamp", ""))


def _called(installation: Installation) -> str:
    namespace, name = installation.service_key
    urls = [str((entry.get("clientConfig") or {}).get("url", "")) for entry in installation.webhooks]
    return f"Service {namespace}/{name}" if name else ", ".join(urls)


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
                (_failure_policies(installation), servers),
                _reapplied(snapshot, installation) if installation.deployment else _removal(snapshot, installation),
            )
        elif installation.slices is not None and installation.deployment and not _ready(installation):
            yield _not_ready(snapshot, installation.deployment)


def _failure_policies(installation: Installation) -> str:
    return f"failurePolicy {', '.join(sorted({str(entry.get('failurePolicy')) for entry in installation.webhooks}))}"


def _ready(installation: Installation) -> list[Any]:
    endpoints = (endpoint for found in installation.slices or () for endpoint in found.get("endpoints") or ())
    return [endpoint for endpoint in endpoints if (endpoint.get("conditions") or {}).get("ready", True)]


def _not_ready(snapshot: Snapshot, deployment: JsonObject) -> Finding:
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status") or {}
    conditions = tuple(
        f"{condition.get('type')}={condition.get('status')}: {condition.get('message', '')}"
        for condition in status.get("conditions") or ()
    )
    counted = f"replicas {wanted}, ready {status.get('readyReplicas', 0)}; no endpoint of its Service is ready"
    if wanted == 0:
        return Finding(
            Code.WEBHOOK_SCALED_TO_ZERO,
            f"Deployment {namespace}/{name}",
            "the webhook is scaled to zero",
            (counted,),
            snapshot.commands.kubectl("scale", f"deployment/{name}", f"--replicas={REPLICAS}", namespace=namespace),
        )
    return Finding(
        Code.WEBHOOK_NOT_READY,
        f"Deployment {namespace}/{name}",
        f"no server of the webhook is ready; its log has the reason: kubectl logs -n {namespace} deployment/{name}",
        (counted, *conditions),
        snapshot.commands.kubectl("rollout", "restart", f"deployment/{name}", namespace=namespace),
    )


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
            (f"dry-run creation of a pod labelled {names.USE_LABEL}=true", _failure_policies(first)),
            command,
        )


def _revival(snapshot: Snapshot, installation: Installation) -> str:
    if installation.deployment:
        metadata = installation.deployment["metadata"]
        name = f"deployment/{metadata['name']}"
        return snapshot.commands.kubectl("rollout", "restart", name, namespace=metadata["namespace"])
    if installation.service_key[1] and installation.deployment is None:  # it may be there
        return snapshot.commands.kubectl("rollout", "restart", "deployment", namespace=installation.service_key[0])
    return _removal(snapshot, installation)


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
    Check(Group.WEBHOOK, "the webhook is installed", installed, frozenset({Area.WEBHOOKS}), frozenset({Area.ACCOUNTS})),
    Check(Group.WEBHOOK, "no other webhook gets the same pods", alone, frozenset({Area.WEBHOOKS, Area.NAMESPACES})),
    Check(Group.WEBHOOK, "its Service exists and has a ready server", served, frozenset({Area.WEBHOOKS, Area.SERVER})),
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
