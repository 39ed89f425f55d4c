"""The TLS settings of the webhook port."""

import ssl
from collections.abc import Callable

from webhook.config.cipher_suites import openssl_suites
from webhook.config.settings import Settings


def configurator(settings: Settings) -> Callable[[ssl.SSLContext], None]:
    """What each context of the port is configured with: suites, no tickets, and the CA of clients if there is one.

    Raises:
        ValueError: when the CA of clients cannot be used.
    """
    suites = ":".join(openssl_suites(settings.tls_cipher_suites))
    client_ca = _client_ca(settings)

    def configure(context: ssl.SSLContext) -> None:
        # Nobody resumes sessions here; a ticket's key would outlive the keys of the sessions that it protects.
        context.options |= ssl.OP_NO_TICKET
        if suites:
            context.set_ciphers(suites)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=client_ca)

    return configure


def _client_ca(settings: Settings) -> str:
    path = settings.client_ca_file
    if path is None:
        return ""
    try:
        text = path.read_text("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    else:
        return text
    raise ValueError(f"--client-ca-file {path}: {reason}; give a file with CA certificates in PEM")
