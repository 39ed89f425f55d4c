"""The TLS context of the webhook port, and how a new certificate or CA of clients replaces it."""

import asyncio
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from certs import handshake
from certs.errors import CertificateError
from certs.key_pair import KeyPair
from certs.source import Source

CHECK_SECONDS: Final = 0.25
# With this fraction of its validity left, a certificate should have been replaced already.
EXPIRING_FRACTION: Final = 1 / 5
# OpenSSL keeps sessions of TLS 1.2 by their ids, up to 20,480 of at least a KiB; the ssl module cannot turn that off.
MAX_SESSIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class Validity:
    """The notBefore and notAfter of a certificate."""

    not_before: datetime
    not_after: datetime

    def is_expiring(self, now: datetime) -> bool:
        """Whether less than a fifth of it is left."""
        return now >= self.not_after - (self.not_after - self.not_before) * EXPIRING_FRACTION


class ServingContext:
    """The TLS context of the webhook port; `ssl` is the newest, which the next handshake uses.

    A change makes a new context: of one that serves, no CA of clients can be taken away, and a mismatched pair would
    break every later handshake. `client_ca` reads the CAs (PEM) of the clients that may connect; empty: any may.

    Raises:
        CertificateError: there is no usable pair or CA at the start.
    """

    def __init__(
        self,
        source: Source,
        minimum: ssl.TLSVersion,
        configure: Callable[[ssl.SSLContext], None] = lambda _: None,
        client_ca: Callable[[], str] = str,
    ) -> None:
        self._source = source
        self._minimum = minimum
        self._configure = configure
        self._read_client_ca = client_ca
        self._client_ca = client_ca()
        self._pair: KeyPair | None = None
        self.ssl: ssl.SSLContext
        self.validity: Validity
        self.refresh()

    def refresh(self) -> bool:
        """Load the source's pair if it has changed; whether it has. Sessions are forgotten when there are many.

        Raises:
            CertificateError: the pair is unusable; the previous one stays.
        """
        pair = self._source.read()
        if pair == self._pair:
            if self.ssl.session_stats()["number"] > MAX_SESSIONS:
                self.ssl = self._new_context(pair, self._client_ca)
            return False
        context = self._new_context(pair, self._client_ca)
        self.validity = Validity(*handshake.validity(context, pair.certificate))
        self.ssl, self._pair = context, pair
        return True

    def refresh_client_ca(self) -> bool:
        """Load the CA of clients if it has changed; whether it has. Established connections stay.

        Raises:
            CertificateError: it is unusable; the previous one stays.
        """
        client_ca = self._read_client_ca()
        if client_ca == self._client_ca or self._pair is None:
            return False
        self.ssl = self._new_context(self._pair, client_ca)
        self._client_ca = client_ca
        return True

    def _new_context(self, pair: KeyPair, client_ca: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        # The API server resumes no sessions; their tickets would be a seventh of a handshake's cost.
        context.num_tickets = 0
        self._configure(context)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=client_ca)
        with _as_file(pair) as path:
            try:
                context.load_cert_chain(path)
            except (ssl.SSLError, ValueError) as error:
                raise CertificateError(
                    f"tls.crt and tls.key are not a certificate and its private key ({error}); "
                    "replace both with a pair that belongs together"
                ) from error
        return context


async def follow(
    refresh: Callable[[], bool],
    on_changed: Callable[[], None],
    on_failed: Callable[[CertificateError], None],
    seconds: float = CHECK_SECONDS,
) -> None:
    """Refresh again and again until cancelled; `on_failed` is called once for repeated equal errors."""
    last = ""
    while True:
        await asyncio.sleep(seconds)
        try:
            if refresh():
                on_changed()
            last = ""
        except CertificateError as error:
            if str(error) != last:
                on_failed(error)
            last = str(error)


@contextmanager
def _as_file(pair: KeyPair) -> Iterator[str]:
    """The pair as one PEM file, since `load_cert_chain` takes only paths; in memory where the system supports it.

    The private key is then never on a disk, and a read-only root file system does not matter.
    """
    content = pair.key.rstrip() + b"\n" + pair.certificate
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("certificate"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
