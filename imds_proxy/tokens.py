"""The tokens at hand: fetched once however many ask, and renewed long before they expire."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from imds_proxy.answer import Token
from imds_proxy.clock import Clock
from imds_proxy.request import ImdsError, TokenRequest

# SDKs take a token with less than this left for expired, and ask again.
FRESH_SECONDS: Final = 300.0
# How long a request waits for a better token than the one at hand.
PATIENCE_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 5.0
# A token that nobody asked for in so many of its lives is renewed no more.
IDLE_LIVES: Final = 1.5
# Between tries to renew a token that is still good.
RENEWAL_SECONDS: Final = 30.0
# Of a failure that names no time of its own. So long the same request is told the same, and nobody is asked.
FAILURE_SECONDS: Final = 5.0
MAX_HELD: Final = 256
MAX_FLIGHTS: Final = 64


@dataclass(slots=True)
class _Held:
    """A token, when to renew it, and when it was last asked for."""

    token: Token
    renew: float
    asked: float
    keeper: "asyncio.Task[None]"

    def is_wanted(self, now: float) -> bool:
        """Whether somebody is likely to ask again: an SDK does when the token that it got expires, or before."""
        return now - self.asked < IDLE_LIVES * (self.token.expires - self.token.received)


class Tokens:
    """The cache of one process.

    `exchange` fetches a token and may raise any ImdsError. A token is renewed in the background when half of its life
    is over, as long as it is asked for, so that an outage of Microsoft Entra is noticed by nobody who asked before it.
    """

    def __init__(self, exchange: Callable[[TokenRequest], Awaitable[Token]], clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._held: dict[TokenRequest, _Held] = {}
        self._flights: dict[TokenRequest, asyncio.Task[Token]] = {}
        self._failures: dict[TokenRequest, tuple[float, ImdsError]] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def get(self, asked: TokenRequest) -> Token:
        """A token that is good for some seconds at least.

        Raises:
            ImdsError: when there is none and none can be had.
        """
        held = self._held.get(asked)
        now = self._clock.now()
        if held is None or held.token.expires - now < LEAST_SECONDS:
            return await self._fetched(asked, now)
        held.asked = now
        if held.renew <= now:
            with suppress(TimeoutError, ImdsError):
                await self._renewed(asked, nearly_expired=held.token.expires - now < FRESH_SECONDS)
        return held.token

    async def close(self) -> None:
        """Drop everything that is under way."""
        tasks = [*self._flights.values(), *(held.keeper for held in self._held.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _renewed(self, asked: TokenRequest, *, nearly_expired: bool) -> None:
        """Have a token renewed, and wait a moment for that if it is not good for long."""
        flight = self._flight(asked)
        if nearly_expired:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.shield(flight)

    async def _fetched(self, asked: TokenRequest, now: float) -> Token:
        """A token that nobody has yet, or the failure that was told a moment ago."""
        until, error = self._failures.get(asked, (0.0, None))
        if error is not None and now < until:
            raise error.with_traceback(None)
        return await asyncio.shield(self._flight(asked))

    def _flight(self, asked: TokenRequest) -> "asyncio.Task[Token]":
        """The exchange that is under way for a request; it ends by itself, whoever still waits for it.

        Raises:
            ImdsError: 503, when there are too many others.
        """
        flight = self._flights.get(asked)
        if flight is None:
            if len(self._flights) >= MAX_FLIGHTS:
                raise ImdsError(503, "temporarily_unavailable", "too many different tokens are asked for at once", 1)
            flight = self._flights[asked] = asyncio.create_task(self._fly(asked))
            flight.add_done_callback(_seen)
        return flight

    async def _fly(self, asked: TokenRequest) -> Token:
        try:
            token = await self._exchange(asked)
        except ImdsError as error:
            self._failed(asked, error)
            raise
        finally:
            del self._flights[asked]
        self._failures.pop(asked, None)
        self._hold(asked, token)
        return token

    def _hold(self, asked: TokenRequest, token: Token) -> None:
        """Keep a token; of too many the one that came first goes."""
        renew = token.received + (token.expires - token.received) * (0.5 + 0.1 * self._clock.chance())
        held = self._held.get(asked)
        if held is not None:
            held.token, held.renew = token, renew
            return
        if len(self._held) >= MAX_HELD:
            self._forget(next(iter(self._held)))
        self._held[asked] = _Held(token, renew, token.received, asyncio.create_task(self._keep(asked)))

    def _failed(self, asked: TokenRequest, error: ImdsError) -> None:
        now, held = self._clock.now(), self._held.get(asked)
        if held is not None:
            held.renew = now + max(error.retry_after, RENEWAL_SECONDS * (1 + self._clock.chance()))
        if len(self._failures) >= MAX_HELD:
            del self._failures[next(iter(self._failures))]
        self._failures[asked] = (now + (error.retry_after or FAILURE_SECONDS), error)

    async def _keep(self, asked: TokenRequest) -> None:
        """Renew a token when that is due, for as long as somebody asks for it; then forget it."""
        held = self._held[asked]
        while (now := self._clock.now()) < held.token.expires:
            if now < held.renew:
                await self._clock.sleep(min(held.renew, held.token.expires) - now)
            elif held.is_wanted(now):
                try:
                    await asyncio.shield(self._flight(asked))
                except ImdsError:
                    held.renew = max(held.renew, self._clock.now() + RENEWAL_SECONDS)
            else:
                await self._clock.sleep(held.token.expires - now)
        del self._held[asked]

    def _forget(self, asked: TokenRequest) -> None:
        self._held.pop(asked).keeper.cancel()


def _seen(flight: "asyncio.Task[Token]") -> None:
    """A failure that nobody waits for any more was told in the log."""
    if not flight.cancelled():
        flight.exception()
