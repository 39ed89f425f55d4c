"""uvicorn's httptools protocol with the bounds that it lacks: how long and how large a request's head may be."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS: Final = 10.0
# A client may keep a connection that it has not used yet for later, and must not find it closed: as long as its own
# patience with idle ones, which in the API server is 90 s.
UNUSED_SECONDS: Final = 120.0
MAX_HEAD: Final = 64 << 10


class BoundedProtocol(HttpToolsProtocol):
    """Cuts a connection that sends no whole head within HEAD_SECONDS, or more than MAX_HEAD bytes of one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's own signature, passed on
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = False
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A connection is there to be used some day."""
        super().connection_made(transport)
        self._clock = self.loop.call_later(UNUSED_SECONDS, transport.abort)

    def on_message_begin(self) -> None:
        """The first byte of a head has come."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._stop_clock()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stop_clock()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bound what is still a head after `data`; most heads come whole and are never clocked."""
        super().data_received(data)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD:
            self.transport.abort()
        elif self._clock is None:
            self._clock = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to cut."""
        self._stop_clock()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
