"""Replicas that share one Secret, taking their steps in turn."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from time import time
from typing import cast

import pytest
from cryptography import x509

from azure_workload_identity.cluster.watch import ObjectMeta
from certs.phases import CertificateSpec, step
from certs.rotation import Lifetimes, SecretSource, Wakeup
from certs.secret import CertSecret, Content
from certs.secret_keys import CA, LEAF, LEAF_KEY, NEXT_CA

DAY = 86400.0
NAMES = ("webhook.system.svc",)
LIFETIMES = Lifetimes(timedelta(days=365), timedelta(days=90))


class SharedSecret:
    """A Secret in memory, served by an API server whose clock is right."""

    name = "certs"

    def __init__(self) -> None:
        self.data: Mapping[str, bytes] = {}
        self.writes = 0

    async def load(self) -> Content:
        """Read it."""
        return Content({}, self.data, formatdate(time(), usegmt=True))

    async def save(self, _content: Content, data: Mapping[str, bytes], _owner: ObjectMeta | None = None) -> bool:
        """Write it."""
        self.data, self.writes = data, self.writes + 1
        return True


def spec() -> CertificateSpec:
    """Return what a replica's certificates are like."""
    return CertificateSpec(NAMES, LIFETIMES.ca, LIFETIMES.cert)


def replica(shared: SharedSecret) -> SecretSource:
    """Start a replica; the caBundles are not its concern here."""
    secret = cast("CertSecret", shared)
    return SecretSource(secret, (), NAMES, LIFETIMES, Wakeup(), lambda _: None)


@pytest.mark.parametrize("days", [-60, 60])
def test_clocks_far_apart(days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas whose clocks differ by 60 days agree on one certificate, which is valid by the API server's clock."""
    shared = SharedSecret()
    for offset in (0, days, 0, days):
        monkeypatch.setattr("certs.api_clock.time", lambda offset=offset: time() + offset * DAY)
        source = replica(shared)
        asyncio.run(source.load_first())
        assert source.read().certificate == shared.data[LEAF]
    assert shared.writes == 1
    leaf = x509.load_pem_x509_certificate(shared.data[LEAF])
    assert abs(leaf.not_valid_after_utc.timestamp() - time() - 90 * DAY) < DAY


def test_wrong_clock_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica whose clock is wrong makes a certificate that is valid now."""
    shared = SharedSecret()
    monkeypatch.setattr("certs.api_clock.time", lambda: time() - 60 * DAY)
    asyncio.run(replica(shared).load_first())
    leaf = x509.load_pem_x509_certificate(shared.data[LEAF])
    assert leaf.not_valid_before_utc.timestamp() < time() < leaf.not_valid_after_utc.timestamp()


def test_slow_step_does_not_delay_the_promotion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A next CA that propagates while another step is computed is promoted by the step after that."""
    shared, now = SharedSecret(), datetime.now(UTC)
    source = replica(shared)
    shared.data = step(step({}, spec(), now - timedelta(days=250)).data, spec(), now).data
    next_ca = shared.data[NEXT_CA]
    shared.data = {key: value for key, value in shared.data.items() if key not in {LEAF, LEAF_KEY}}
    propagated = iter([False])  # at the first question; from then on it has
    monkeypatch.setattr(source, "_is_propagated", lambda ca: ca is not None and next(propagated, True))
    for _ in range(2):
        asyncio.run(source._reconcile())
    assert shared.data[CA] == next_ca
