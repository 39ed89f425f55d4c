"""Does the identity mapping say what it means? Read by the server's own code."""

from collections.abc import Iterator, Sequence
from typing import Final

from azure_workload_identity import names
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.snapshot import Snapshot, StoredMapping

MAX_FAULTS: Final = 10


def readable(snapshot: Snapshot) -> Iterator[Finding]:
    """The ConfigMap that the server was given is there, and every entry of it counts."""
    found = snapshot.mapping
    if found is None or found.there is None:
        return
    if not found.there:
        what = "it is not there, so no account has an identity by the mapping"
        create = ("create", "configmap", found.name, f"--from-file={names.MAPPING_KEY}")
        command = snapshot.commands.kubectl(*create, namespace=found.namespace)
        seen = "the server was started with --identity-mapping-configmap"
        yield Finding(Code.MAPPING_MISSING, found.subject, what, (seen,), command)
    elif found.broken:
        what = "it is not an identity mapping: servers keep the previous one, and have none after a restart"
        yield _unusable(snapshot, found, Code.MAPPING_UNREADABLE, what, [found.broken])
    elif found.faults:
        what = "entries of the identity mapping are left out, so that no pod has an identity by them"
        yield _unusable(snapshot, found, Code.MAPPING_ENTRY_INVALID, what, found.faults)


def _unusable(snapshot: Snapshot, found: StoredMapping, code: Code, what: str, faults: Sequence[str]) -> Finding:
    more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
    written = (
        [f"Helm release {found.release} writes it: fix its value identityMapping.mappings, too"]
        if found.release
        else []
    )
    return Finding(
        code,
        found.subject,
        what,
        (*faults[:MAX_FAULTS], *more, *written),
        snapshot.commands.kubectl("edit", "configmap", found.name, namespace=found.namespace),
    )


CHECKS: Final = (Check(Group.ACCOUNTS, "the identity mapping is valid", readable, frozenset({Area.MAPPING})),)
