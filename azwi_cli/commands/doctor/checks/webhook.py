"""Is the webhook installed, and alone?"""

from collections.abc import Iterator, Sequence
from typing import Final

from azure_workload_identity import names
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.fixes import line
from azwi_cli.commands.doctor.snapshot import USED, Installation, Snapshot

RELEASE: Final = "azwi"
CHART: Final = "charts/workload-identity-webhook"
SYSTEM_NAMESPACE: Final = "azwi-system"
# As in docs/install/chart.md; a person puts the registry of the image there.
REGISTRY: Final = "registry.example.com"
AZ_TENANT: Final = "az account show --query tenantId -o tsv"


def installed(snapshot: Snapshot) -> Iterator[Finding]:
    """There is a configuration that sends pods to the webhook, or a policy that injects."""
    if snapshot.installations != [] or snapshot.engine is None or snapshot.engine.bound():
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
        ("none has an entry named mutation.azure-workload-identity.io", "no admission policy injects"),
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
                snapshot.commands.uninstall(surplus.configuration),
            )
            return


def _surplus(watching: Sequence[Installation]) -> Installation:
    """The one to remove: one that nobody answers, else one that is not the cloud's own, else the older."""
    return min(
        watching, key=lambda installation: (_answers(installation), _is_managed(installation), _created(installation))
    )


def _answers(installation: Installation) -> bool:
    return installation.service != {} and (
        installation.slices is None or bool(installation.ready_endpoints) or not installation.service_key[1]
    )


def _is_managed(installation: Installation) -> bool:
    return installation.service_key[0] == "kube-system"


def _created(installation: Installation) -> str:
    return str(installation.configuration["metadata"].get("creationTimestamp", ""))


def _called(installation: Installation) -> str:
    namespace, name = installation.service_key
    urls = [str((entry.get("clientConfig") or {}).get("url", "")) for entry in installation.webhooks]
    return f"Service {namespace}/{name}" if name else ", ".join(urls)


CHECKS: Final = (
    Check(
        Group.WEBHOOK,
        "the webhook is installed",
        installed,
        frozenset({Area.WEBHOOKS, Area.ENGINE}),
        frozenset({Area.ACCOUNTS}),
    ),
    Check(Group.WEBHOOK, "no other webhook gets the same pods", alone, frozenset({Area.WEBHOOKS, Area.NAMESPACES})),
)
