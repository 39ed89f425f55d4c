"""Reads the body of a request, bounded in size, in time, and in the memory that all bodies take together."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

from starlette.types import Message, Receive, Scope

from webhook.admission.errors import HttpError

JSON: Final = b"application/json"
MAX_BODY: Final = 8 << 20
# A pod is a few KiB. Small bodies have a budget of their own, so that large ones never keep them waiting.
SMALL_BODY: Final = 32 << 10
SMALL_BODIES: Final = 8 << 20
LARGE_BODIES: Final = 24 << 20
BODY_SECONDS: Final = 5.0
# How long a body may keep others waiting before the slowest one has to give way.
PATIENT_SECONDS: Final = 0.25


class RequestError(HttpError):
    """The HTTP request itself is at fault, or there is no memory for it; its body may not have been read to the end."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Holder:
    """A body that has its share of a budget and is being read."""

    __slots__ = ("_deadline", "received", "size", "started")

    def __init__(self, size: int, deadline: asyncio.Timeout | None = None) -> None:
        self.size = size
        self.received = 0
        self.started = asyncio.get_running_loop().time()
        self._deadline = deadline

    def rate(self, now: float) -> float:
        """Bytes in a second so far."""
        return self.received / max(now - self.started, 1e-9)

    def cut(self) -> None:
        """Give up on it, as if its time were over."""
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())


class _Pool:
    """So many bytes, taken in the order of arrival; while others wait, the slowest body gives way."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._reading: set[_Holder] = set()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, size: int) -> None:
        """Take so many bytes, waiting for them if need be."""
        if self.try_acquire(size):
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            while not granted.done():
                await asyncio.wait({granted}, timeout=PATIENT_SECONDS)
                if not granted.done():
                    self._cut_slowest()
        except BaseException:
            if granted.done():
                self.release(size)
            else:
                self._waiting.remove((size, granted))
                self._grant()
            raise

    def try_acquire(self, size: int) -> bool:
        """Take so many bytes if they are free and nobody waits for them."""
        if size > self._free or self._waiting:
            return False
        self._free -= size
        return True

    def release(self, size: int) -> None:
        """Return so many bytes."""
        self._free += size
        self._grant()

    def reading(self, holder: _Holder) -> None:
        """A body that has its bytes is being read from here on."""
        self._reading.add(holder)

    def read(self, holder: _Holder) -> None:
        """It was read, or given up."""
        self._reading.discard(holder)

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, granted = self._waiting.popleft()
            self._free -= size
            granted.set_result(None)

    def _cut_slowest(self) -> None:
        now = asyncio.get_running_loop().time()
        slow = [holder for holder in self._reading if now - holder.started >= PATIENT_SECONDS]
        if slow:
            min(slow, key=lambda holder: holder.rate(now)).cut()


class BodyBudget:
    """The memory that all bodies together may take."""

    def __init__(self, small: int = SMALL_BODIES, large: int = LARGE_BODIES) -> None:
        self._small = _Pool(small)
        self._large = _Pool(large)

    def body(self, scope: Scope, receive: Receive) -> "_Body":
        """The whole body, at most MAX_BODY bytes, which count until the context is left.

        Raises:
            RequestError: on entering: 408, 413, 415, 500, or 400 when the client disconnected.
        """
        return _Body(self._small, self._large, scope, receive)


class _Body:
    """The context in which a body counts; written out, since a generator's context costs much of a small admission."""

    __slots__ = ("_large", "_pool", "_receive", "_scope", "_size")

    def __init__(self, small: _Pool, large: _Pool, scope: Scope, receive: Receive) -> None:
        self._pool = small
        self._large = large
        self._scope = scope
        self._receive = receive
        self._size = 0

    async def __aenter__(self) -> bytes:
        self._size = _declared_size(self._scope)
        if self._size > SMALL_BODY:
            self._pool = self._large
            return await _read_within(self._pool, self._size, self._receive, None)
        # Most bodies arrive with their head. The connection's own clock bounds the wait for the first part.
        return await _read_within(self._pool, self._size, self._receive, await self._receive())

    async def __aexit__(self, *_error: object) -> None:
        self._pool.release(self._size)


async def _read_within(pool: _Pool, size: int, receive: Receive, first: Message | None) -> bytes:
    """The whole body, whose size is taken from the pool if it succeeds."""
    if first is not None and not first.get("more_body") and pool.try_acquire(size):
        try:
            return _chunk(first, _Holder(size))
        except RequestError:
            pool.release(size)
            raise
    acquired = False
    try:
        async with asyncio.timeout(BODY_SECONDS) as deadline:
            await pool.acquire(size)
            acquired = True
            holder = _Holder(size, deadline)
            pool.reading(holder)
            try:
                return await _read(first or await receive(), receive, holder)
            finally:
                pool.read(holder)
    except BaseException as error:
        if acquired:
            pool.release(size)
        if not isinstance(error, TimeoutError):
            raise
    if not acquired:
        raise RequestError(500, "overloaded", "too many large requests at once; try again")
    raise RequestError(408, "slow-body", f"the body was not whole after {BODY_SECONDS:g} s")


def is_json(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the head declares its body as JSON."""
    media_type = b""
    for name, value in fields:
        if name == b"content-type":
            media_type = value
    return media_type == JSON or media_type.partition(b";")[0].strip().lower() == JSON


def _declared_size(scope: Scope) -> int:
    """The size that the head declares, MAX_BODY where it declares none."""
    length = b""
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = value
    if not is_json(scope["headers"]):
        raise RequestError(415, "wrong-content-type", "send an AdmissionReview as Content-Type: application/json")
    if not length.isdigit():
        return MAX_BODY
    size = int(length[:20])
    if size > MAX_BODY:
        raise _too_large()
    return size


async def _read(message: Message, receive: Receive, holder: _Holder) -> bytes:
    chunks = [_chunk(message, holder)]
    while message.get("more_body"):
        message = await receive()
        chunks.append(_chunk(message, holder))
    return b"".join(chunks)


def _chunk(message: Message, holder: _Holder) -> bytes:
    if message["type"] == "http.disconnect":
        raise RequestError(400, "client-gone", "the client went away before the body was whole")
    chunk: bytes = message.get("body", b"")
    holder.received += len(chunk)
    if holder.received > holder.size:
        raise _too_large()
    return chunk


def _too_large() -> RequestError:
    return RequestError(413, "body-too-large", f"the body is larger than {MAX_BODY >> 20} MiB")
