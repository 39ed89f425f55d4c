"""What a server is made of, from its settings."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from certs.source import FileSource, Source
from webhook.accounts.base import Accounts
from webhook.config.settings import Settings
from webhook.runtime.current_policy import Current
from webhook.server.metrics import Metrics
from webhook.server.readiness import Readiness

LOCAL_NAMES: Final = ["localhost", "127.0.0.1", "::1"]
Run = Callable[[], Coroutine[Any, Any, None]]

log = logging.getLogger(__name__)


class StartError(Exception):
    """The server cannot start; the message is a sentence that says what to do."""


async def _nothing() -> None:
    """Do nothing."""


async def _told_to_nobody(_note: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server is made of.

    `first` is awaited before the webhook port answers, `background` runs as long as the server does, `near_expiry` is
    told of a certificate that ends, and `close` is awaited last.
    """

    accounts: Accounts
    current: Current
    certificates: Source
    metrics: Metrics
    readiness: Readiness = field(default_factory=Readiness)
    first: Callable[[], Awaitable[None]] = _nothing
    background: tuple[Run, ...] = ()
    near_expiry: Callable[[str], Awaitable[None]] = _told_to_nobody
    close: Callable[[], Awaitable[None]] = _nothing


def mounted(settings: Settings) -> FileSource:
    """The certificates of --webhook-cert-dir.

    Raises:
        CertificateError: when there are none.
    """
    source = FileSource(settings.webhook_cert_dir)
    source.read()
    return source


async def supervise(run: Run, *, seconds: float = 5.0) -> None:
    """Run something for good; a fault of ours in it is told, and it begins anew. It must not end admissions."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("a background task failed and begins anew; this is a fault of the webhook, please report it")
        await asyncio.sleep(seconds)
