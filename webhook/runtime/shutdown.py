"""When and how a server stops."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Stoppable(Protocol):
    """A server that can be made to exit without waiting for open requests."""

    force_exit: bool


class Shutdown:
    """A request to stop: the first signal starts it, a second one ends everything at once."""

    def __init__(self) -> None:
        self._requested = asyncio.Event()
        self._forced = asyncio.Event()
        self._drains = False
        self.servers: list[Stoppable] = []

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        if self._requested.is_set():
            self._forced.set()
            for server in self.servers:
                server.force_exit = True
        # Ctrl-C drains nothing: the person at the terminal has no endpoints to update.
        self._drains = number == signal.SIGTERM
        self._requested.set()

    def request(self) -> None:
        """Request a shutdown."""
        self._requested.set()

    async def requested(self) -> None:
        """Wait for the request."""
        await self._requested.wait()

    async def drain(self, seconds: float) -> None:
        """Give clients this long to choose another endpoint; no time at all after Ctrl-C or a second signal."""
        if self._drains:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._forced.wait()

    async def unless_stopped(self, awaited: Coroutine[Any, Any, T]) -> T | None:
        """The result of `awaited`, or None if the shutdown was requested first."""
        task, stopped = asyncio.create_task(awaited), asyncio.create_task(self.requested())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            await cancel([task, stopped])


async def cancel(tasks: "list[asyncio.Task[Any]]") -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
