"""Reads what arrives on all connections of a port into one buffer.

For an asyncio.Protocol uvloop allocates 256 KiB at each read of a TLS connection and gives back what was not read.
glibc gets pages from the kernel for that and returns them: a quarter of the CPU time of a small admission.
"""

import asyncio
from mmap import mmap
from typing import Final

# As much as uvloop reads at once.
READ_SIZE: Final = 256 << 10
# Does nothing.
CLOSED: Final = asyncio.Protocol()


def read_buffer() -> memoryview:
    """A buffer for connections of one event loop: what one has read is parsed before another one reads."""
    return memoryview(mmap(-1, READ_SIZE))  # of which only the used pages take memory


class BufferedReader(asyncio.BufferedProtocol):
    """Has a protocol receive what was read into a buffer, as a memoryview that is valid until it returns."""

    __slots__ = ("_buffer", "_protocol")

    def __init__(self, protocol: asyncio.Protocol, buffer: memoryview) -> None:
        self._protocol = protocol
        self._buffer = buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed; uvloop still refers to this object, so this object must not refer to it."""
        protocol, self._protocol = self._protocol, CLOSED
        protocol.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's name
        """Where the next bytes are put."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
        self._protocol.data_received(self._buffer[:nbytes])  # type: ignore[arg-type]  # httptools parses both

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The client has read on."""
        self._protocol.resume_writing()
