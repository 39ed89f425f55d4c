"""Time that passes only when a test lets it."""

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from imds_proxy.clock import Clock


class Time:
    """The monotonic clock, the time of day, which a test may set, and the tasks that sleep."""

    def __init__(self, chance: float = 0.5) -> None:
        self.now = 5_000.0
        self.day_began = 1_800_000_000.0
        self.clock = Clock(
            unix=lambda: self.day_began + self.now,
            monotonic=lambda: self.now,
            sleep=self._sleep,
            random=lambda: chance,
        )
        self._numbers = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def pass_by(self, seconds: float) -> None:
        """Let some seconds pass, and run every task that becomes due meanwhile."""
        until = self.now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            self.now, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
                await self._settle()
        self.now = until

    async def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        while loop._ready:  # type: ignore[attr-defined]  # noqa: ASYNC110  no other way to see what is due
            await asyncio.sleep(0)

    async def _sleep(self, seconds: float) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), sleeper))
        await sleeper


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer as soon as nothing else is to be done."""

    def __init__(self) -> None:
        self.now = 5_000.0
        super().__init__(_Jumping(self._jump))

    def time(self) -> float:
        """The loop's time, by which every timer runs."""
        return self.now

    def _jump(self, seconds: float) -> None:
        self.now += seconds


class _Jumping(selectors.DefaultSelector):
    """Lets time jump instead of waiting for it."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; if that is nothing, let `timeout` pass."""
        if timeout is None:
            raise RuntimeError("nothing will ever happen: no timer is set")
        ready = super().select(0)
        if not ready:
            self._jump(timeout)
        return ready


def run_virtually(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine whose timers take no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario)
