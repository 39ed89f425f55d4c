"""What a server is made of, from its settings."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from certs.source import CertificateError, Ephemeral, Mounted, Source
from webhook.accounts.base import Accounts
from webhook.admission.identity import IdentityMapping
from webhook.server import mapping
from webhook.server.current import Current
from webhook.server.metrics import Metrics
from webhook.server.readiness import Readiness
from webhook.server.settings import PROXY_IMAGE, Settings

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


async def prepare(settings: Settings) -> Parts:
    """Everything that can be found out before a port is opened.

    Raises:
        StartError: with what to do.
    """
    if settings.endpoint_suffix and settings.proxy_image == PROXY_IMAGE:
        log.warning(
            "the default PROXY_IMAGE knows no custom token endpoint: pods that ask for both get no token from it"
        )
    try:
        mapped = mapping.load(settings.identity_mapping) if settings.identity_mapping else IdentityMapping()
        if settings.service_accounts is None:
            # The client library is loaded only where there is a cluster.
            from webhook.server.incluster import prepare_cluster  # noqa: PLC0415  see above

            return await prepare_cluster(settings, mapped)
        return _prepare_files(settings, settings.service_accounts, mapped)
    except (ValueError, CertificateError) as error:
        raise StartError(str(error)) from error


def _prepare_files(settings: Settings, manifests: Path, mapped: IdentityMapping) -> Parts:
    from webhook.accounts.files import FileAccounts  # noqa: PLC0415  not needed in a cluster

    certificates = _certificates(settings)
    try:
        accounts = FileAccounts(manifests)
    except OSError as error:
        raise StartError(f"--service-accounts {manifests}: {error.strerror}") from error
    return Parts(accounts, Current(settings, mapped), certificates, Metrics())


def _certificates(settings: Settings) -> Source:
    """Certificates that need no cluster: mounted ones, or made in memory."""
    return mounted(settings) if settings.disable_cert_rotation else Ephemeral(LOCAL_NAMES)


def mounted(settings: Settings) -> Mounted:
    """The certificates of --webhook-cert-dir.

    Raises:
        CertificateError: when there are none.
    """
    source = Mounted(settings.webhook_cert_dir)
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
