"""Verifies a served certificate as the API server does; needs no private key."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

MAX_CHAIN: Final = 8


def unusable_reason(served: bytes, trusted: bytes, host: str, now: datetime) -> str:
    """Why a client that trusts `trusted` would not talk to `host`, which serves `served`; empty when it would.

    Args:
        served: PEM, the leaf first.
        trusted: PEM, the CAs.
        host: the name that the client calls.
        now: with a time zone.
    """
    try:
        chain = x509.load_pem_x509_certificates(served)
        anchors = x509.load_pem_x509_certificates(trusted)
        leaf = chain[0]
        if fault := _time_fault(leaf, now) or _name_fault(leaf, host):
            return fault
        return "" if _leads(leaf, chain[1:], anchors, now) else "certificate signed by unknown authority"
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        return f"it cannot be read: {error}"


def expires(served: bytes) -> datetime | None:
    """When the leaf ends, None where there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(served).not_valid_after_utc
    except ValueError:
        return None


def _time_fault(certificate: x509.Certificate, now: datetime) -> str:
    if certificate.not_valid_after_utc <= now:
        return f"certificate has expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
    if certificate.not_valid_before_utc > now:
        return f"certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
    return ""


def _name_fault(leaf: x509.Certificate, host: str) -> str:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "certificate has no subject alternative name"
    found = names.get_values_for_type(x509.DNSName)
    return "" if host in found else f"certificate is valid for {', '.join(found) or 'no name'}, not {host}"


def _leads(
    leaf: x509.Certificate, between: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: datetime
) -> bool:
    """Whether issuers lead from the leaf to a CA that is trusted."""
    current = leaf
    for _ in range(MAX_CHAIN):
        if any(anchor == current or (_issued(current, anchor) and not _time_fault(anchor, now)) for anchor in anchors):
            return True
        above = next((candidate for candidate in between if candidate != current and _issued(current, candidate)), None)
        if above is None or _time_fault(above, now):
            return False
        current = above
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
