"""Certificates that are found in PEM."""

import trustme

from certs.pem import certificates

FIRST, SECOND = (trustme.CA().cert_pem.bytes() for _ in range(2))
NOT_A_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"


def test_certificates() -> None:
    """Each certificate is found once, in order, and nothing else is."""
    content = b"text" + FIRST + NOT_A_CERTIFICATE + SECOND + b"\xff" + FIRST
    assert certificates(content) == (FIRST.strip(), SECOND.strip())
