"""Whether admissions can be answered, and why not."""

import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, time
from typing import Final, Protocol

from certs.serving import ServingContext

# Without a change, only time can make a certificate unusable, and slowly.
CHECK_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class Bundle(Protocol):
    """A caBundle as last seen, such as a `certs.ca_bundle.CaBundle`, which would load the cluster's client."""

    @property
    def entries(self) -> tuple[object, ...] | None:
        """How the webhooks of its configuration are called; None if there is no such configuration."""
        ...

    def unready_reason(self, server: ssl.SSLContext) -> str:
        """Why the API server could not call `server` by it; empty if it could."""
        ...


class Readiness:
    """What `/readyz` answers: TLS is served with a certificate that the API server trusts by the caBundles.

    The API server is not asked: the caBundles as last seen count. `failure` says why there is no certificate yet, and
    `now` is the time by which one expires, the API server's where it is known (seconds since 1970).
    """

    def __init__(
        self,
        bundles: tuple[Bundle, ...] = (),
        *,
        bundles_required: bool = False,
        failure: Callable[[], str] = str,
        now: Callable[[], float] = time,
    ) -> None:
        self._now = now
        self._failure = failure
        self._bundles = bundles
        self._required = bundles_required
        self._context: ServingContext | None = None
        self._draining = False
        self._checked: tuple[object, float] = (None, 0.0)
        self._bundle_fault = ""
        self._logged = ""

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return self._draining

    def serve(self, context: ServingContext) -> None:
        """The webhook port answers with this context."""
        self._context = context

    def drain(self) -> None:
        """The server is about to stop: it is not ready for new clients."""
        self._draining = True

    def unready_reason(self) -> str:
        """Why the server is not ready, in one sentence; empty if it is."""
        reason = self._reason()
        if reason != self._logged:
            log.info("ready" if not reason else "not ready: %s", *([reason] if reason else []))
            self._logged = reason
        return reason

    def _reason(self) -> str:
        if self._draining:
            return "the server is stopping"
        if self._context is None:
            return ": ".join(filter(None, ["no certificate is served yet", self._failure()]))
        if self._context.validity.not_after <= datetime.fromtimestamp(self._now(), UTC):
            return f"the certificate expired at {self._context.validity.not_after:%Y-%m-%d %H:%M:%S} UTC"
        return self._bundle_reason(self._context)

    def _bundle_reason(self, context: ServingContext) -> str:
        """Why the API server would not trust the server; checked after a change, and every CHECK_SECONDS."""
        bundles = [bundle for bundle in self._bundles if self._required or bundle.entries is not None]
        state = (context.validity, tuple(bundle.entries for bundle in bundles))
        previous, checked = self._checked
        if state != previous or monotonic() - checked > CHECK_SECONDS:
            self._bundle_fault = next(filter(None, (bundle.unready_reason(context.ssl) for bundle in bundles)), "")
            self._checked = (state, monotonic())
        return self._bundle_fault
