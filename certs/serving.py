"""The TLS context that handshakes use, and how a new certificate gets into it."""

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
from certs.key_pair import Pair
from certs.source import CertificateError, Source

CHECK_SECONDS: Final = 0.25
# With this part of its life left, a certificate should have been replaced.
LAST_PART: Final = 5


@dataclass(frozen=True, slots=True)
class Life:
    """From when to when a certificate is valid."""

    begins: datetime
    ends: datetime

    def is_ending(self, now: datetime) -> bool:
        """Whether less than a fifth of it is left."""
        return now >= self.ends - (self.ends - self.begins) / LAST_PART


class ServingContext:
    """An SSLContext whose certificate can be exchanged while it serves; the next handshake takes the newest.

    Raises:
        CertificateError: from the start, when the source has no usable pair.
    """

    def __init__(self, source: Source, minimum: ssl.TLSVersion) -> None:
        self._source = source
        self._minimum = minimum
        self.ssl = self._new_context()
        self._current: Pair | None = None
        self.life: Life
        self.refresh()

    def refresh(self) -> bool:
        """Take what the source has now; True when it was new.

        A pair is tried in a context of its own first: in the serving one a mismatched pair would break every later
        handshake.

        Raises:
            CertificateError: when it is not usable; the pair before it stays.
        """
        pair = self._source.read()
        if pair == self._current:
            return False
        self._load(pair)
        self._current = pair
        self.life = Life(*handshake.life(self.ssl, pair.certificate))
        return True

    def _load(self, pair: Pair) -> None:
        with _as_file(pair) as path:
            try:
                self._new_context().load_cert_chain(path)
                self.ssl.load_cert_chain(path)
            except (ssl.SSLError, ValueError) as error:
                raise CertificateError(
                    f"tls.crt and tls.key are not a certificate and its private key ({error}); "
                    "replace both with a pair that belongs together"
                ) from error

    async def follow(
        self, changed: Callable[[], None], failed: Callable[[CertificateError], None], seconds: float = CHECK_SECONDS
    ) -> None:
        """Take every change of the source until cancelled; of one fault `failed` hears once."""
        last = ""
        while True:
            await asyncio.sleep(seconds)
            try:
                if self.refresh():
                    changed()
                last = ""
            except CertificateError as error:
                if str(error) != last:
                    failed(error)
                last = str(error)

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        # The API server resumes no sessions; tickets for them would be a seventh of a handshake.
        context.num_tickets = 0
        return context


@contextmanager
def _as_file(pair: Pair) -> Iterator[str]:
    """The pair in one PEM file, since `load_cert_chain` takes paths only; in memory where the system can.

    A private key then never lies on a disk, and a read-only root file system is no hindrance.
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
