"""The parts of a server, from its settings."""

# ruff: noqa: PLC0415  each source of accounts loads only what it needs

import logging
from pathlib import Path

from certs.source import CertificateError, InMemorySource, Source
from webhook.admission.identity import IdentityMapping
from webhook.config import identity_mapping
from webhook.config.settings import PROXY_IMAGE, Settings
from webhook.runtime.components import LOCAL_NAMES, Parts, StartError, mounted
from webhook.runtime.current_policy import Current
from webhook.server.metrics import Metrics

log = logging.getLogger(__name__)


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
        mapped = identity_mapping.load(settings.identity_mapping) if settings.identity_mapping else IdentityMapping()
        if settings.service_accounts is None:
            # The client library is loaded only where there is a cluster.
            from webhook.runtime.in_cluster import prepare_cluster

            return await prepare_cluster(settings, mapped)
        return _prepare_files(settings, settings.service_accounts, mapped)
    except (ValueError, CertificateError) as error:
        raise StartError(str(error)) from error


def _prepare_files(settings: Settings, manifests: Path, mapped: IdentityMapping) -> Parts:
    from webhook.accounts.files import FileAccounts

    certificates = _certificates(settings)
    try:
        accounts = FileAccounts(manifests)
    except OSError as error:
        raise StartError(f"--service-accounts {manifests}: {error.strerror}") from error
    return Parts(accounts, Current(settings, mapped), certificates, Metrics())


def _certificates(settings: Settings) -> Source:
    """Certificates that need no cluster: mounted ones, or made in memory."""
    return mounted(settings) if settings.disable_cert_rotation else InMemorySource(LOCAL_NAMES)
