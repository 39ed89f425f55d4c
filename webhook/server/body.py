"""Reads the body of a request, bounded in size, in time, and in the memory that all bodies take together."""

import asyncio
from typing import Final

from starlette.types import Message, Receive, Scope

from webhook.admission.errors import HttpError

MAX_BODY: Final = 8 << 20
MAX_BODIES: Final = 64 << 20
BODY_SECONDS: Final = 5.0


class RequestError(HttpError):
    """The HTTP request itself is at fault, or there is no memory for it; its body may not have been read to the end."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BodyBudget:
    """The memory that all bodies together may take, in bytes: a few clients with large ones would take all there is."""

    def __init__(self, size: int = MAX_BODIES) -> None:
        self._free = size

    def acquire(self, size: int) -> None:
        """Take so many bytes.

        Raises:
            RequestError: 500 when they are not free.
        """
        if size > self._free:
            raise RequestError(500, "overloaded", "too many large requests at once; try again")
        self._free -= size

    def release(self, size: int) -> None:
        """Return so many bytes."""
        self._free += size


async def read_body(scope: Scope, receive: Receive, budget: BodyBudget) -> bytes:
    """The whole body, at most MAX_BODY bytes; the caller releases its size to `budget`.

    Raises:
        RequestError: 408, 413, 415, 500, or 400 when the client disconnected.
    """
    headers = dict(scope["headers"])
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise RequestError(415, "wrong-content-type", "send an AdmissionReview as Content-Type: application/json")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit():
        _check_size(int(declared))
    message = await receive()
    first = _chunk(message)
    if not message.get("more_body"):
        budget.acquire(len(first))
        return first
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_rest(first, receive, budget)
    except TimeoutError:
        raise RequestError(408, "slow-body", f"the body was not whole after {BODY_SECONDS:g} s") from None


async def _read_rest(first: bytes, receive: Receive, budget: BodyBudget) -> bytes:
    """The body that begins with `first`; what it took of `budget` is released if the body does not become whole."""
    chunks, size, more = [first], 0, True
    try:
        while True:
            budget.acquire(len(chunks[-1]))
            size += len(chunks[-1])
            _check_size(size)
            if not more:
                return b"".join(chunks)
            message = await receive()
            chunks.append(_chunk(message))
            more = message.get("more_body", False)
    except BaseException:
        budget.release(size)
        raise


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise RequestError(400, "client-gone", "the client went away before the body was whole")
    body: bytes = message.get("body", b"")
    return body


def _check_size(size: int) -> None:
    if size > MAX_BODY:
        raise RequestError(413, "body-too-large", f"the body is larger than {MAX_BODY >> 20} MiB")
