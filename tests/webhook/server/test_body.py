"""The body of a request, and the memory that bodies take together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from testbed.processes import until_in_loop
from webhook.server import body as module
from webhook.server.body import MAX_BODY, SMALL_BODY, BodyBudget, RequestError

LARGE = SMALL_BODY + 1


def scope(size: int | None, media_type: bytes = b"application/json") -> Any:  # noqa: ANN401  ASGI's
    """Write the head of a request."""
    length = [] if size is None else [(b"content-length", str(size).encode())]
    return {"type": "http", "headers": [(b"content-type", media_type), *length]}


def receiver(*chunks: bytes, stalled: bool = False) -> Callable[[], Any]:
    """Deliver these chunks, and then nothing if `stalled`."""
    pending = list(chunks)

    async def receive() -> Any:  # noqa: ANN401  ASGI's
        if not pending:
            await asyncio.Event().wait()
        chunk = pending.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(pending) or stalled}

    return receive


async def read(budget: BodyBudget, size: int | None, receive: Callable[[], Any]) -> bytes | int:
    """Read a body; the status where it fails."""
    try:
        async with budget.body(scope(size), receive) as body:
            return body
    except RequestError as error:
        return error.status


@asynccontextmanager
async def stalled(budget: BodyBudget, size: int, first: bytes = b"x") -> AsyncIterator["asyncio.Task[bytes | int]"]:
    """Have a body that stalls after its first part."""
    task = asyncio.create_task(read(budget, size, receiver(first, stalled=True)))
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def free(budget: BodyBudget) -> tuple[int, int]:
    """Return the bytes that are free for small and large bodies."""
    return budget._small._free, budget._large._free


def test_small_bodies_are_not_kept_waiting() -> None:
    """Whatever large bodies hold, a small one is read at once."""

    async def run() -> tuple[bytes | int, tuple[int, int]]:
        budget = BodyBudget(small=1000, large=LARGE)
        async with stalled(budget, LARGE), stalled(budget, LARGE):
            answer = await read(budget, 5, receiver(b"small"))
            return answer, free(budget)

    assert asyncio.run(run()) == (b"small", (1000, 0))


def test_slowest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a large body waits for memory the slowest of the others gives way, not the oldest."""
    monkeypatch.setattr(module, "PATIENT_SECONDS", 0.01)

    async def run() -> tuple[bytes | int, bytes | int, bool, tuple[int, int]]:
        budget = BodyBudget(small=0, large=2 * LARGE)
        async with stalled(budget, LARGE, b"x" * SMALL_BODY) as fast, stalled(budget, LARGE) as slow:
            answer = await read(budget, LARGE, receiver(b"x" * 1000, b"x" * (LARGE - 1000)))
            return answer, await slow, fast.done(), free(budget)

    answer, cut, fast_done, left = asyncio.run(run())
    assert (len(answer) if isinstance(answer, bytes) else answer) == LARGE
    assert (cut, fast_done, left) == (408, False, (0, LARGE))


def test_waits_for_memory() -> None:
    """A large body waits until others are done, in the order of arrival."""

    async def run() -> list[str]:
        budget, order = BodyBudget(small=0, large=LARGE), list[str]()

        async def admit(name: str) -> None:
            async with budget.body(scope(LARGE), receiver(b"x" * LARGE)):
                order.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(*(admit(name) for name in "abc"))
        assert free(budget) == (0, LARGE)
        return order

    assert asyncio.run(run()) == ["a", "b", "c"]


def test_no_memory_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that gets no memory in time is a 500, and what it waited for is not lost."""
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)

    async def run() -> bytes | int:
        budget = BodyBudget(small=0, large=LARGE)
        async with budget.body(scope(LARGE), receiver(b"x" * LARGE)):
            answer = await read(budget, LARGE, receiver(b"x" * LARGE))
        assert free(budget) == (0, LARGE)
        return answer

    assert asyncio.run(run()) == 500


@pytest.mark.parametrize(
    ("size", "chunks", "answer"),
    [
        (5, [b"hello"], b"hello"),
        (5, [b"he", b"llo"], b"hello"),
        (None, [b"he", b"llo"], b"hello"),
        (MAX_BODY + 1, [b""], 413),
        (4, [b"hello"], 413),
        (None, [b"x" * MAX_BODY, b"x"], 413),
    ],
)
def test_sizes(size: int | None, chunks: list[bytes], answer: bytes | int) -> None:
    """A body is at most as large as its head declares, and as MAX_BODY."""

    async def run() -> bytes | int:
        budget = BodyBudget()
        before = free(budget)
        result = await read(budget, size, receiver(*chunks))
        assert free(budget) == before
        return result

    assert asyncio.run(run()) == answer


def test_cancelled_while_waiting() -> None:
    """A request that ends while it waits for memory leaves its place to the next."""

    async def run() -> bytes | int:
        budget = BodyBudget(small=0, large=LARGE)
        async with budget.body(scope(LARGE), receiver(b"x" * LARGE)):
            first = asyncio.create_task(read(budget, LARGE, receiver(b"x" * LARGE)))
            second = asyncio.create_task(read(budget, LARGE, receiver(b"y" * LARGE)))
            await until_in_loop(lambda: len(budget._large._waiting) == 2)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        answer = await second
        assert free(budget) == (0, LARGE)
        return answer

    assert asyncio.run(run()) == b"y" * LARGE
