"""The TLS settings of the webhook port."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from certs.errors import CertificateError
from webhook.config.cipher_suites import openssl_suites
from webhook.config.settings import Settings

MAX_FILE: Final = 1 << 20


def configurator(settings: Settings) -> Callable[[ssl.SSLContext], None]:
    """What each context of the port is configured with: suites, and no tickets."""
    suites = ":".join(openssl_suites(settings.tls_cipher_suites))

    def configure(context: ssl.SSLContext) -> None:
        # Nobody resumes sessions here; a ticket's key would outlive the keys of the sessions that it protects.
        context.options |= ssl.OP_NO_TICKET
        if suites:
            context.set_ciphers(suites)

    return configure


class ClientCaFile:
    """The CA certificates of `--client-ca-file`, as in a mounted ConfigMap; empty where there is no such file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._valid = ""

    def read(self) -> str:
        """The certificates (PEM) that the file holds now.

        Raises:
            CertificateError: there are none that can be used.
        """
        if self._path is None:
            return ""
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE + 1)
            text = _checked(content) if content.decode("ascii") != self._valid else self._valid
        except OSError as error:
            reason = error.strerror or str(error)
        except ValueError as error:
            reason = str(error)
        else:
            self._valid = text
            return text
        raise CertificateError(f"--client-ca-file {self._path}: {reason}; give a file with CA certificates in PEM")


def _checked(content: bytes) -> str:
    """The file's text.

    Raises:
        OSError, ValueError: it has no certificates, or is too large.
    """
    if len(content) > MAX_FILE:
        raise ValueError(f"more than {MAX_FILE >> 20} MiB")
    text = content.decode("ascii")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    return text
