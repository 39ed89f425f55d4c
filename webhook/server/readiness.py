"""Whether admissions can be answered, and what is in the way if not."""

import logging
import ssl
from datetime import UTC, datetime
from time import monotonic
from typing import Final, Protocol

from certs.serving import ServingContext

# Beyond changes only time can make a certificate unusable, and it does so slowly.
LOOK_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class Bundle(Protocol):
    """A caBundle as it was last seen, such as a `certs.ca_bundle.CaBundle`, which loads the cluster's client."""

    @property
    def entries(self) -> tuple[object, ...] | None:
        """How the webhooks of its configuration are called; None where there is none."""
        ...

    def unready_reason(self, server: ssl.SSLContext) -> str:
        """Why the API server could not call `server` by it; empty where it could."""
        ...


class Readiness:
    """What `/readyz` answers: TLS is served with a certificate that the API server trusts by the caBundles.

    Nothing here asks the API server: what was last seen of the caBundles counts.
    """

    def __init__(self, bundles: tuple[Bundle, ...] = (), *, bundles_required: bool = False) -> None:
        self._bundles = bundles
        self._required = bundles_required
        self._context: ServingContext | None = None
        self._draining = False
        self._looked: tuple[object, float] = (None, 0.0)
        self._found = ""
        self._said = ""

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return self._draining

    def serve(self, context: ServingContext) -> None:
        """The webhook port answers with this context."""
        self._context = context

    def drain(self) -> None:
        """The server is about to stop: no new clients, please."""
        self._draining = True

    def complaint(self) -> str:
        """What is in the way, in one sentence; empty when nothing is."""
        said = self._complaint()
        if said != self._said:
            log.info("ready" if not said else "not ready: %s", *([said] if said else []))
            self._said = said
        return said

    def _complaint(self) -> str:
        if self._draining:
            return "the server is stopping"
        if self._context is None:
            return "no certificate is served yet"
        if self._context.validity.not_after <= datetime.now(UTC):
            return f"the certificate expired at {self._context.validity.not_after:%Y-%m-%d %H:%M:%S} UTC"
        return self._bundle_complaint(self._context)

    def _bundle_complaint(self, context: ServingContext) -> str:
        """What the API server would say of our TLS; looked at anew after a change, and now and then."""
        bundles = [bundle for bundle in self._bundles if self._required or bundle.entries is not None]
        state = (context.validity, tuple(bundle.entries for bundle in bundles))
        before, looked = self._looked
        if state != before or monotonic() - looked > LOOK_SECONDS:
            self._found = next(filter(None, (bundle.unready_reason(context.ssl) for bundle in bundles)), "")
            self._looked = (state, monotonic())
        return self._found
