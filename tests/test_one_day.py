"""24 hours in a moment: what runs as long as a process does, by a clock that jumps, and nothing that grows.

The clocks are those that can be passed in: the event loop's for every wait, the proxy's, and the date of certificates.
"""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import pytest
from cryptography import x509

from azure_workload_identity import names
from azure_workload_identity.cluster import watch
from azure_workload_identity.cluster.client import Answer, Cluster, ClusterUnavailableError
from azure_workload_identity.cluster.watch import Watch
from certs.authority import verify
from certs.key_pair import KeyPair
from certs.phases import CertificateSpec, step
from certs.secret_keys import CA, LEAF, LEAF_KEY
from imds_proxy.clock import Clock
from imds_proxy.exchange import outage
from imds_proxy.request import TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.token_cache import TokenCache
from tests.support.virtual import run_virtually
from webhook.accounts.cluster import SERVICE_ACCOUNTS, AccountCache

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR
PAUSE: Final = 30  # between changes of ServiceAccounts
# Until then every account has been replaced, and every cache of the interpreter is full.
SETTLED: Final = 2 * HOUR
SLACK: Final = 100


class Growth:
    """How many objects the interpreter has more than before."""

    def __init__(self) -> None:
        self._at_first = self._now()

    @staticmethod
    def _now() -> int:
        gc.collect()
        return sys.getallocatedblocks()

    def is_none(self) -> bool:
        """Whether there are not many more now."""
        return self._now() - self._at_first < SLACK


def test_tokens() -> None:
    """Through 24 outages of 10 minutes the proxy has a valid token for each request, and its cache does not grow."""
    resources = [TokenRequest("client", f"https://{name}.azure.net") for name in ("vault", "storage", "database")]
    exchanges = 0

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        async def exchange(_: TokenRequest) -> AccessToken:
            nonlocal exchanges
            exchanges += 1
            await asyncio.sleep(0.2)
            if loop.time() % HOUR < 10 * MINUTE and exchanges > len(resources):
                raise outage("Entra does not answer")
            return AccessToken("secret", "Bearer", loop.time(), loop.time() + HOUR, loop.time() + HOUR)

        clock = Clock(unix=loop.time, monotonic=loop.time, sleep=asyncio.sleep, random=lambda: 0.5)
        cache = TokenCache(exchange, clock)
        end, growth, tasks = loop.time() + DAY, None, 0
        while loop.time() < end:
            for resource in resources:
                assert (await cache.get(resource)).expires > loop.time()
            if growth is None and loop.time() > end - DAY + SETTLED:
                growth, tasks = Growth(), len(asyncio.all_tasks())
            await asyncio.sleep(20)
        assert growth is not None
        assert growth.is_none()
        assert (len(cache), len(asyncio.all_tasks())) == (len(resources), tasks)
        await cache.close()

    run_virtually(scenario())
    assert 2 * 24 < exchanges < 24 * len(resources) * 12


class ApiServer:
    """Lists and watches ServiceAccounts as the API server does, and ends watches after their time, or earlier."""

    def __init__(self) -> None:
        self.version = 1000
        self.accounts = {f"app-{number}": self.version for number in range(200)}
        self.watches = 0
        self.lists = 0

    def _item(self, name: str) -> dict[str, object]:
        metadata = {"namespace": "shop", "name": name, "resourceVersion": str(self.version)}
        return {"metadata": {**metadata, "annotations": {names.CLIENT_ID: f"client-{self.version}"}}}

    def change(self) -> bytes:
        """Delete the oldest account and create another; return both events."""
        self.version += 1
        gone = min(self.accounts, key=lambda name: self.accounts[name])
        del self.accounts[gone]
        self.accounts[f"app-{self.version}"] = self.version
        events = [("DELETED", gone), ("ADDED", f"app-{self.version}")]
        return b"\n".join(json.dumps({"type": kind, "object": self._item(name)}).encode() for kind, name in events)

    async def get(self, *_: object, **__: object) -> Answer:
        """List everything."""
        self.lists += 1
        document = {
            "metadata": {"resourceVersion": str(self.version)},
            "items": [self._item(name) for name in self.accounts],
        }
        return Answer(200, json.dumps(document).encode())

    @asynccontextmanager
    async def lines(self, url: str, _: str) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Watch: every seventh breaks off, and every eleventh is of a version that is no longer there."""
        self.watches += 1
        seconds = int(url.partition("timeoutSeconds=")[2])
        yield (410 if self.watches % 11 == 0 else 200), self._events(seconds, breaks=self.watches % 7 == 0)

    async def _events(self, seconds: int, *, breaks: bool) -> AsyncIterator[bytes]:
        for passed in range(0, seconds, PAUSE):
            await asyncio.sleep(PAUSE)
            if breaks and passed > seconds / 2:
                raise ClusterUnavailableError("GET", "/api/v1/serviceaccounts", "ServerDisconnectedError")
            for line in self.change().splitlines():
                yield line


def test_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """After about 200 watches that timed out, broke off or expired, the cache is what the API server has, no more."""
    reasons: list[str] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(watch, "monotonic", loop.time)
        monkeypatch.setattr(watch.log, "disabled", True)  # pytest would keep every line
        server, cache = ApiServer(), AccountCache()
        following = Watch(cast("Cluster", server), SERVICE_ACCOUNTS, cache, lambda _, reason: reasons.append(reason))
        task = asyncio.create_task(following.run())
        await asyncio.sleep(SETTLED)
        growth, tasks = Growth(), len(asyncio.all_tasks())
        for _ in range((DAY - SETTLED) // MINUTE):
            await asyncio.sleep(MINUTE)
            assert following.staleness is not None
            assert following.staleness < 2 * watch.LONGEST_WAIT + PAUSE
            assert len(cache) <= len(server.accounts) + 1
        assert growth.is_none()
        assert len(asyncio.all_tasks()) == tasks
        assert server.watches > DAY / (2 * watch.WATCH_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert {name for name in server.accounts if cache.find("shop", name)} == set(server.accounts)

    run_virtually(scenario())
    assert {"expired", "unavailable"} == set(reasons)


def test_certificates() -> None:
    """Through 24 hours of rotations the served leaf is always of a trusted CA, and the Secret does not grow."""
    spec = CertificateSpec(("webhook.system.svc",), timedelta(hours=3), timedelta(hours=1))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    taken = step({}, spec, now)
    authorities, leaves, sizes = set(), set(), []
    end = now + timedelta(days=1)
    while now < end:
        trusted, now = taken.trusted, max(taken.due, now + timedelta(minutes=1))
        # The caBundle was written long ago, so every API server has the next CA.
        taken = step(taken.data, spec, now, announced=True)
        served = KeyPair(taken.data[LEAF], taken.data[LEAF_KEY])
        authority = taken.data[CA]
        assert authority in trusted or authority in taken.trusted
        verify(served, x509.load_pem_x509_certificate(authority), spec.names[0], now)
        authorities.add(authority)
        leaves.add(served.certificate)
        sizes.append(sum(map(len, taken.data.values())))
    assert len(authorities) > 24 / 3
    assert len(leaves) > 24
    # A signature in DER is a few bytes longer or shorter.
    assert max(sizes[len(sizes) // 2 :]) <= 1.01 * max(sizes[: len(sizes) // 2])
