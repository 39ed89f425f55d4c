"""The components of a server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

from certs.source import FileSource, Source
from webhook.accounts.base import Accounts
from webhook.config.settings import Settings
from webhook.runtime.current_policy import CurrentPolicy
from webhook.server.metrics import Metrics
from webhook.server.readiness import Readiness

LOCAL_NAMES: Final = ["localhost", "127.0.0.1", "::1"]
BackgroundTask = Callable[[], Coroutine[Any, Any, None]]

log = logging.getLogger(__name__)


class StartError(Exception):
    """The server cannot start; the message is a sentence that says what to do."""


async def _do_nothing() -> None:
    """Do nothing."""


async def _ignore(_note: str) -> None:
    """Notify nobody."""


@dataclass(frozen=True, slots=True)
class Components:
    """The components of a server.

    `before_serving` is awaited before the webhook port answers, `background` runs as long as the server does,
    `until_draining` until it is asked to stop: others may be replacing or deleting what these tasks write.
    `now` is the time by which certificates expire, in seconds since 1970, the API server's where it is known.
    `on_expiring` is called with a note about a certificate that ends soon, `on_start_failure` with the reason why the
    server cannot serve and exits, and `close` is awaited last.
    """

    accounts: Accounts
    policy: CurrentPolicy
    certificates: Source
    metrics: Metrics
    readiness: Readiness = field(default_factory=Readiness)
    before_serving: Callable[[], Awaitable[None]] = _do_nothing
    background: tuple[BackgroundTask, ...] = ()
    until_draining: tuple[BackgroundTask, ...] = ()
    now: Callable[[], float] = time
    on_expiring: Callable[[str], Awaitable[None]] = _ignore
    on_start_failure: Callable[[str], Awaitable[None]] = _ignore
    close: Callable[[], Awaitable[None]] = _do_nothing


def mounted_certificates(settings: Settings) -> FileSource:
    """The certificates of --webhook-cert-dir.

    Raises:
        CertificateError: when there are none.
    """
    source = FileSource(settings.webhook_cert_dir)
    source.read()
    return source


async def run_forever(task: BackgroundTask, *, seconds: float = 5.0) -> None:
    """Run a background task, and again after it fails: an internal error there must not end admissions."""
    while True:
        try:
            await task()
        except Exception:
            log.exception("a background task failed and is restarted; this is an internal error, please report it")
        await asyncio.sleep(seconds)
