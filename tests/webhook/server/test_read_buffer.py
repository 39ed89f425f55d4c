"""One buffer for the reads of all connections."""

import asyncio
import gc
import weakref

from webhook.server.read_buffer import READ_SIZE, BufferedReader, read_buffer


class Recorder(asyncio.Protocol):
    """Records its calls, and what it received."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record it."""
        self.calls.append(transport)

    def data_received(self, data: bytes) -> None:
        """Record a copy."""
        self.calls.append(bytes(data))

    def eof_received(self) -> bool:
        """Record it, and keep the connection open."""
        self.calls.append("eof")
        return True

    def pause_writing(self) -> None:
        """Record it."""
        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Record it."""
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        """Record it."""
        self.calls.append(exc)


def receive(reader: BufferedReader, data: bytes) -> None:
    """Read as an event loop does."""
    reader.get_buffer(-1)[: len(data)] = data
    reader.buffer_updated(len(data))


def test_what_happens_to_a_connection_reaches_its_protocol() -> None:
    """Every call is passed on, in order, and the answer to the end of what the client sends too."""
    recorder, transport, error = Recorder(), asyncio.BaseTransport(), OSError("reset")
    reader = BufferedReader(recorder, read_buffer())
    reader.connection_made(transport)
    receive(reader, b"one")
    reader.pause_writing()
    reader.resume_writing()
    assert reader.eof_received() is True
    reader.connection_lost(error)
    assert recorder.calls == [transport, b"one", "pause", "resume", "eof", error]


def test_connections_that_share_a_buffer_receive_their_own_bytes() -> None:
    """A shorter read does not show what a longer one of another connection left behind it."""
    buffer = read_buffer()
    first, second = Recorder(), Recorder()
    readers = [BufferedReader(recorder, buffer) for recorder in (first, second)]
    receive(readers[0], b"a secret of the first")
    receive(readers[1], b"second")
    receive(readers[0], b"x" * READ_SIZE)
    assert first.calls == [b"a secret of the first", b"x" * READ_SIZE]
    assert second.calls == [b"second"]


def test_a_closed_connection_is_forgotten() -> None:
    """Its protocol is freed at once, though uvloop still refers to the reader; what arrives late is dropped."""
    gc.collect()
    gc.disable()
    try:
        recorder = Recorder()
        reader = BufferedReader(recorder, read_buffer())
        protocol = weakref.ref(recorder)
        reader.connection_lost(None)
        del recorder
        assert protocol() is None
        receive(reader, b"late")
    finally:
        gc.enable()
