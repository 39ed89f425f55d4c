"""uvicorn's httptools protocol, which answers some requests at once: without a task, ASGI messages and a second write.

These cost more than half of a small admission. Most reviews arrive in one piece, and answering them takes no waiting;
all others are handed over to uvicorn and the app, as if they had arrived just then.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# (fields of the head, body) of a POST → the whole HTTP response, or None where the app has to answer.
Answer = Callable[[Sequence[tuple[bytes, bytes]], bytes], bytes | None]
NO_ANSWERS: Final[Mapping[bytes, Answer]] = {}


class ImmediateProtocol(HttpToolsProtocol):
    """Asks `answers`, by path, for the response to a POST that arrives complete with one read."""

    def __init__(self, answers: Mapping[bytes, Answer], **settings: Any) -> None:  # noqa: ANN401  uvicorn's own
        super().__init__(**settings)
        self._answers = answers
        # Set from the head of a request that may be answered at once until it is answered, or handed over.
        self._answer: Answer | None = None
        self._body = b""
        self._is_whole = False

    def on_headers_complete(self) -> None:
        """Keep a request that may be answered at once; uvicorn has all others."""
        self._answer = self._answers.get(self.url.partition(b"?")[0])
        if self._answer is None:
            super().on_headers_complete()
            return
        self._body, self._is_whole = b"", False
        if not self._is_usual():
            self._hand_over()

    def on_body(self, body: bytes) -> None:
        """Keep a body that is in one piece."""
        if self._answer is None:
            super().on_body(body)
        elif not self._body:
            self._body = body
        else:
            self._hand_over()
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Keep that the body is complete."""
        self._is_whole = True
        if self._answer is None:
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse, then answer; what follows the request in `data` has been seen by then."""
        super().data_received(data)
        if self._answer is None or self.transport.is_closing():
            return
        response = self._answer(self.headers, self._body) if self._is_whole else None
        if response is None:
            self._hand_over()
            return
        self._answer = None
        self.transport.write(response)
        self.on_response_complete()

    def _is_usual(self) -> bool:
        """Whether a response in HTTP/1.1 on a connection that stays open is all that the client expects."""
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and not self.expect_100_continue
            and not self.flow.write_paused
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )

    def _hand_over(self) -> None:
        self._answer = None
        super().on_headers_complete()
        if self._body:
            super().on_body(self._body)
            self._body = b""
        if self._is_whole:
            super().on_message_complete()
