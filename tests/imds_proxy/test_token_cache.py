"""The tokens at hand, over hours that pass in milliseconds."""

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
    held = TokenCache(entra.exchange, time.clock)
    try:
        yield held, entra, time
    finally:
        await held.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


Story = Callable[[TokenCache, Entra, Time], Awaitable[None]]


def played(story: Story) -> None:
    """Run a story."""

    async def run() -> None:
        async with cache() as (held, entra, time):
            await story(held, entra, time)

    asyncio.run(run())


def story(test: Callable[[TokenCache, Entra, Time], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make a test of a story."""

    def run() -> None:
        played(test)

    run.__doc__, run.__name__ = test.__doc__, test.__name__
    return run


@story
async def test_second_request(held: TokenCache, entra: Entra, time: Time) -> None:
    """A token at hand is given again; another resource is another token."""
    first = await held.get(VAULT)
    await time.pass_by(60)
    assert await held.get(VAULT) is first
    assert await held.get(STORAGE) is not first
    assert (entra.asked, len(held)) == ([VAULT, STORAGE], 2)


@story
async def test_single_flight(held: TokenCache, entra: Entra, time: Time) -> None:
    """However many ask at once, one exchange is made."""
    entra.seconds = 3
    many = [asyncio.create_task(held.get(VAULT)) for _ in range(500)]
    await time.pass_by(5)
    assert len({(await each).secret for each in many}) == 1
    assert len(entra.asked) == 1


@story
async def test_asker_who_goes_away(held: TokenCache, entra: Entra, time: Time) -> None:
    """The one who asked first may go away; the others get their token all the same."""
    entra.seconds = 3
    first, second = asyncio.create_task(held.get(VAULT)), asyncio.create_task(held.get(VAULT))
    await time.pass_by(1)
    first.cancel()
    await time.pass_by(3)
    assert (await second).secret == "token-1"


@story
async def test_renewal(held: TokenCache, entra: Entra, time: Time) -> None:
    """Half way through its life a token that is asked for is renewed in the background."""
    await held.get(VAULT)
    await time.pass_by(LIFETIME * 0.54)
    assert len(entra.asked) == 1
    await time.pass_by(LIFETIME * 0.02)
    assert len(entra.asked) == 2
    assert (await held.get(VAULT)).secret == "token-2"


@story
async def test_forgetting(held: TokenCache, entra: Entra, time: Time) -> None:
    """A token that nobody asks for any more is renewed for a while, then forgotten when it expires."""
    await held.get(VAULT)
    await time.pass_by(LIFETIME * 2)
    assert len(held) == 1
    await time.pass_by(LIFETIME * 24)
    assert (len(entra.asked), len(held)) == (3, 0)


@story
async def test_asking_again_late(held: TokenCache, entra: Entra, time: Time) -> None:
    """A token that was not to be renewed, and is asked for at its end, is renewed at once and given fresh."""
    await held.get(VAULT)
    await time.pass_by(LIFETIME * 2.08)
    token = await held.get(VAULT)
    assert (token.secret, token.expires - time.now) == ("token-4", LIFETIME)
    await time.pass_by(LIFETIME * 3)
    assert len(entra.asked) == 6


def test_nearly_expired_and_entra_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is good for little longer is given after a moment, if a better one does not come."""
    monkeypatch.setattr(token_cache, "RENEWAL_WAIT_SECONDS", 0.05)

    async def slow(held: TokenCache, entra: Entra, time: Time) -> None:
        await held.get(VAULT)
        await time.pass_by(LIFETIME * 2.08)
        entra.seconds = 30
        assert (await held.get(VAULT)).secret == "token-3"
        assert entra.asked == [VAULT] * 4

    played(slow)


@story
async def test_renewal_in_a_crowd(held: TokenCache, entra: Entra, time: Time) -> None:
    """A renewal for which there is no room now is made later."""
    await held.get(VAULT)
    await time.pass_by(LIFETIME * 0.5)
    entra.seconds = LIFETIME * 0.1
    requests = [TokenRequest("client", f"https://{number}.test") for number in range(token_cache.MAX_EXCHANGES)]
    many = [asyncio.create_task(held.get(request)) for request in requests]
    await time.pass_by(LIFETIME * 0.3)
    assert len(await asyncio.gather(*many)) == token_cache.MAX_EXCHANGES
    assert (await held.get(VAULT)).expires > time.now + LIFETIME * 0.8


@story
async def test_outage(held: TokenCache, entra: Entra, time: Time) -> None:
    """While Entra is down, what is still valid is served at once, and Entra is asked now and then."""
    await held.get(VAULT)
    entra.error = outage("down")
    for _ in range(LIFETIME - 10):
        await time.pass_by(1)
        assert (await held.get(VAULT)).secret == "token-1"
    assert 20 < len(entra.asked) < 60
    entra.error = None
    await time.pass_by(61)
    assert (await held.get(VAULT)).expires > time.now + LIFETIME - 61


@story
async def test_outage_that_outlasts_the_token(held: TokenCache, entra: Entra, time: Time) -> None:
    """An expired token is never served; the failure is told instead, until Entra is back."""
    await held.get(VAULT)
    entra.error = outage("down")
    await time.pass_by(LIFETIME + 1)
    with pytest.raises(ImdsError, match="down"):
        await held.get(VAULT)
    entra.error = None
    await time.pass_by(6)
    assert (await held.get(VAULT)).expires == time.now + LIFETIME


@story
async def test_failure_is_remembered(held: TokenCache, entra: Entra, time: Time) -> None:
    """For the seconds that it names, a failure is told again without a further exchange."""
    entra.error = ExchangeError(Kind.THROTTLED, "too_many_requests", "wait", 60)
    for _ in range(59):
        with pytest.raises(ImdsError, match="wait"):
            await held.get(VAULT)
        await time.pass_by(1)
    assert len(entra.asked) == 1
    entra.error = None
    await time.pass_by(2)
    assert (await held.get(VAULT)).secret


@story
async def test_permanent_failure_is_remembered_for_a_moment(held: TokenCache, entra: Entra, time: Time) -> None:
    """One that names no time is asked for again after a moment, since somebody may be mending it."""
    entra.error = ExchangeError(Kind.PERMANENT, "invalid_client", "no")
    for _ in range(3):
        with pytest.raises(ImdsError, match="no"):
            await held.get(VAULT)
    assert len(entra.asked) == 1
    await time.pass_by(token_cache.FAILURE_SECONDS)
    with pytest.raises(ImdsError, match="no"):
        await held.get(VAULT)
    assert len(entra.asked) == 2


@story
async def test_failure_of_many(held: TokenCache, entra: Entra, time: Time) -> None:
    """All who wait for an exchange are told of its failure."""
    entra.seconds, entra.error = 1, outage("down")
    many = [asyncio.create_task(held.get(VAULT)) for _ in range(20)]
    await time.pass_by(2)
    results = await asyncio.gather(*many, return_exceptions=True)
    assert {str(result) for result in results} == {"down"}
    assert len(entra.asked) == 1


@story
async def test_failure_that_nobody_waits_for(held: TokenCache, entra: Entra, time: Time) -> None:
    """It disturbs nobody."""
    entra.seconds, entra.error = 1, outage("down")
    asker = asyncio.create_task(held.get(VAULT))
    await time.pass_by(0.5)
    asker.cancel()
    await time.pass_by(1)
    assert len(held) == 0


@story
async def test_short_lives(held: TokenCache, entra: Entra, time: Time) -> None:
    """A token with next to no life left is not given twice."""
    entra.lifetime = 4
    assert (await held.get(VAULT)).secret == "token-1"
    assert (await held.get(VAULT)).secret == "token-2"
    await time.pass_by(60)
    assert len(held) == 0


@story
async def test_many_resources(held: TokenCache, entra: Entra, time: Time) -> None:
    """The number of tokens at hand is bounded: of too many the oldest goes."""
    for number in range(token_cache.MAX_TOKENS + 10):
        await held.get(TokenRequest("client", f"https://{number}.test"))
    assert len(held) == token_cache.MAX_TOKENS
    await held.get(TokenRequest("client", "https://0.test"))
    assert len(entra.asked) == token_cache.MAX_TOKENS + 11
    await time.pass_by(LIFETIME * 3)
    assert len(held) == 0


@story
async def test_many_failures(held: TokenCache, entra: Entra, time: Time) -> None:
    """So is the number of failures that are remembered."""
    entra.error = outage("down")
    for number in range(token_cache.MAX_TOKENS + 10):
        with pytest.raises(ImdsError):
            await held.get(TokenRequest("client", f"https://{number}.test"))
    assert len(held._failures) == token_cache.MAX_TOKENS
    await time.pass_by(0)


@story
async def test_many_at_once(held: TokenCache, entra: Entra, time: Time) -> None:
    """So is the number of exchanges under way; what is at hand is given all the same."""
    await held.get(VAULT)
    await time.pass_by(LIFETIME * 2.08)
    entra.seconds = 5
    requests = [TokenRequest("client", f"https://{number}.test") for number in range(token_cache.MAX_EXCHANGES)]
    many = [asyncio.create_task(held.get(request)) for request in requests]
    await time.pass_by(1)
    with pytest.raises(ImdsError, match="too many different tokens") as caught:
        await held.get(STORAGE)
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    assert (await held.get(VAULT)).secret == "token-3"
    await time.pass_by(5)
    assert len(await asyncio.gather(*many)) == token_cache.MAX_EXCHANGES


@pytest.mark.parametrize("every", [60, 300, 1700, 3000, 3300])
@pytest.mark.parametrize("lifetime", [LIFETIME, 5400, 86400])
def test_a_day(every: int, lifetime: int) -> None:
    """A day with an outage of twenty minutes in each hour passes without a failed request, and few exchanges."""

    async def day(held: TokenCache, entra: Entra, time: Time) -> None:
        entra.lifetime = lifetime
        least = float(lifetime)
        for second in range(0, 86400, every):
            entra.error = outage("down") if second % 3600 >= 2400 else None
            token = await held.get(VAULT)
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

    played(day)
