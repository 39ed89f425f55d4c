"""Which connections a port keeps: bounded in all and by source, the oldest idle one closed first.

A connection is counted from its accept on. It is *unused* until its first request is complete, then *idle* between
requests, and *busy* from a request's last byte until the response. A busy one is never closed; an idle one, which its
client may be about to use, only if no unused one is left. So clients that open connections and send nothing close each
other's, and a new connection is refused only when all others are busy.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from time import monotonic
from typing import Final

# One log line for each reason in so many seconds; the metrics count all.
LOG_SECONDS: Final = 10.0
# Heads, and the parts of bodies that nobody has asked for yet, of all unfinished requests together.
MAX_PENDING: Final = 8 << 20
# Responses of all connections together that their clients have not read.
MAX_UNREAD: Final = 8 << 20

log = logging.getLogger(__name__)


class Connection:
    """A connection from its accept on: first the task that opens it (the TLS handshake), then its transport."""

    __slots__ = ("_opening", "_transport", "closed", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.closed = False
        self._opening: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    def set_opening(self, task: "asyncio.Task[None]") -> None:
        """The connection is being opened."""
        self._opening = task

    def set_transport(self, transport: asyncio.Transport) -> None:
        """The connection is open."""
        self._transport, self._opening = transport, None
        if self.closed:
            transport.abort()

    def forget_transport(self) -> None:
        """The connection is closed."""
        self.closed = True
        self._transport = None

    def abort(self) -> None:
        """Close it at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        elif self._opening is not None:
            # Its error refers to this connection: neither is to wait for the garbage collector.
            opening, self._opening = self._opening, None
            opening.cancel()


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections a port keeps: in all, and of one source."""

    total: int
    source: int


@dataclass(slots=True)
class _Source:
    """The connections of one source, each group oldest first."""

    unused: dict[Connection, None] = field(default_factory=dict)
    idle: dict[Connection, None] = field(default_factory=dict)
    busy: dict[Connection, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.unused) + len(self.idle) + len(self.busy)


class _Bytes:
    """Bytes that are held for connections."""

    __slots__ = ("_held", "total")

    def __init__(self) -> None:
        self._held: dict[Connection, int] = {}
        self.total = 0

    def add(self, connection: Connection, size: int) -> None:
        """Hold so many more for a connection."""
        self._held[connection] = self._held.get(connection, 0) + size
        self.total += size

    def remove(self, connection: Connection) -> None:
        """Hold none for it."""
        self.total -= self._held.pop(connection, 0)

    def oldest(self) -> Connection:
        """The connection for which some have been held longest."""
        return next(iter(self._held))


class ConnectionTable:
    """The connections of one port; `on_close` is called with the reason of each that is closed here."""

    def __init__(self, port: str, limits: Limits, on_close: Callable[[str, str], None]) -> None:
        self._port = port
        self._limits = limits
        self._on_close = on_close
        self._sources: dict[str, _Source] = {}
        self._count = 0
        self._pending = _Bytes()
        self._unread = _Bytes()
        self._logged: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, connection: Connection) -> bool:
        """Count a new connection, closing another one if need be; False if it has to be refused."""
        group = self._sources.get(connection.source)
        victim: Connection | None = None
        if group is not None and len(group) >= self._limits.source:
            victim = next(iter(group.unused), None) or next(iter(group.idle), None)
        elif self._count >= self._limits.total:
            victim = self._oldest()
        else:
            self._insert(connection)
            return True
        if victim is None:
            self.report("refused")
            return False
        self.close(victim, "replaced")
        self._insert(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.settle(connection)
        self.set_read(connection)
        group = self._sources.get(connection.source)
        if group is None:
            return
        for connections in (group.unused, group.idle, group.busy):
            if connection in connections:
                del connections[connection]
                self._count -= 1
        if not len(group):
            del self._sources[connection.source]

    def set_busy(self, connection: Connection) -> None:
        """A request of the connection is complete."""
        group = self._sources.get(connection.source)
        if group is not None and (connection in group.unused or connection in group.idle):
            group.unused.pop(connection, None)
            group.idle.pop(connection, None)
            group.busy[connection] = None

    def set_idle(self, connection: Connection) -> None:
        """The response was sent."""
        group = self._sources.get(connection.source)
        if group is not None and connection in group.busy:
            del group.busy[connection]
            group.idle[connection] = None

    def hold(self, connection: Connection, size: int) -> None:
        """Count bytes of an unfinished request; the connection that holds some for the longest time gives way."""
        self._pending.add(connection, size)
        while self._pending.total > MAX_PENDING:
            self.close(self._pending.oldest(), "too-much-unfinished")

    def settle(self, connection: Connection) -> None:
        """The bytes of the connection's request count no more."""
        self._pending.remove(connection)

    def set_unread(self, connection: Connection, size: int) -> None:
        """Count bytes of a response that its client has not read; who has not read for the longest time gives way."""
        self._unread.add(connection, size)
        while self._unread.total > MAX_UNREAD:
            self.close(self._unread.oldest(), "too-much-unread")

    def set_read(self, connection: Connection) -> None:
        """The bytes of the connection's response count no more."""
        self._unread.remove(connection)

    def close(self, connection: Connection, reason: str) -> None:
        """Cut a connection and count why."""
        self.remove(connection)
        connection.abort()
        self.report(reason)

    def report(self, reason: str) -> None:
        """Count a reason, and log it now and then."""
        self._on_close(self._port, reason)
        now = monotonic()
        if now - self._logged.get(reason, -LOG_SECONDS) < LOG_SECONDS:
            self._unlogged[reason] = self._unlogged.get(reason, 0) + 1
            return
        self._logged[reason] = now
        fields = {"port": self._port, "reason": reason, "notLogged": self._unlogged.pop(reason, 0)}
        log.warning("a connection was closed", extra={"fields": fields})

    def _insert(self, connection: Connection) -> None:
        self._sources.setdefault(connection.source, _Source()).unused[connection] = None
        self._count += 1

    def _oldest(self) -> Connection | None:
        """The oldest unused connection of the source that has most, else the oldest idle one."""
        groups = sorted(self._sources.values(), key=len, reverse=True)
        for group in groups:
            if group.unused:
                return next(iter(group.unused))
        return next((next(iter(group.idle)) for group in groups if group.idle), None)


def source_of(peer: object) -> str:
    """The source of a connection: the IPv4 address, or the /64 of an IPv6 address, which one machine may own."""
    if not isinstance(peer, tuple) or not peer:
        return ""
    host = str(peer[0]).partition("%")[0]
    if ":" not in host:
        return host
    address = IPv6Address(host)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
