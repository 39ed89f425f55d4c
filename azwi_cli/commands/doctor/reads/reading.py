"""The reads in their order: each fills a part of the snapshot, and is made when a check needs it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.doctor.findings import Area
from azwi_cli.commands.doctor.reads import accounts, bindings, engine, images, login, policy, probe, webhooks, workloads
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import Snapshot
from azwi_cli.console import output


@dataclass(frozen=True, slots=True)
class Read:
    """Fills the areas of a snapshot, with what earlier reads have put there."""

    areas: frozenset[Area]
    run: Callable[[Reader, Snapshot], Snapshot]


# To read one more thing: an Area, a field of Snapshot, a module here, and a line in this table.
CLUSTER: Final = (
    Read(frozenset({Area.CLOCK}), login.read),
    Read(frozenset({Area.WEBHOOKS, Area.SERVER, Area.SECRET}), webhooks.read),
    Read(frozenset({Area.ENGINE}), engine.read),
    Read(frozenset({Area.MAPPING}), policy.read),
    Read(frozenset({Area.NAMESPACES}), accounts.read_namespaces),
    Read(frozenset({Area.ACCOUNTS}), accounts.read),
    Read(frozenset({Area.ISSUER}), accounts.read_issuer),
    Read(frozenset({Area.LIMITS}), workloads.read_limits),
    Read(frozenset({Area.WORKLOADS}), workloads.read),
    Read(frozenset({Area.BINDINGS}), bindings.read),
    Read(frozenset({Area.GRANTS}), bindings.read_grants),
    Read(frozenset({Area.IMAGES}), images.read),
    Read(frozenset({Area.POLICIES}), workloads.read_network_policies),
    Read(frozenset({Area.CALL}), probe.read),
)


class Reading:
    """A snapshot that grows: as far as the areas that were asked for, in the order of the reads."""

    def __init__(self, reader: Reader, snapshot: Snapshot, reads: Sequence[Read]) -> None:
        self.snapshot = snapshot
        self._reader = reader
        self._reads: Iterator[Read] = iter(reads)
        self._covered: frozenset[Area] = frozenset()

    @property
    def cluster(self) -> Cluster:
        """The connection."""
        return self._reader.cluster

    def covering(self, areas: Collection[Area]) -> Snapshot:
        """The snapshot, once these areas have been read; progress is shown meanwhile.

        Raises:
            UnreachableError: when the API server does not answer, or does not accept the login.
            CommandError: when what the scope names is not there.
        """
        if self._covered.issuperset(areas):
            return self.snapshot
        with output.progress("reading the cluster") as progress:
            self._reader.on_step = progress.update
            while not self._covered.issuperset(areas):
                self._make(next(self._reads))
        return self.snapshot

    def _make(self, read: Read) -> None:
        self.snapshot = replace(read.run(self._reader, self.snapshot), unreadable=tuple(self._reader.unreadable))
        self._covered |= read.areas
