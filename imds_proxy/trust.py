"""The certificate authorities that outgoing TLS connections trust."""

import logging
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from azure_workload_identity import names
from imds_proxy.settings import TokenProxy

MAX_CA_FILE: Final = 1 << 20
Trust: TypeAlias = Callable[[], ssl.SSLContext]

log = logging.getLogger(__name__)


class TrustError(Exception):
    """The certificates to trust cannot be used; the message says what to do."""


def system(environ: Mapping[str, str]) -> Trust:
    """The authorities of SSL_CERT_FILE and SSL_CERT_DIR beside the system's own; the file is followed.

    From a directory OpenSSL loads only the certificates that a connection needs. A bundle in one file holds some 140
    certificates, more than a mebibyte of memory, so the system's bundle is loaded only where there is no directory.

    Raises:
        TrustError: when a variable names something unusable, or there is no authority at all.
    """
    paths = ssl.get_default_verify_paths()
    directory = environ.get("SSL_CERT_DIR") or _usable(paths.openssl_capath)
    bundle = None if directory or not os.path.isfile(paths.openssl_cafile) else paths.openssl_cafile  # noqa: PTH113  as below
    if file := environ.get(names.ENV_CERT_FILE):
        return _FollowedFile(names.ENV_CERT_FILE, file, bundle, directory)
    if bundle is None and directory is None:
        raise TrustError("no certificates to trust: install ca-certificates, or set SSL_CERT_FILE to a bundle")
    context = ssl.create_default_context(cafile=bundle, capath=directory)
    return lambda: context


def of_token_proxy(endpoint: TokenProxy, fallback: Trust) -> Trust:
    """The authorities of the custom token endpoint, and no others; without any of its own, `fallback`.

    Raises:
        TrustError: when they are unusable at start.
    """
    if endpoint.ca_file:
        return _FollowedFile(names.ENV_TOKEN_PROXY_CA_FILE, endpoint.ca_file)
    if endpoint.ca_data:
        context = _from_pem(endpoint.ca_data, names.ENV_TOKEN_PROXY_CA_DATA)
        return lambda: context
    return fallback


class _FollowedFile:
    """The authorities in a file, read again when it changes, beside others; while it is broken, the former ones.

    Raises:
        TrustError: from the constructor, when the file has nothing usable.
    """

    def __init__(self, variable: str, path: str, bundle: str | None = None, directory: str | None = None) -> None:
        self._name = f"{variable} {path}"
        self._path = path
        self._others = (bundle, directory)
        self._content = self._read()
        self._context = self._load(self._content)

    def __call__(self) -> ssl.SSLContext:
        try:
            content = self._read()
            if content != self._content:
                self._context = self._load(content)
                self._content = content
        except TrustError as error:
            log.warning("the former certificates stay in use: %s", error)
        return self._context

    def _read(self) -> str:
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123  pathlib is 0.6 MiB
                # Anything but ASCII is in a comment, as bundles have one above each certificate.
                return file.read(MAX_CA_FILE).decode("ascii", "ignore")
        except OSError as error:
            raise TrustError(f"{self._name}: {error.strerror}") from error

    def _load(self, content: str) -> ssl.SSLContext:
        return _from_pem(content, self._name, *self._others)


def _from_pem(pem: str, name: str, bundle: str | None = None, directory: str | None = None) -> ssl.SSLContext:
    if not pem.strip():
        raise TrustError(f"{name} is empty")
    try:
        return ssl.create_default_context(cafile=bundle, capath=directory, cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise TrustError(f"{name} is not certificates in PEM ({_reason(error)})") from error


def _usable(directory: str) -> str | None:
    """The directory, if OpenSSL can find certificates in it: by file names that are hashes."""
    try:
        with os.scandir(directory) as entries:
            return directory if any(entry.name.endswith(".0") for entry in entries) else None
    except OSError:
        return None


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
