"""uvicorn's httptools protocol with the bounds that it lacks: on heads, trailers, framing, time and pipelining."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.server.connections import Connection, ConnectionTable
from webhook.server.immediate_protocol import NO_ANSWERS, Answer, ImmediateProtocol

HEAD_SECONDS: Final = 10.0
# From the head to the last byte of the body; admission answers 408 sooner.
BODY_SECONDS: Final = 10.0
RESPONSE_SECONDS: Final = 10.0
# A client may open a connection for later and must not find it closed: as long as it keeps idle ones itself, which in
# the API server is 90 s.
UNUSED_SECONDS: Final = 120.0
# The API server's heads have a dozen fields in less than 2 KiB.
MAX_HEAD: Final = 16 << 10
MAX_FIELDS: Final = 100
# Beyond this a response that is not read is counted and timed; uvloop's own limit over TLS is half a MiB.
MAX_UNCOUNTED: Final = 16 << 10


class BoundedProtocol(ImmediateProtocol):
    """Closes a connection that goes beyond a bound; `table` counts it.

    A head has MAX_HEAD bytes and MAX_FIELDS fields at most. So have the trailers of a chunked body, which are dropped;
    its chunks' headers may take no more than that and the body's size. No request may follow before the response.
    Of a body that arrives in parts no more is read than the first part until the app asks for it.
    """

    def __init__(
        self,
        connection: Connection,
        table: ConnectionTable,
        answers: Mapping[bytes, Answer] = NO_ANSWERS,
        **settings: Any,  # noqa: ANN401  uvicorn's own
    ) -> None:
        super().__init__(answers, **settings)
        self._connection = connection
        self._table = table
        self._clock: asyncio.TimerHandle | None = None
        self._in_head = False
        self._in_body = False
        self._awaits_response = False
        # Whether the table holds bytes of an unfinished request.
        self._is_held = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_before = 0
        self._framing_bytes = 0
        self._fields = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start the clock of an unused connection."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=MAX_UNCOUNTED)
        self._connection.set_transport(transport)
        self.flow = self._flow = _Flow(transport, self._settle)
        self._start_clock(UNUSED_SECONDS, "unused")

    def on_message_begin(self) -> None:
        """The first byte of a head has arrived."""
        if self._awaits_response:
            self._close("pipelined")
        if self._connection.closed:
            return
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._body_bytes = self._body_before = self._framing_bytes = self._fields = 0
        self._stop_clock()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; count and drop a trailer."""
        self._fields += 1
        if self._fields > MAX_FIELDS:
            self._close("too-many-fields")
        elif self._in_head:
            HttpToolsProtocol.on_header(self, name, value)  # for each field: super() costs as much as the call

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._in_head = False
        self._stop_clock()
        if self._connection.closed:
            return
        self._in_body = self._awaits_response = True
        self._fields = 0
        self._flow.asked = False
        self._settle()
        super().on_headers_complete()

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        if not self._connection.closed:
            super().on_url(url)

    def on_body(self, body: bytes) -> None:
        """Count the body; all other bytes after the head are framing."""
        self._body_bytes += len(body)
        if not self._connection.closed:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._connection.closed:
            return
        self._in_body = False
        self._stop_clock()
        self._settle()
        if self._awaits_response:
            self._table.set_busy(self._connection)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The response was written."""
        self._awaits_response = False
        self._table.set_idle(self._connection)
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Parse, then bound what is unfinished; most requests arrive complete and cost one comparison."""
        if self._is_closed():
            return
        self._body_before = self._body_bytes
        super().data_received(data)
        if self._is_closed():
            return
        if self._in_head:
            self._bound_head(len(data))
        elif self._in_body:
            self._bound_body(len(data), self._body_bytes - self._body_before)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting, and refer to nothing that refers back: TLS buffers must not wait for the garbage collector."""
        self._stop_clock()
        # uvicorn leaves its timer to a connection that was reset, and with it everything for two minutes.
        self._unset_keepalive_if_required()
        self._table.remove(self._connection)
        super().connection_lost(exc)
        self._connection.forget_transport()
        self._flow.on_asked = None

    def pause_writing(self) -> None:
        """The client does not read its response as fast as it is written."""
        super().pause_writing()
        # The rest of the response waits until there is room. A response that was made at once has none.
        rest: int = getattr(self.cycle, "expected_content_length", 0)
        self._table.set_unread(self._connection, self.transport.get_write_buffer_size() + rest)
        if self._clock is None:
            self._start_clock(RESPONSE_SECONDS, "slow-reader")

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        self._table.set_read(self._connection)
        if not self._in_body:
            self._stop_clock()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        if not self._is_closed():
            self._table.report("not-http")
            super().send_400_response(msg)

    def _is_closed(self) -> bool:
        # While bytes are parsed only the first can change, and the second only by an error that ends the parsing.
        return self._connection.closed or self.transport.is_closing()

    def _bound_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD:
            self._close("head-too-large")
            return
        if self._clock is None:
            self._start_clock(HEAD_SECONDS, "slow-head")
        self._hold(size)

    def _bound_body(self, size: int, body: int) -> None:
        # The part of the head in `data` counts as framing too, which the bound has room for.
        self._framing_bytes += size - body
        if self._framing_bytes > 2 * MAX_HEAD + self._body_bytes:
            self._close("too-much-framing")
            return
        if self._clock is None:
            self._start_clock(BODY_SECONDS, "slow-body")
        if not self._flow.asked and not self.cycle.response_complete:
            self._flow.pause_reading()
            self._hold(size)

    def _hold(self, size: int) -> None:
        self._is_held = True
        self._table.hold(self._connection, size)

    def _settle(self) -> None:
        if self._is_held:
            self._is_held = False
            self._table.settle(self._connection)

    def _close(self, reason: str) -> None:
        if not self._is_closed():
            self._table.close(self._connection, reason)

    def _start_clock(self, seconds: float, reason: str) -> None:
        self._clock = self.loop.call_later(seconds, self._expire, reason)

    def _expire(self, reason: str) -> None:
        # Also where the transport is about to close, which it does once its response is read.
        if not self._connection.closed:
            self._table.close(self._connection, reason)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class _Flow(FlowControl):
    """Flow control that notes when the app asks for a body."""

    def __init__(self, transport: asyncio.Transport, on_asked: Callable[[], None]) -> None:
        super().__init__(transport)
        self.on_asked: Callable[[], None] | None = on_asked
        self.asked = False

    def resume_reading(self) -> None:
        """Read on, since the app asks for more or has answered."""
        if not self.asked:
            self.asked = True
            if self.on_asked is not None:
                self.on_asked()
        super().resume_reading()
