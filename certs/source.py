"""Where the serving certificate comes from."""

from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from certs.key_pair import Pair
from certs.secret_keys import LEAF, LEAF_KEY
from certs.worker import MakerError, Request, make

MAX_FILE: Final = 1 << 20
EPHEMERAL_LIFETIME: Final = timedelta(days=365)


class CertificateError(Exception):
    """There is no usable certificate; the message says what to do."""


class Source(Protocol):
    """A source of the serving certificate; it is asked again and again, and a change is told by content."""

    def read(self) -> Pair:
        """The newest pair.

        Raises:
            CertificateError: when there is none to read.
        """
        ...


class Mounted:
    """`tls.crt` and `tls.key` of a directory, as a mounted Secret has them.

    Both are read through the directory's own path each time, so a kubelet's swap of its `..data` link is seen. Read in
    the middle of a swap they may not belong together: whoever loads them finds out and asks again.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self) -> Pair:
        """The pair that lies there now."""
        return Pair(self._file(LEAF), self._file(LEAF_KEY))

    def _file(self, name: str) -> bytes:
        path = self._directory / name
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE)
        except OSError as error:
            raise CertificateError(
                f"cannot read {path}: {error.strerror}; mount a Secret of type kubernetes.io/tls at {self._directory} "
                "or set --webhook-cert-dir"
            ) from error
        if not content.strip():
            raise CertificateError(f"{path} is empty; the Secret mounted there must hold tls.crt and tls.key")
        return content


class Ephemeral:
    """Made in memory at start, with its own CA (PEM); for running without a cluster.

    Raises:
        CertificateError: when it cannot be made.
    """

    def __init__(self, names: list[str]) -> None:
        seconds = EPHEMERAL_LIFETIME.total_seconds()
        try:
            made = make(Request(tuple(names), seconds, seconds))
        except MakerError as error:
            raise CertificateError(str(error)) from error
        self.ca = made.trusted.decode()
        self._pair = Pair(made.data[LEAF], made.data[LEAF_KEY])

    def read(self) -> Pair:
        """Always the same pair."""
        return self._pair
