"""Self-managed certificates, kept in a Secret and rotated by whichever replica is first.

The Secret is the only state. The watches only wake this up: the Secret is read before each step, and every write is a
compare-and-swap, so there is no leader, and a replica may be stopped between any two lines.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Final

from azure_workload_identity.cluster.client import ClusterUnavailableError
from azure_workload_identity.cluster.retry import retry
from azure_workload_identity.cluster.watch import ObjectMeta
from certs.api_clock import ApiClock
from certs.ca_bundle import CaBundle, SyncResult
from certs.errors import CertificateError, ForeignCertificateError
from certs.key_pair import KeyPair
from certs.secret import CertSecret, Content
from certs.secret_keys import AUTHORITIES, CA, LEAF, LEAF_KEY, NEXT_CA
from certs.worker import StepRequest, StepResult, WorkerError, run_step

# How long a change of the caBundle may take to reach every API server, but at most this fraction of a leaf's lifetime.
PROPAGATION: Final = timedelta(seconds=10)
PROPAGATION_FRACTION: Final = 1 / 10
LONGEST_PAUSE: Final = 300.0
SHORTEST_PAUSE: Final = 0.05
FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 10.0

log = logging.getLogger(__name__)


class Wakeup:
    """An event with a timeout that resets itself: any number of notifications wake the waiter once."""

    def __init__(self) -> None:
        self._notified = asyncio.Event()

    def notify(self) -> None:
        """Wake the waiter."""
        self._notified.set()

    async def wait(self, seconds: float) -> None:
        """Wait for a notification, at most that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._notified.wait()
        self._notified.clear()


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The lifetimes of new CAs and leaves."""

    ca: timedelta
    cert: timedelta

    @property
    def propagation(self) -> float:
        """Seconds until every API server uses a new caBundle."""
        return min(PROPAGATION, self.cert * PROPAGATION_FRACTION).total_seconds()


class SecretSource:
    """Serves the pair of the Secret and rotates it.

    The API server trusts the result of `read`: a leaf of another CA is served only after that CA has been in every
    caBundle for the time of propagation. `rotated` is called with each change (as in `certs.phases.RotationStep`).
    `failure` is why there was no first pair at the last attempt.
    """

    def __init__(  # noqa: PLR0913, PLR0917  its collaborators, each once
        self,
        secret: CertSecret,
        bundles: tuple[CaBundle, ...],
        names: tuple[str, ...],
        lifetimes: Lifetimes,
        wakeup: Wakeup,
        rotated: Callable[[str], None],
        clock: ApiClock | None = None,
    ) -> None:
        self._secret = secret
        self._bundles = bundles
        self._names = names
        self._lifetimes = lifetimes
        self._wakeup = wakeup
        self._rotated = rotated
        self.failure = ""
        self._pair: KeyPair | None = None
        self._authority = b""
        self._trusted = b""
        self._trusted_since: dict[bytes, float] = {}
        self._clock = clock or ApiClock()
        self._request: StepRequest | None = None
        self._result: StepResult | None = None

    def read(self) -> KeyPair:
        """The pair to serve now.

        Raises:
            CertificateError: there is none yet.
        """
        if self._pair is None:
            raise CertificateError(f"there is no certificate yet in Secret {self._secret.name}")
        return self._pair

    @property
    def trusted(self) -> bytes:
        """The CAs (PEM) that the caBundles trust, or are about to; empty until there is a pair."""
        return self._trusted

    @property
    def ca_expires(self) -> float | None:
        """When the CA of the served leaf expires, in seconds since 1970."""
        return self._result.ca_expires if self._result else None

    async def load_first(self) -> None:
        """Wait for the first pair, also while the API server is not available.

        Raises:
            CertificateError: waiting does not help; the message says what to grant.
        """
        # More than once if another replica writes the Secret at the same time.
        while self._pair is None:
            await retry(self._first_attempt, CertificateError, (WorkerError,))

    async def run(self) -> None:
        """Rotate until cancelled."""
        wait, last = FIRST_WAIT, ""
        while True:
            try:
                pause = await self._reconcile()
                wait, last = FIRST_WAIT, ""
            except (ClusterUnavailableError, CertificateError, WorkerError) as error:
                if str(error) != last:
                    log.warning("certificates cannot be rotated, trying again: %s", error)
                pause, wait, last = wait, min(wait * 2, LONGEST_WAIT), str(error)
            await self._wakeup.wait(pause)

    async def _first_attempt(self) -> None:
        try:
            await self._reconcile()
        except (ClusterUnavailableError, CertificateError, WorkerError) as error:
            self.failure = str(error)
            raise

    async def _reconcile(self) -> float:
        """Take Secret, caBundles and the served pair one step further; seconds until the next step is due."""
        content = await self._secret.load()
        self._clock.set(content.date)
        result = await self._next_step(content.data)
        if result.data != content.data:
            if not await self._may_write(content):
                log.info("Secret %s and the webhook configurations are gone: nothing is written", self._secret.name)
                return LONGEST_PAUSE
            if not await self._secret.save(content, result.data, self._owner()):
                return SHORTEST_PAUSE
            self._saved(result)
        try:
            await self._ensure_trusted(result)
        finally:
            # A leaf of a CA that is trusted already does not depend on this write of the caBundle.
            self._choose_pair(result)
        return self._pause(result)

    async def _may_write(self, content: Content) -> bool:
        """Whether the Secret may be written: a CA that cannot be put into the caBundles must not get into it.

        Without configuration and Secret the release has been uninstalled, and a server that still runs creates nothing.

        Raises:
            CertificateError: the caBundles may not be written.
        """
        exist = [await bundle.check_writable() for bundle in self._bundles]
        return content.stored is not None or self._pair is None or not exist or any(exist)

    def _owner(self) -> ObjectMeta | None:
        return next((bundle.metadata for bundle in self._bundles if bundle.metadata is not None), None)

    async def _next_step(self, data: Mapping[str, bytes]) -> StepResult:
        """The next step from `data`; computed again only after a change, or when it is due."""
        request = self._step_request(data)
        if self._result is None or request != self._request or self._clock.now() >= self._result.due:
            # What is served matters to a step that retires CAs, but only its loss asks for another step.
            self._result = await self._run_step(replace(request, served=self._authority))
            self._request = request
        return self._result

    async def _run_step(self, request: StepRequest) -> StepResult:
        try:
            return await asyncio.to_thread(run_step, replace(request, now=self._clock.now()))
        except ForeignCertificateError as error:
            raise self._secret.foreign(str(error)) from error

    def _step_request(self, data: Mapping[str, bytes]) -> StepRequest:
        return StepRequest(
            names=self._names,
            ca_seconds=self._lifetimes.ca.total_seconds(),
            cert_seconds=self._lifetimes.cert.total_seconds(),
            now=0.0,
            data=data,
            announced=self._is_propagated(data.get(NEXT_CA)),
            served=b"" if any(self._authority in data.get(key, b"") for key in AUTHORITIES) else self._authority,
        )

    def _saved(self, result: StepResult) -> None:
        for problem in result.problems:
            log.warning("replaced in Secret %s: %s", self._secret.name, problem)
        for change in result.changes:
            log.info("certificates: %s", change, extra={"fields": {"secret": self._secret.name}})
            self._rotated(change)
        # The step from the content just written changes nothing, unless a next CA has propagated meanwhile.
        self._result = replace(result, changes=(), problems=())
        self._request = replace(self._step_request(result.data), announced=False)

    async def _ensure_trusted(self, result: StepResult) -> None:
        """Make every caBundle trust the CAs, and remember since when they do."""
        self._trusted = result.trusted
        synced = [await bundle.ensure_trusted(result.trusted) for bundle in self._bundles]
        since = monotonic() if SyncResult.PATCHED in synced else None
        found = () if SyncResult.MISSING in synced else (result.data[CA], result.data.get(NEXT_CA))
        self._trusted_since = {
            authority: since or self._trusted_since.get(authority, monotonic()) for authority in found if authority
        }

    def _is_propagated(self, authority: bytes | None) -> bool:
        return authority in self._trusted_since and self._propagation_left(authority) <= 0

    def _propagation_left(self, authority: bytes) -> float:
        """Seconds until every API server trusts `authority`."""
        return self._trusted_since[authority] + self._lifetimes.propagation - monotonic()

    def _choose_pair(self, result: StepResult) -> None:
        """Serve the leaf of the Secret once it is trusted; until then the previous one, while that is trusted."""
        authority = result.data[CA]
        trusted = self._pair is not None and self._authority in result.trusted
        if not trusted or authority == self._authority or self._is_propagated(authority):
            self._pair, self._authority = KeyPair(result.data[LEAF], result.data[LEAF_KEY]), authority

    def _pause(self, result: StepResult) -> float:
        waiting = [
            max(self._propagation_left(authority), SHORTEST_PAUSE)
            for authority in self._trusted_since
            if authority == result.data.get(NEXT_CA) or authority != self._authority
        ]
        # Spread a little, so that not all replicas generate the same keys at the same moment.
        due = max(result.due - self._clock.now(), SHORTEST_PAUSE) + random.random() * self._lifetimes.propagation / 4  # noqa: S311  spreads work, hides nothing
        return min([LONGEST_PAUSE, due, *waiting])
