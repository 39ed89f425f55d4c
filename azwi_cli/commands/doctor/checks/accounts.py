"""Do ServiceAccounts of pods that take part name an identity that can be one?"""

import re
from collections.abc import Iterator
from typing import Final

from azure_workload_identity import names
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.checks.spelling import is_misspelt
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from webhook.admission import values
from webhook.admission.reasons import WarningCode

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


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
            or is_misspelt(snapshot, workload, names.CLIENT_ID)
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


def _names_identity(workload: LiveWorkload) -> bool:
    containers = (workload.pod.get("spec") or {}).get("containers") or ()
    return all(
        names.ENV_CLIENT_ID in {entry.get("name") for entry in container.get("env") or ()} for container in containers
    )


CHECKS: Final = (
    Check(
        Group.ACCOUNTS,
        "accounts of opted-in pods name an identity",
        identified,
        frozenset({Area.ACCOUNTS, Area.WORKLOADS, Area.MAPPING}),
    ),
    Check(
        Group.ACCOUNTS,
        "client ids are UUIDs",
        valid_client_ids,
        frozenset({Area.ACCOUNTS}),
        frozenset({Area.WORKLOADS}),
    ),
)
