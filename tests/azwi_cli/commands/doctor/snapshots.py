"""Snapshots as tests write them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.clock_skew import ClockReading
from azwi_cli.commands.doctor import settings
from azwi_cli.commands.doctor.engine import PolicyEngine
from azwi_cli.commands.doctor.report import Report, concluded, results
from azwi_cli.commands.doctor.snapshot import Installation, LiveWorkload, Snapshot
from azwi_cli.offline import admissions
from azwi_cli.offline.admissions import AdmissionContext
from webhook.admission.identity import Account, IdentityMapping, MappingEntry
from webhook.admission.policy import Policy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLIENT_ID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
USE = {names.USE_LABEL: "true"}
HEALTHY = Snapshot(
    now=NOW,
    server_clock=ClockReading(NOW, NOW, NOW),
    issuer="https://issuer.test/",
    policy=settings.default(),
    engine=PolicyEngine(),
)


def account(name: str = "app", annotations: Mapping[str, str] | None = None) -> JsonObject:
    """Write a ServiceAccount of namespace `shop`."""
    given = {names.CLIENT_ID: CLIENT_ID} if annotations is None else dict(annotations)
    return {"metadata": {"namespace": "shop", "name": name, "annotations": given}}


def mapped(*entries: tuple[str, str]) -> Policy:
    """Write the policy of a server whose mapping has an entry a namespace and account."""
    mapping = IdentityMapping(MappingEntry(*entry, CLIENT_ID) for entry in entries)
    return replace(settings.default(), mapping=mapping)


def workload(labels: Mapping[str, str] = USE, annotations: Mapping[str, str] | None = None) -> LiveWorkload:
    """Write a workload of the account `app`, annotated so, with what the webhook would do with its pods."""
    pod = {"metadata": {"labels": dict(labels)}, "spec": {"serviceAccountName": "app", "containers": [{"name": "app"}]}}
    metadata = {"namespace": "shop", "name": "web"}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": pod}}

    def find(_: str, name: str) -> Account | None:
        return Account.from_metadata(account(name, annotations)["metadata"])

    context = AdmissionContext(find, lambda _: False, settings.default())
    return LiveWorkload(manifest, (), admissions.mutate(manifest, context).admissions[0].outcome, manifest)


def annotated(annotations: Mapping[str, str], **spec: Any) -> LiveWorkload:  # noqa: ANN401  fields
    """Write a workload whose pods have annotations, and more fields in their spec."""
    found = workload()
    template = found.manifest["spec"]["template"]
    pod = {
        "metadata": {**template["metadata"], "annotations": dict(annotations)},
        "spec": {**template["spec"], **spec},
    }
    manifest = {**found.manifest, "spec": {"template": pod}}
    return replace(found, manifest=manifest, owner=manifest)


def installation(name: str = "main", **webhook: Any) -> Installation:  # noqa: ANN401  fields
    """Write a configuration that is called by a URL."""
    entry = {"name": "mutation.azure-workload-identity.io", "clientConfig": {"url": "https://host/"}, **webhook}
    return Installation({"metadata": {"name": name, "creationTimestamp": name}, "webhooks": [entry]})


def snapshot(**fields: Any) -> Snapshot:  # noqa: ANN401  fields
    """Change the healthy one."""
    return replace(HEALTHY, **fields)


def examine(seen: Snapshot, *, azure_wanted: bool = False) -> Report:
    """Make all checks on it."""
    return concluded(list(results(lambda _: seen)), seen, azure_wanted=azure_wanted)
