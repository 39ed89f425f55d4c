"""Where the serving certificate comes from."""

from datetime import timedelta
from pathlib import Path
from time import time
from typing import Final, Protocol

from certs.errors import CertificateError
from certs.key_pair import KeyPair
from certs.secret_keys import LEAF, LEAF_KEY
from certs.worker import StepRequest, WorkerError, run_step

MAX_FILE: Final = 1 << 20
IN_MEMORY_LIFETIME: Final = timedelta(days=365)


class Source(Protocol):
    """A source of the serving certificate; it is polled, and changes are detected by content."""

    def read(self) -> KeyPair:
        """The newest pair.

        Raises:
            CertificateError: there is none.
        """
        ...


class FileSource:
    """`tls.crt` and `tls.key` of a directory, as in a mounted Secret.

    Both are read through the directory's own path each time, so the kubelet's swap of its `..data` link is noticed.
    Read in the middle of a swap they may not belong together: the caller finds out when loading them, and reads again.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self) -> KeyPair:
        """The pair that the directory holds now."""
        return KeyPair(self._file(LEAF), self._file(LEAF_KEY))

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


class InMemorySource:
    """A pair made in memory at start, with its own CA (PEM); for running without a cluster.

    Raises:
        CertificateError: it cannot be made.
    """

    def __init__(self, names: list[str]) -> None:
        seconds = IN_MEMORY_LIFETIME.total_seconds()
        try:
            result = run_step(StepRequest(tuple(names), seconds, seconds, time()))
        except WorkerError as error:
            raise CertificateError(str(error)) from error
        self.ca = result.trusted.decode()
        self._pair = KeyPair(result.data[LEAF], result.data[LEAF_KEY])

    def read(self) -> KeyPair:
        """Always the same pair."""
        return self._pair
