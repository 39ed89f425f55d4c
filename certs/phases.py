"""What becomes of the certificates in the Secret next: content and time in, content out. No I/O, no clock.

A CA is replaced without a moment in which a client does not trust what is served:

1. announced: the next CA joins the caBundle, and signs nothing yet
2. promoted: once every client has seen it, it signs the leaf that is served; the one before it stays in the caBundle
3. retired: when nothing that it signed can still be served, the old CA leaves

Whoever calls writes the result by compare-and-swap, so any number of replicas may call at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import SKEW, issue, load, make_authority
from certs.key_pair import Pair
from certs.secret_keys import CA, CA_KEY, LEAF, LEAF_KEY, NEXT_CA, NEXT_CA_KEY, OLD_CA

COMMON_NAME: Final = "azure-workload-identity-ca"
# A certificate is renewed when this part of its life is left.
REST: Final = 3
MAX_OLD: Final = 8
_LEAF_CHANGES: Final = frozenset({"created", "healed", "promoted"})
# What reading content that is anything can raise.
_UNUSABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What certificates are to be like: the server's names, and how long a CA and a leaf live."""

    names: tuple[str, ...]
    ca_lifetime: timedelta
    cert_lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Step:
    """The content of the Secret as it should be.

    `changes` has a word for each thing that was done: created, healed, announced, promoted, renewed, retired.
    `problems` says what could not be used. `trusted` is the caBundle (PEM) that goes with the content. `due` is when
    time alone asks for the next step.
    """

    data: Mapping[str, bytes] = field(repr=False)
    changes: tuple[str, ...]
    problems: tuple[str, ...]
    trusted: bytes
    due: datetime
    ca_expires: datetime


def step(
    data: Mapping[str, bytes], wanted: Wanted, now: datetime, *, announced: bool = False, served: bytes = b""
) -> Step:
    """The next step from the content `data`, which may be anything.

    `announced` says that every client has seen the next CA. `served` is the CA (PEM) of what the caller serves now: it
    stays trusted even where the Secret has lost it.
    """
    problems: list[str] = []
    current = _authority(data, CA, CA_KEY, now, problems)
    coming = _authority(data, NEXT_CA, NEXT_CA_KEY, now, problems)
    changes = []
    if coming is not None and (announced or current is None):
        current, coming = coming, None
        changes.append("promoted")
    elif current is None:
        current = make_authority(COMMON_NAME, now, wanted.ca_lifetime)
        changes.append("healed" if problems else "created")
    authority = x509.load_pem_x509_certificate(current.certificate)
    if coming is None and _worn(authority, now):
        coming = make_authority(COMMON_NAME, now, wanted.ca_lifetime)
        changes.append("announced")
    leaf = _leaf(data, authority, wanted, now, problems)
    if leaf is None:
        leaf = issue(current, list(wanted.names), now, min(wanted.cert_lifetime, authority.not_valid_after_utc - now))
        if not _LEAF_CHANGES & set(changes):
            changes.append("renewed")
    retired_at = authority.not_valid_before_utc + 2 * wanted.cert_lifetime
    past = [data.get(OLD_CA, b""), data.get(CA, b""), served]
    signing = [pair.certificate for pair in (current, coming) if pair is not None]
    old = _old(past, signing, now) if now < retired_at else []
    if not old and data.get(OLD_CA):
        changes.append("retired")
    leaf_certificate = x509.load_pem_x509_certificate(leaf.certificate)
    return Step(
        data=_content(current, coming, leaf, old),
        changes=tuple(changes),
        problems=tuple(problems),
        trusted=b"".join(signing + old),
        due=min([_worn_at(leaf_certificate), *([] if coming else [_worn_at(authority)]), *([retired_at] * bool(old))]),
        ca_expires=authority.not_valid_after_utc,
    )


def _content(current: Pair, coming: Pair | None, leaf: Pair, old: list[bytes]) -> dict[str, bytes]:
    content = {
        CA: current.certificate,
        CA_KEY: current.key,
        LEAF: leaf.certificate,
        LEAF_KEY: leaf.key,
        NEXT_CA: coming.certificate if coming else b"",
        NEXT_CA_KEY: coming.key if coming else b"",
        OLD_CA: b"".join(old),
    }
    return {key: value for key, value in content.items() if value}


def _authority(data: Mapping[str, bytes], name: str, key_name: str, now: datetime, problems: list[str]) -> Pair | None:
    """The CA under these keys if it can sign now."""
    pair = Pair(data.get(name, b""), data.get(key_name, b""))
    if not pair.certificate and not pair.key:
        return None
    try:
        certificate, _ = load(pair)
        if not _is_authority(certificate):
            raise ValueError("it is no CA")
        _check_time(certificate, now)
    except _UNUSABLE as error:
        problems.append(f"{name}: {error}")
        return None
    return Pair(certificate.public_bytes(Encoding.PEM), pair.key)


def _leaf(
    data: Mapping[str, bytes], authority: x509.Certificate, wanted: Wanted, now: datetime, problems: list[str]
) -> Pair | None:
    """The leaf if it can be served and is not worn."""
    pair = Pair(data.get(LEAF, b""), data.get(LEAF_KEY, b""))
    if not pair.certificate and not pair.key:
        return None
    try:
        certificate, _ = load(pair)
        certificate.verify_directly_issued_by(authority)
        _check_time(certificate, now)
        if set(_names(certificate)) != set(wanted.names):
            raise ValueError("it is for other names")
    except InvalidSignature:
        return None
    except _UNUSABLE as error:
        problems.append(f"{LEAF}: {error}")
        return None
    return None if _worn(certificate, now) else pair


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in extension.value]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _check_time(certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise ValueError(f"it expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
    # A little ahead is the clock of another replica.
    if certificate.not_valid_before_utc > now + SKEW:
        raise ValueError(f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC")


def _worn_at(certificate: x509.Certificate) -> datetime:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - life / REST


def _worn(certificate: x509.Certificate, now: datetime) -> bool:
    return _worn_at(certificate) <= now


def _old(past: Iterable[bytes], signing: list[bytes], now: datetime) -> list[bytes]:
    """The CAs of the past that still count, each once, no more than MAX_OLD."""
    found = dict.fromkeys(
        certificate.public_bytes(Encoding.PEM)
        for content in past
        for certificate in _authorities(content)
        if certificate.not_valid_after_utc > now
    )
    return [pem for pem in found if pem not in signing][:MAX_OLD]


def _authorities(content: bytes) -> list[x509.Certificate]:
    try:
        return [each for each in x509.load_pem_x509_certificates(content) if _is_authority(each)]
    except _UNUSABLE:
        return []
