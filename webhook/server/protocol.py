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
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A connection is there to be used some day."""
        super().connection_made(transport)
        self._start_clock(UNUSED_SECONDS)

    def on_message_begin(self) -> None:
        """Start the clock: the first byte of a head has come."""
        super().on_message_begin()
        self._start_clock(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """The head is whole: no more clock."""
        self._stop_clock()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what is still head after `data`."""
        super().data_received(data)
        if self._clock is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to close."""
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self, seconds: float) -> None:
        self._stop_clock()
        self._head_bytes = 0
        self._clock = self.loop.call_later(seconds, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
