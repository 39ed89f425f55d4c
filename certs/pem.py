"""Finds certificates in PEM without `cryptography`, which the server does not load."""

import re
import ssl
from typing import Final

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----")


def certificates(content: bytes) -> tuple[bytes, ...]:
    """The distinct certificates (PEM, without a line break at the end) of `content`; everything else is left out."""
    return tuple(pem for pem in dict.fromkeys(_CERTIFICATE.findall(content)) if _is_certificate(pem))


def _is_certificate(pem: bytes) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode())
    except (ssl.SSLError, ValueError):
        return False
    return True
