"""Recognizes valid certificates of other programs, which must not be overwritten."""

from collections.abc import Mapping
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certs.authority import PARSE_ERRORS
from certs.errors import ForeignCertificateError
from certs.secret_keys import CA, CA_KEY, LEAF, LEAF_KEY


def refuse_foreign(data: Mapping[str, bytes], now: datetime) -> None:
    """Raise if the content holds a valid pair that this webhook cannot have made: its keys are elliptic-curve keys.

    v1.6.0's certificate rotator, whose keys are RSA keys, replaces every pair but its own, so the two would overwrite
    each other's without end.

    Raises:
        ForeignCertificateError: it does.
    """
    for name, key_name in ((CA, CA_KEY), (LEAF, LEAF_KEY)):
        subject = _foreign_subject(data.get(name, b""), data.get(key_name, b""), now)
        if subject is not None:
            raise ForeignCertificateError(
                f"{name} is a valid certificate of another program ({subject}) and is not overwritten"
            )


def _foreign_subject(certificate_pem: bytes, key_pem: bytes, now: datetime) -> str | None:
    """The subject of a valid pair whose key is not an elliptic-curve key."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, None)
    except PARSE_ERRORS:
        return None
    is_foreign = not isinstance(key, ec.EllipticCurvePrivateKey)
    if is_foreign and key.public_key() == certificate.public_key() and certificate.not_valid_after_utc > now:
        return certificate.subject.rfc4514_string()[:200]
    return None
