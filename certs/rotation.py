"""Certificates that the server makes itself, kept in a Secret and rotated by whichever replica is first.

The Secret is the only state. A watch only rings: what is there is read when something is to be done, and every write
is a compare-and-swap, so there is no leader, and a replica may be stopped between any two lines.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic, time
from typing import Final

from azure_workload_identity.cluster.client import ClusterUnavailableError
from azure_workload_identity.cluster.retry import patiently
from certs.ca_bundle import CaBundle, Carried
from certs.key_pair import Pair
from certs.secret import CertSecret
from certs.secret_keys import AUTHORITIES, CA, LEAF, LEAF_KEY, NEXT_CA
from certs.source import CertificateError
from certs.worker import Made, MakerError, Request, make

# How long a change of the caBundle may take to reach every API server, at most this part of a leaf's life.
PROPAGATION: Final = timedelta(seconds=10)
PROPAGATION_PART: Final = 10
LONGEST_PAUSE: Final = 300.0
SHORTEST_PAUSE: Final = 0.05
FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 10.0

log = logging.getLogger(__name__)


class Bell:
    """Something that can be waited for, for a time, and is told of any number of times at once."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits."""
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a CA and a leaf that are made are valid."""

    ca: timedelta
    cert: timedelta

    @property
    def propagation(self) -> float:
        """Seconds until every API server has seen a new caBundle."""
        return min(PROPAGATION, self.cert / PROPAGATION_PART).total_seconds()


class SelfManaged:
    """A source whose pair comes from the Secret.

    What `read` gives is trusted by the API server: a leaf of another CA is offered only once that CA has been in every
    caBundle for the time of propagation. `rotated` hears of each thing that was done (a word of `certs.phases.Step`).
    """

    def __init__(
        self,
        secret: CertSecret,
        bundles: tuple[CaBundle, ...],
        names: tuple[str, ...],
        lifetimes: Lifetimes,
        bell: Bell,
        rotated: Callable[[str], None],
    ) -> None:
        self._secret = secret
        self._bundles = bundles
        self._names = names
        self._lifetimes = lifetimes
        self._bell = bell
        self._rotated = rotated
        self._pair: Pair | None = None
        self._authority = b""
        self._carried_since: dict[bytes, float] = {}
        self._asked: Request | None = None
        self._made: Made | None = None

    def read(self) -> Pair:
        """The pair to serve now.

        Raises:
            CertificateError: before the first one.
        """
        if self._pair is None:
            raise CertificateError(f"there is no certificate yet in Secret {self._secret.name}")
        return self._pair

    @property
    def ca_expires(self) -> float | None:
        """When the CA of what is served ends, in seconds since 1970."""
        return self._made.ca_expires if self._made else None

    async def first(self) -> None:
        """Wait for the first pair, through an API server that is not there yet.

        Raises:
            CertificateError: where no waiting helps; it says what to grant.
        """
        # More than once where another replica was faster.
        while self._pair is None:
            await patiently(self._reconcile, CertificateError, (MakerError,))

    async def run(self) -> None:
        """Rotate until cancelled."""
        wait, last = FIRST_WAIT, ""
        while True:
            try:
                pause = await self._reconcile()
                wait, last = FIRST_WAIT, ""
            except (ClusterUnavailableError, CertificateError, MakerError) as error:
                if str(error) != last:
                    log.warning("certificates cannot be looked after, trying again: %s", error)
                pause, wait, last = wait, min(wait * 2, LONGEST_WAIT), str(error)
            await self._bell.wait(pause)

    async def _reconcile(self) -> float:
        """Bring Secret, caBundles and what is served one step on; seconds until time alone asks for the next."""
        content = await self._secret.load()
        made = await self._next(content.data)
        if made.data != content.data:
            if not await self._secret.save(content, made.data):
                return SHORTEST_PAUSE
            self._saved(made)
        try:
            await self._carry(made)
        finally:
            # A leaf of a CA that is trusted already needs no caBundle to be written.
            self._offer(made)
        return self._pause(made)

    async def _next(self, data: Mapping[str, bytes]) -> Made:
        """What is to become of `data`; asked anew only where it, or the time, may have changed the answer."""
        request = self._request(data)
        if self._made is None or request != self._asked or time() >= self._made.due:
            self._made = await asyncio.to_thread(make, request)
            self._asked = request
        return self._made

    def _request(self, data: Mapping[str, bytes]) -> Request:
        return Request(
            names=self._names,
            ca_seconds=self._lifetimes.ca.total_seconds(),
            cert_seconds=self._lifetimes.cert.total_seconds(),
            data=data,
            announced=self._is_seen(data.get(NEXT_CA)),
            served=b"" if any(self._authority in data.get(key, b"") for key in AUTHORITIES) else self._authority,
        )

    def _saved(self, made: Made) -> None:
        for problem in made.problems:
            log.warning("in Secret %s, and mended: %s", self._secret.name, problem)
        for change in made.changes:
            log.info("certificates: %s", change, extra={"fields": {"secret": self._secret.name}})
            self._rotated(change)
        # What was written is its own next step.
        self._made = replace(made, changes=(), problems=())
        self._asked = self._request(made.data)

    async def _carry(self, made: Made) -> None:
        """Have every caBundle carry what is to be trusted, and remember since when they do."""
        carried = [await bundle.carry(made.trusted) for bundle in self._bundles]
        since = monotonic() if Carried.PATCHED in carried else None
        found = () if Carried.MISSING in carried else (made.data[CA], made.data.get(NEXT_CA))
        self._carried_since = {
            authority: since or self._carried_since.get(authority, monotonic()) for authority in found if authority
        }

    def _is_seen(self, authority: bytes | None) -> bool:
        return authority in self._carried_since and self._to_wait(authority) <= 0

    def _to_wait(self, authority: bytes) -> float:
        """Seconds until every API server has seen `authority` in the caBundles."""
        return self._carried_since[authority] + self._lifetimes.propagation - monotonic()

    def _offer(self, made: Made) -> None:
        """Offer the leaf of the Secret once it is trusted; the one before it only as long as it is trusted itself."""
        authority = made.data[CA]
        trusted = self._pair is not None and self._authority in made.trusted
        if not trusted or authority == self._authority or self._is_seen(authority):
            self._pair, self._authority = Pair(made.data[LEAF], made.data[LEAF_KEY]), authority

    def _pause(self, made: Made) -> float:
        waiting = [
            max(self._to_wait(authority), SHORTEST_PAUSE)
            for authority in self._carried_since
            if authority == made.data.get(NEXT_CA) or authority != self._authority
        ]
        # A little apart, so that not all replicas make the same keys at the same moment.
        due = max(made.due - time(), SHORTEST_PAUSE) + random.random() * self._lifetimes.propagation / 4  # noqa: S311  spreads work, hides nothing
        return min([LONGEST_PAUSE, due, *waiting])
