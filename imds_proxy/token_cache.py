"""The token cache: one exchange however many requests wait for it, and renewal long before a token expires."""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from imds_proxy.clock import Clock
from imds_proxy.request import MAX_RETRY_AFTER, ImdsError, TokenRequest
from imds_proxy.responses import AccessToken

# SDKs treat a token with less than this left as expired, and ask again.
FRESH_SECONDS: Final = 300.0
# How long a request waits for a newer token than the cached one.
RENEWAL_WAIT_SECONDS: Final = 2.0
MIN_REMAINING_SECONDS: Final = 5.0
# A token that was not requested for so many of its lifetimes is no longer renewed.
IDLE_LIFETIMES: Final = 1.5
# Between attempts to renew a token that is still valid.
RENEWAL_SECONDS: Final = 30.0
# How long a failure without a Retry-After of its own is repeated without another exchange.
FAILURE_SECONDS: Final = 5.0
# A request waits for the end of Entra's Retry-After when that is so near: SDKs wait at least a minute for a response.
HOLD_SECONDS: Final = 20.0
MAX_BYPASSES: Final = 4  # exchanges a minute that a request for one token may force with bypass_cache
MINUTE: Final = 60.0
MAX_TOKENS: Final = 256
MAX_EXCHANGES: Final = 64


@dataclass(slots=True)
class CachedToken:
    """A token, when to renew it, and when it was last requested, by the monotonic clock."""

    token: AccessToken
    renew_at: float
    last_request: float
    renewal: "asyncio.Task[None]"

    def is_wanted(self, now: float) -> bool:
        """Whether another request is likely: an SDK asks again when its token expires, or earlier."""
        return now - self.last_request < IDLE_LIFETIMES * (self.token.expires - self.token.requested)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed exchange, and until when it is not repeated, by the monotonic clock."""

    error: ImdsError
    until: float

    def repeated(self, now: float) -> ImdsError:
        """The error for another request; its Retry-After is the remaining time, as far as clients wait."""
        error = self.error
        remaining = min(math.ceil(self.until - now), MAX_RETRY_AFTER) if error.retry_after else 0
        return ImdsError(error.status, error.error, error.message, remaining, error.hold_off)


class TokenCache:
    """The cache of one process.

    `exchange` fetches a token and may raise any ImdsError. A token that is requested is renewed in the background when
    half of its lifetime is over, so that an outage of Microsoft Entra is not noticed by apps that already have one.
    """

    def __init__(self, exchange: Callable[[TokenRequest], Awaitable[AccessToken]], clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._tokens: dict[TokenRequest, CachedToken] = {}
        self._exchanges: dict[TokenRequest, asyncio.Task[AccessToken]] = {}
        self._failures: dict[TokenRequest, Failure] = {}
        self._bypasses: dict[TokenRequest, deque[float]] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def current(self, request: TokenRequest) -> AccessToken | None:
        """The cached token if that is the answer at once; None where `get` has to renew it first, or to fetch one."""
        cached = self._tokens.get(request)
        if cached is None or request.bypass_cache:
            return None
        now = self._clock.monotonic()
        if cached.renew_at <= now or cached.token.expires - now < MIN_REMAINING_SECONDS:
            return None
        cached.last_request = now
        return cached.token

    async def get(self, request: TokenRequest) -> AccessToken:
        """A token that is valid for at least some seconds; a new one for a request that bypasses the cache.

        Raises:
            ImdsError: when there is none and the exchange fails.
        """
        cached = self._tokens.get(request)
        now = self._clock.monotonic()
        if request.bypass_cache:
            return await self._bypass(request, now)
        if cached is None or cached.token.expires - now < MIN_REMAINING_SECONDS:
            return await self._fetch(request, now)
        cached.last_request = now
        if cached.renew_at <= now:
            with suppress(TimeoutError, ImdsError):
                await self._renew(request, nearly_expired=cached.token.expires - now < FRESH_SECONDS)
        return cached.token

    def discard(self, request: TokenRequest) -> None:
        """Drop a cached token, because a server does not accept it; the next request fetches another."""
        if request in self._tokens:
            self._evict(request)

    async def close(self) -> None:
        """Cancel every exchange and renewal."""
        tasks = [*self._exchanges.values(), *(cached.renewal for cached in self._tokens.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self, request: TokenRequest, *, nearly_expired: bool) -> None:
        """Start a renewal, and wait a moment for it if the cached token expires soon."""
        exchange = self._in_flight(request)
        if nearly_expired:
            async with asyncio.timeout(RENEWAL_WAIT_SECONDS):
                await asyncio.shield(exchange)

    async def _fetch(self, request: TokenRequest, now: float) -> AccessToken:
        """A token from an exchange, which starts when Entra's Retry-After is over; or the failure of a moment ago."""
        failure = self._failures.get(request)
        delay = 0.0
        if failure is not None and now < failure.until and request not in self._exchanges:
            delay = failure.until - now
            if not failure.error.hold_off or delay > HOLD_SECONDS:
                raise failure.repeated(now)
        return await asyncio.shield(self._in_flight(request, delay))

    async def _bypass(self, request: TokenRequest, now: float) -> AccessToken:
        """A token from an exchange that is running, or a new one.

        Raises:
            ImdsError: 429 as well, when there were too many such requests within a minute.
        """
        if request not in self._exchanges:
            recent = self._bypasses.setdefault(request, deque(maxlen=MAX_BYPASSES))
            if len(recent) == MAX_BYPASSES and now - recent[0] < MINUTE:
                wait = min(math.ceil(MINUTE - (now - recent[0])), MAX_RETRY_AFTER)
                message = f"bypass_cache forces at most {MAX_BYPASSES} exchanges a minute: leave it out, or wait"
                raise ImdsError(429, "too_many_requests", message, wait)
            recent.append(now)
            if len(self._bypasses) > MAX_TOKENS:
                del self._bypasses[next(iter(self._bypasses))]
        return await self._fetch(request, now)

    def _in_flight(self, request: TokenRequest, delay: float = 0) -> "asyncio.Task[AccessToken]":
        """The running exchange for a request, started if there is none; it ends even if nobody waits for it any more.

        Raises:
            ImdsError: 503, when too many others are running.
        """
        exchange = self._exchanges.get(request)
        if exchange is None:
            if len(self._exchanges) >= MAX_EXCHANGES:
                raise ImdsError(503, "temporarily_unavailable", "too many different tokens are asked for at once", 1)
            exchange = self._exchanges[request] = asyncio.create_task(self._run_exchange(request, delay))
            exchange.add_done_callback(_consume)
        return exchange

    async def _run_exchange(self, request: TokenRequest, delay: float) -> AccessToken:
        try:
            if delay:
                await self._clock.sleep(delay)
            token = await self._exchange(request)
        except ImdsError as error:
            self._store_failure(request, error)
            raise
        finally:
            del self._exchanges[request]
        self._failures.pop(request, None)
        self._store(request, token)
        return token

    def _store(self, request: TokenRequest, token: AccessToken) -> None:
        """Cache a token; if the cache is full, the oldest entry goes."""
        renew_at = token.requested + (token.expires - token.requested) * (0.5 + 0.1 * self._clock.random())
        cached = self._tokens.get(request)
        if cached is not None:
            cached.token, cached.renew_at = token, renew_at
            return
        if len(self._tokens) >= MAX_TOKENS:
            self._evict(next(iter(self._tokens)))
        renewal = asyncio.create_task(self._renew_while_wanted(request))
        self._tokens[request] = CachedToken(token, renew_at, token.requested, renewal)

    def _store_failure(self, request: TokenRequest, error: ImdsError) -> None:
        now, cached = self._clock.monotonic(), self._tokens.get(request)
        wait = error.hold_off or error.retry_after
        if cached is not None:
            cached.renew_at = now + max(wait, RENEWAL_SECONDS * (1 + self._clock.random()))
        if len(self._failures) >= MAX_TOKENS:
            del self._failures[next(iter(self._failures))]
        self._failures[request] = Failure(error, now + (wait or FAILURE_SECONDS))

    async def _renew_while_wanted(self, request: TokenRequest) -> None:
        """Renew a token when that is due, as long as it is requested; then drop it."""
        cached = self._tokens[request]
        while (now := self._clock.monotonic()) < cached.token.expires:
            if now < cached.renew_at:
                await self._clock.sleep(min(cached.renew_at, cached.token.expires) - now)
            elif cached.is_wanted(now):
                try:
                    await asyncio.shield(self._in_flight(request))
                except ImdsError:
                    cached.renew_at = max(cached.renew_at, self._clock.monotonic() + RENEWAL_SECONDS)
            else:
                await self._clock.sleep(cached.token.expires - now)
        del self._tokens[request]

    def _evict(self, request: TokenRequest) -> None:
        self._tokens.pop(request).renewal.cancel()


def _consume(exchange: "asyncio.Task[AccessToken]") -> None:
    """Mark a failure as handled that nobody waits for any more; it is in the log."""
    if not exchange.cancelled():
        exchange.exception()
