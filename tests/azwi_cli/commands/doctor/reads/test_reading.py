"""The reads, made when a check needs them."""

from dataclasses import fields, replace
from typing import Any, cast

import pytest

from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.doctor.checks.check import Check
from azwi_cli.commands.doctor.findings import Area
from azwi_cli.commands.doctor.reads import reading
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.reads.reading import Read, Reading
from azwi_cli.commands.doctor.report import CHECKS
from azwi_cli.commands.doctor.snapshot import Probe, Snapshot
from tests.azwi_cli.commands.doctor.snapshots import HEALTHY, account, installation, workload

# Known without reading.
GIVEN = {"now", "commands", "tenant", "unreadable"}
FILLED = {
    Area.CLOCK: {"server_clock"},
    Area.WEBHOOKS: {"installations"},
    Area.ENGINE: {"engine"},
    Area.MAPPING: {"policy", "mapping", "has_token_proxy"},
    Area.BINDINGS: {"binding_allowed"},
    Area.GRANTS: {"binding_grants"},
    Area.IMAGES: {"image_audiences", "kubelets"},
    Area.NAMESPACES: {"namespaces"},
    Area.ACCOUNTS: {"accounts", "accounts_of"},
    Area.ISSUER: {"issuer"},
    Area.LIMITS: {"limit_ranges", "quotas"},
    Area.WORKLOADS: {"workloads"},
    Area.POLICIES: {"network_policies"},
    Area.CALL: {"probe"},
    Area.AZURE: {"held", "azure_clock"},
}
AZURE = Read(frozenset({Area.AZURE}), lambda _, snapshot: snapshot)


class Traced(Snapshot):
    """A snapshot that knows which of its fields a check has looked at."""

    looked_at: set[str] = set()  # noqa: RUF012  one check after the other

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401  of any field
        """Return a field."""
        if name in {field.name for field in fields(Snapshot)}:
            Traced.looked_at.add(name)
        return super().__getattribute__(name)


def covered(check: Check) -> set[str]:
    """The fields that are filled when the reads have covered what a check says that it reads."""
    filled = set(GIVEN)
    missing = set(check.needs | check.uses)
    for read in (*reading.CLUSTER, AZURE):
        if missing:
            filled |= {name for area in read.areas for name in FILLED.get(area, ())}
            missing -= read.areas
    assert not missing
    return filled


SEEN = [
    HEALTHY,
    replace(HEALTHY, installations=[]),
    replace(
        HEALTHY,
        installations=[installation()],
        accounts={("shop", "app"): account()},
        workloads=[workload(), workload({})],
        probe=Probe("shop"),
    ),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.title)
def test_what_a_check_looks_at_has_been_read(check: Check) -> None:
    """A check looks at nothing that is read only after it: what is not read yet would look healthy."""
    Traced.looked_at = set()
    for snapshot in SEEN:
        given = {field.name: getattr(snapshot, field.name) for field in fields(Snapshot)}
        list(check.run(Traced(**given)))
    assert covered(check) >= Traced.looked_at


def test_every_field_is_read() -> None:
    """Every field of a snapshot is known, or filled by a read."""
    areas = frozenset[Area]().union(*(read.areas for read in (*reading.CLUSTER, AZURE)))
    assert areas == set(Area)
    assert {field.name for field in fields(Snapshot)} == GIVEN.union(*FILLED.values())


def test_only_what_is_needed() -> None:
    """Reads are made up to the one that covers what is asked for, in their order and once."""
    made: list[Area] = []

    def noting(area: Area) -> Read:
        def run(_: Reader, snapshot: Snapshot) -> Snapshot:
            made.append(area)
            return snapshot

        return Read(frozenset({area}), run)

    reads = [noting(area) for area in (Area.CLOCK, Area.ACCOUNTS, Area.AZURE)]
    growing = Reading(Reader(cast("Cluster", None)), HEALTHY, reads)
    growing.covering({Area.ACCOUNTS})
    assert made == [Area.CLOCK, Area.ACCOUNTS]
    growing.covering({Area.CLOCK})
    growing.covering({Area.AZURE})
    assert made == [Area.CLOCK, Area.ACCOUNTS, Area.AZURE]
