"""Creates the components of a server from its settings."""

# ruff: noqa: PLC0415  each source of accounts and of a mapping loads only what it needs

import logging
from pathlib import Path

from certs.errors import CertificateError
from certs.source import InMemorySource, Source
from webhook.admission.identity import IdentityMapping
from webhook.config.settings import PROXY_IMAGE, Settings
from webhook.runtime.components import LOCAL_NAMES, Components, StartError, mounted_certificates
from webhook.runtime.current_policy import CurrentPolicy
from webhook.server.metrics import Metrics

log = logging.getLogger(__name__)


async def create_components(settings: Settings) -> Components:
    """Create everything that can be created before a port is opened.

    Raises:
        StartError: with what to do.
    """
    if settings.endpoint_suffix and settings.proxy_image == PROXY_IMAGE:
        log.warning(
            "the default PROXY_IMAGE knows no custom token endpoint: pods that ask for both get no token from it"
        )
    try:
        mapping = _mapping(settings.identity_mapping)
        if settings.service_accounts is None:
            from webhook.runtime.in_cluster import create_cluster_components

            return await create_cluster_components(settings, mapping)
        return _create_file_components(settings, settings.service_accounts, mapping)
    except (ValueError, CertificateError) as error:
        raise StartError(str(error)) from error


def _mapping(file: Path | None) -> IdentityMapping:
    """The identity mapping in a file, or an empty one.

    Raises:
        ValueError: the file cannot be used.
    """
    if file is None:
        return IdentityMapping()
    from webhook.config import identity_mapping

    return identity_mapping.load(file)


def _create_file_components(settings: Settings, manifests: Path, mapping: IdentityMapping) -> Components:
    from webhook.accounts.files import FileAccounts

    certificates = _certificates(settings)
    try:
        accounts = FileAccounts(manifests)
    except OSError as error:
        raise StartError(f"--service-accounts {manifests}: {error.strerror}") from error
    return Components(accounts, CurrentPolicy(settings, mapping), certificates, Metrics())


def _certificates(settings: Settings) -> Source:
    """Certificates that need no cluster: mounted, or made in memory."""
    return mounted_certificates(settings) if settings.disable_cert_rotation else InMemorySource(LOCAL_NAMES)
