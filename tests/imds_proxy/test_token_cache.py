"""The token cache, over hours that pass in milliseconds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from azure_workload_identity.entra import Kind
from imds_proxy import token_cache
from imds_proxy.exchange import ExchangeError, outage
from imds_proxy.request import ImdsError, TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.token_cache import TokenCache
from tests.support.virtual import Time

VAULT = TokenRequest("client", "https://vault.azure.net")
STORAGE = TokenRequest("client", "https://storage.azure.com")
LIFETIME = 3600


class Entra:
    """Gives numbered tokens, or fails for as long as `error` is set."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.asked: list[TokenRequest] = []
        self.seconds = 0.0
        self.lifetime = LIFETIME
        self.error: ImdsError | None = None

    async def exchange(self, asked: TokenRequest) -> AccessToken:
        """Take the place of `exchange.Exchange`."""
        self.asked.append(asked)
        if self.seconds:
            await self.time.clock.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        now = self.time.now
        return AccessToken(f"token-{len(self.asked)}", "Bearer", now, now + self.lifetime, now + self.lifetime)


@asynccontextmanager
async def cache() -> AsyncIterator[tuple[TokenCache, Entra, Time]]:
    """Make a cache; at its end nothing of it is left running."""
    time = Time()
    entra = Entra(time)
    tokens = TokenCache(entra.exchange, time.clock)
    try:
        yield tokens, entra, time
    finally:
        await tokens.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


Test = Callable[[TokenCache, Entra, Time], Awaitable[None]]


def run_async(test: Test) -> None:
    """Run a test with a cache."""

    async def run() -> None:
        async with cache() as (tokens, entra, time):
            await test(tokens, entra, time)

    asyncio.run(run())


def async_test(test: Callable[[TokenCache, Entra, Time], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make a coroutine a test."""

    def run() -> None:
        run_async(test)

    run.__doc__, run.__name__ = test.__doc__, test.__name__
    return run


@async_test
async def test_second_request(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A cached token is returned again; another resource is another token."""
    first = await tokens.get(VAULT)
    await time.pass_by(60)
    assert await tokens.get(VAULT) is first
    assert await tokens.get(STORAGE) is not first
    assert (entra.asked, len(tokens)) == ([VAULT, STORAGE], 2)


@async_test
async def test_single_flight(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """Any number of concurrent requests make one exchange."""
    entra.seconds = 3
    many = [asyncio.create_task(tokens.get(VAULT)) for _ in range(500)]
    await time.pass_by(5)
    assert len({(await request).secret for request in many}) == 1
    assert len(entra.asked) == 1


@async_test
async def test_cancelled_request(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """When the first requester is cancelled, the others still get their token."""
    entra.seconds = 3
    first, second = asyncio.create_task(tokens.get(VAULT)), asyncio.create_task(tokens.get(VAULT))
    await time.pass_by(1)
    first.cancel()
    await time.pass_by(3)
    assert (await second).secret == "token-1"


@async_test
async def test_renewal(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A requested token is renewed in the background half way through its lifetime."""
    await tokens.get(VAULT)
    await time.pass_by(LIFETIME * 0.54)
    assert len(entra.asked) == 1
    await time.pass_by(LIFETIME * 0.02)
    assert len(entra.asked) == 2
    assert (await tokens.get(VAULT)).secret == "token-2"


@async_test
async def test_dropped_when_idle(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A token that is no longer requested is renewed for a while, then dropped when it expires."""
    await tokens.get(VAULT)
    await time.pass_by(LIFETIME * 2)
    assert len(tokens) == 1
    await time.pass_by(LIFETIME * 24)
    assert (len(entra.asked), len(tokens)) == (3, 0)


@async_test
async def test_late_request(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A token that was not renewed any more, and is requested near its end, is renewed at once."""
    await tokens.get(VAULT)
    await time.pass_by(LIFETIME * 2.08)
    token = await tokens.get(VAULT)
    assert (token.secret, token.expires - time.now) == ("token-4", LIFETIME)
    await time.pass_by(LIFETIME * 3)
    assert len(entra.asked) == 6


def test_nearly_expired_and_entra_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token near its expiry is returned after a moment if no newer one arrives."""
    monkeypatch.setattr(token_cache, "RENEWAL_WAIT_SECONDS", 0.05)

    async def slow(tokens: TokenCache, entra: Entra, time: Time) -> None:
        await tokens.get(VAULT)
        await time.pass_by(LIFETIME * 2.08)
        entra.seconds = 30
        assert (await tokens.get(VAULT)).secret == "token-3"
        assert entra.asked == [VAULT] * 4

    run_async(slow)


@async_test
async def test_renewal_with_too_many_exchanges(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A renewal that finds too many exchanges running is made later."""
    await tokens.get(VAULT)
    await time.pass_by(LIFETIME * 0.5)
    entra.seconds = LIFETIME * 0.1
    requests = [TokenRequest("client", f"https://{number}.test") for number in range(token_cache.MAX_EXCHANGES)]
    many = [asyncio.create_task(tokens.get(request)) for request in requests]
    await time.pass_by(LIFETIME * 0.3)
    assert len(await asyncio.gather(*many)) == token_cache.MAX_EXCHANGES
    assert (await tokens.get(VAULT)).expires > time.now + LIFETIME * 0.8


@async_test
async def test_outage(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """While Entra is down, a valid token is served at once, and renewal is retried now and then."""
    await tokens.get(VAULT)
    entra.error = outage("down")
    for _ in range(LIFETIME - 10):
        await time.pass_by(1)
        assert (await tokens.get(VAULT)).secret == "token-1"
    assert 20 < len(entra.asked) < 60
    entra.error = None
    await time.pass_by(61)
    assert (await tokens.get(VAULT)).expires > time.now + LIFETIME - 61


@async_test
async def test_outage_that_outlasts_the_token(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """An expired token is never served; the failure is reported instead, until Entra is back."""
    await tokens.get(VAULT)
    entra.error = outage("down")
    await time.pass_by(LIFETIME + 1)
    with pytest.raises(ImdsError, match="down"):
        await tokens.get(VAULT)
    entra.error = None
    await time.pass_by(6)
    assert (await tokens.get(VAULT)).expires == time.now + LIFETIME


@async_test
async def test_failure_is_remembered(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """For the seconds of its Retry-After, a failure is repeated without another exchange."""
    entra.error = ExchangeError(Kind.THROTTLED, "too_many_requests", "wait", 60)
    with pytest.raises(ImdsError, match="wait"):
        await tokens.get(VAULT)
    for _ in range(39):
        await time.pass_by(1)
        with pytest.raises(ImdsError, match="wait") as caught:
            await tokens.get(VAULT)
        assert caught.value.retry_after == 20
    assert len(entra.asked) == 1
    entra.error = None
    await time.pass_by(22)
    assert (await tokens.get(VAULT)).secret


@async_test
async def test_end_of_throttling_is_awaited(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A request shortly before Entra's Retry-After is over waits for that, and gets the token that comes then."""
    entra.error = ExchangeError(Kind.THROTTLED, "too_many_requests", "wait", 60)
    with pytest.raises(ImdsError):
        await tokens.get(VAULT)
    entra.error = None
    await time.pass_by(41)
    waiting = [asyncio.create_task(tokens.get(VAULT)) for _ in range(9)]
    await time.pass_by(18)
    assert (len(entra.asked), any(request.done() for request in waiting)) == (1, False)
    await time.pass_by(2)
    assert {(await request).secret for request in waiting} == {"token-2"}


@pytest.mark.parametrize(
    ("throttled", "retries"), [(30, 3), (60, 3), (120, 5)], ids=["javascript-30", "javascript-60", "go-120"]
)
def test_throttling_that_clients_outwait(throttled: int, retries: int) -> None:
    """A client that retries as often as its SDK does, after the given Retry-After, has a token when Entra allows it."""

    async def ask(tokens: TokenCache, entra: Entra, time: Time) -> None:
        end = time.now + throttled
        entra.error = ExchangeError(Kind.THROTTLED, "too_many_requests", "wait", throttled)
        results: list[AccessToken | BaseException] = []
        while len(results) <= retries:
            request = asyncio.create_task(tokens.get(VAULT))
            await time.pass_by(0)
            while not request.done():
                entra.error = entra.error if time.now + 1 < end else None
                await time.pass_by(1)
            results += await asyncio.gather(request, return_exceptions=True)
            if isinstance(error := results[-1], ImdsError):
                assert error.retry_after <= 25
                await time.pass_by(error.retry_after)
            else:
                break
        assert (type(results[-1]), len(entra.asked), time.now - end <= 1) == (AccessToken, 2, True)

    run_async(ask)


@async_test
async def test_time_of_day_is_set(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """Setting the time of day neither prolongs a failure nor revives a dead token."""
    time.day_began += 30 * 86400
    entra.error = outage("down")
    with pytest.raises(ImdsError):
        await tokens.get(VAULT)
    time.day_began -= 30 * 86400
    entra.error = None
    await time.pass_by(6)
    assert (await tokens.get(VAULT)).secret == "token-2"
    time.day_began -= 86400
    entra.error = outage("down")
    await time.pass_by(LIFETIME)
    with pytest.raises(ImdsError, match="down"):
        await tokens.get(VAULT)


@async_test
async def test_bypass_cache(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A request that bypasses the cache gets a new token, which others then get too; any number at once make one."""
    bypassing = TokenRequest(VAULT.client_id, VAULT.resource, bypass_cache=True)
    await tokens.get(VAULT)
    entra.seconds = 1
    many = [asyncio.create_task(tokens.get(bypassing)) for _ in range(50)]
    await time.pass_by(2)
    assert {(await request).secret for request in many} == {"token-2"}
    assert ((await tokens.get(VAULT)).secret, len(tokens)) == ("token-2", 1)


@async_test
async def test_bypass_cache_is_limited(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """It forces four exchanges a minute; then it gets a 429 with Retry-After, and no cached token instead."""
    bypassing = TokenRequest(VAULT.client_id, VAULT.resource, bypass_cache=True)
    for _ in range(4):
        await tokens.get(bypassing)
        await time.pass_by(1)
    with pytest.raises(ImdsError, match="at most 4 exchanges a minute") as caught:
        await tokens.get(bypassing)
    assert (caught.value.status, caught.value.retry_after, len(entra.asked)) == (429, 20, 4)
    assert (await tokens.get(VAULT)).secret == "token-4"
    await time.pass_by(57)
    assert (await tokens.get(bypassing)).secret == "token-5"


@async_test
async def test_bypass_cache_in_an_outage(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """It never gets a cached token, not even in an outage; and the cached one stays."""
    await tokens.get(VAULT)
    entra.error = outage("down")
    with pytest.raises(ImdsError, match="down"):
        await tokens.get(TokenRequest(VAULT.client_id, VAULT.resource, bypass_cache=True))
    await time.pass_by(1)
    assert (await tokens.get(VAULT)).secret == "token-1"


@async_test
async def test_permanent_failure_is_remembered_for_a_moment(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A failure without Retry-After is retried after a moment, since somebody may be fixing it."""
    entra.error = ExchangeError(Kind.PERMANENT, "invalid_client", "no")
    for _ in range(3):
        with pytest.raises(ImdsError, match="no"):
            await tokens.get(VAULT)
    assert len(entra.asked) == 1
    await time.pass_by(token_cache.FAILURE_SECONDS)
    with pytest.raises(ImdsError, match="no"):
        await tokens.get(VAULT)
    assert len(entra.asked) == 2


@async_test
async def test_failure_of_many(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """Every request that waits for an exchange gets its failure."""
    entra.seconds, entra.error = 1, outage("down")
    many = [asyncio.create_task(tokens.get(VAULT)) for _ in range(20)]
    await time.pass_by(2)
    results = await asyncio.gather(*many, return_exceptions=True)
    assert {str(result) for result in results} == {"down"}
    assert len(entra.asked) == 1


@async_test
async def test_failure_without_a_waiting_request(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A failure without a waiting request has no effect."""
    entra.seconds, entra.error = 1, outage("down")
    asker = asyncio.create_task(tokens.get(VAULT))
    await time.pass_by(0.5)
    asker.cancel()
    await time.pass_by(1)
    assert len(tokens) == 0


@async_test
async def test_short_lives(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """A token that is about to expire is not returned twice."""
    entra.lifetime = 4
    assert (await tokens.get(VAULT)).secret == "token-1"
    assert (await tokens.get(VAULT)).secret == "token-2"
    await time.pass_by(60)
    assert len(tokens) == 0


@async_test
async def test_many_resources(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """The number of cached tokens is bounded: the oldest is evicted."""
    for number in range(token_cache.MAX_TOKENS + 10):
        await tokens.get(TokenRequest("client", f"https://{number}.test"))
    assert len(tokens) == token_cache.MAX_TOKENS
    await tokens.get(TokenRequest("client", "https://0.test"))
    assert len(entra.asked) == token_cache.MAX_TOKENS + 11
    await time.pass_by(LIFETIME * 3)
    assert len(tokens) == 0


@async_test
async def test_many_failures(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """So is the number of remembered failures."""
    entra.error = outage("down")
    for number in range(token_cache.MAX_TOKENS + 10):
        with pytest.raises(ImdsError):
            await tokens.get(TokenRequest("client", f"https://{number}.test"))
    assert len(tokens._failures) == token_cache.MAX_TOKENS
    await time.pass_by(0)


@async_test
async def test_many_at_once(tokens: TokenCache, entra: Entra, time: Time) -> None:
    """So is the number of running exchanges; a cached token is still returned."""
    await tokens.get(VAULT)
    await time.pass_by(LIFETIME * 2.08)
    entra.seconds = 5
    requests = [TokenRequest("client", f"https://{number}.test") for number in range(token_cache.MAX_EXCHANGES)]
    many = [asyncio.create_task(tokens.get(request)) for request in requests]
    await time.pass_by(1)
    with pytest.raises(ImdsError, match="too many different tokens") as caught:
        await tokens.get(STORAGE)
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    assert (await tokens.get(VAULT)).secret == "token-3"
    await time.pass_by(5)
    assert len(await asyncio.gather(*many)) == token_cache.MAX_EXCHANGES


@pytest.mark.parametrize("every", [60, 300, 1700, 3000, 3300])
@pytest.mark.parametrize("lifetime", [LIFETIME, 5400, 86400])
def test_a_day(every: int, lifetime: int) -> None:
    """A day with an outage of twenty minutes in each hour passes without a failed request, and few exchanges."""

    async def day(tokens: TokenCache, entra: Entra, time: Time) -> None:
        entra.lifetime = lifetime
        least = float(lifetime)
        for second in range(0, 86400, every):
            entra.error = outage("down") if second % 3600 >= 2400 else None
            token = await tokens.get(VAULT)
            least = min(least, token.expires - time.now)
            step = every
            while step > 0:
                # The outage begins and ends between requests too.
                await time.pass_by(min(step, 60))
                step -= 60
                now = second + every - max(step, 0)
                entra.error = outage("down") if now % 3600 >= 2400 else None
        # An SDK takes a token with less than five minutes for expired.
        assert least > 300
        assert len(entra.asked) < 24 * 40

    run_async(day)
