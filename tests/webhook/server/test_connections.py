"""Which connections a port keeps."""

from collections import Counter
from typing import Any

import pytest

from webhook.server.connections import LOG_SECONDS, Connection, ConnectionTable, Limits, source_of


class Port:
    """A port with two connections a source and three in all."""

    def __init__(self) -> None:
        self.reasons = Counter[str]()
        self.table = ConnectionTable("test", Limits(total=3, source=2), lambda _, reason: self.reasons.update([reason]))

    def open(self, peer: str, *, used: bool = False, busy: bool = False) -> Connection:
        """Open a connection."""
        made = Connection(peer)
        assert self.table.add(made)
        if used or busy:
            self.table.set_busy(made)
        if used:
            self.table.set_idle(made)
        return made

    def is_refused(self, peer: str) -> bool:
        """Whether a further connection is refused."""
        return not self.table.add(Connection(peer))


def test_oldest_unused_of_a_source() -> None:
    """A source with all its connections loses the oldest that has sent no request yet."""
    port = Port()
    used, unused = port.open("10.0.0.1", used=True), port.open("10.0.0.1")
    port.open("10.0.0.1")
    assert (used.closed, unused.closed, len(port.table)) == (False, True, 2)
    assert port.reasons == {"replaced": 1}


def test_others_are_left_alone() -> None:
    """A source that opens connections without end closes its own only."""
    port = Port()
    api_server = port.open("10.0.0.1", used=True)
    for _ in range(10):
        port.open("10.0.0.2")
    assert not api_server.closed
    assert len(port.table) == 3


def test_largest_source_gives_way() -> None:
    """With all connections taken, the source that has most loses one, and an unused one before one that was used."""
    port = Port()
    one, two, other = port.open("10.0.0.1", used=True), port.open("10.0.0.1"), port.open("10.0.0.2")
    port.open("10.0.0.3")
    assert (one.closed, two.closed, other.closed) == (False, True, False)


def test_used_ones_are_last() -> None:
    """A connection that was used gives way only if none is unused, even of a smaller source."""
    port = Port()
    used = [port.open("10.0.0.1", used=True), port.open("10.0.0.1", used=True)]
    unused = port.open("10.0.0.2")
    port.open("10.0.0.3", used=True)
    assert unused.closed
    port.open("10.0.0.4")
    assert [connection.closed for connection in used] == [True, False]


def test_busy_ones_are_never_closed() -> None:
    """A connection whose request is being answered stays; when all are, a new one is refused."""
    port = Port()
    busy = [port.open(f"10.0.0.{number}", busy=True) for number in range(3)]
    assert port.is_refused("10.0.0.9")
    assert not any(connection.closed for connection in busy)
    assert port.reasons == {"refused": 1}
    port.table.set_idle(busy[1])
    port.open("10.0.0.9")
    assert [connection.closed for connection in busy] == [False, True, False]


def test_nothing_is_left() -> None:
    """Of closed connections nothing is kept."""
    port = Port()
    opened = [port.open("10.0.0.1"), port.open("10.0.0.2", used=True), port.open("10.0.0.3", busy=True)]
    for connection in opened:
        port.table.hold(connection, 100)
        port.table.remove(connection)
        port.table.remove(connection)
        port.table.set_busy(connection)
        port.table.set_idle(connection)
    assert len(port.table) == 0
    assert not port.table._sources
    assert (port.table._pending.total, port.table._unread.total) == (0, 0)


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::"),
        (("::ffff:10.0.0.1", 5, 0, 0), "10.0.0.1"),
        ("", ""),
        (None, ""),
    ],
)
def test_source(peer: Any, source: str) -> None:  # noqa: ANN401  what a socket says
    """A source is an IPv4 address, or the /64 of an IPv6 address."""
    assert source_of(peer) == source


def test_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reason is counted each time, and logged now and then with the number of those that were not."""
    now = 1000.0
    monkeypatch.setattr("webhook.server.connections.monotonic", lambda: now)
    port = Port()
    for _ in range(5):
        port.table.report("not-http")
    now += LOG_SECONDS
    port.table.report("not-http")
    assert port.reasons == {"not-http": 6}
    assert [vars(record)["fields"]["notLogged"] for record in caplog.records] == [0, 4]
