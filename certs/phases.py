"""The next content of the certificate Secret, from its content and the time. No I/O, no clock.

A CA is replaced so that clients trust the served certificate at every moment:

1. announced: the next CA joins the caBundle, and signs nothing yet
2. promoted: once every client has seen it, it signs the served leaf; the previous CA stays in the caBundle
3. retired: the previous CA leaves once nothing that it signed can still be served

Callers write the result by compare-and-swap, so any number of replicas may do this at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import CLOCK_SKEW, CLOCK_SKEW_FRACTION, PARSE_ERRORS, issue, load, make_authority, verify
from certs.errors import CertificateError
from certs.foreign import refuse_foreign
from certs.key_pair import KeyPair
from certs.secret_keys import CA, CA_KEY, LEAF, LEAF_KEY, NEXT_CA, NEXT_CA_KEY, OLD_CA

COMMON_NAME: Final = "azure-workload-identity-ca"
# A certificate is renewed when this fraction of its validity is left.
RENEWAL_FRACTION: Final = 1 / 3
MAX_OLD: Final = 8
_LEAF_CHANGES: Final = frozenset({"created", "healed", "promoted"})


@dataclass(frozen=True, slots=True)
class CertificateSpec:
    """The server's names, and the lifetimes of its CA and its leaf."""

    names: tuple[str, ...]
    ca_lifetime: timedelta
    cert_lifetime: timedelta


@dataclass(frozen=True, slots=True)
class RotationStep:
    """The new content of the Secret.

    `changes` names what was done: created, healed, announced, promoted, renewed, retired. `problems` describes content
    that is unusable. `trusted` is the caBundle (PEM) that belongs to the content. `due` is when the next step must be
    taken even if nothing else changes.
    """

    data: Mapping[str, bytes] = field(repr=False)
    changes: tuple[str, ...]
    problems: tuple[str, ...]
    trusted: bytes
    due: datetime
    ca_expires: datetime


def step(
    data: Mapping[str, bytes], spec: CertificateSpec, now: datetime, *, announced: bool = False, served: bytes = b""
) -> RotationStep:
    """The next step from the content `data`, which may be anything.

    `announced` says that every client trusts the next CA. `served` is the CA (PEM) of the leaf that the caller serves:
    it stays trusted even if the Secret has lost it.

    Raises:
        ForeignCertificateError: the content is a valid pair of another program.
        CertificateError: no certificate can be made for the names.
    """
    refuse_foreign(data, now)
    problems: list[str] = []
    current = _authority(data, CA, CA_KEY, spec, now, problems)
    upcoming = _authority(data, NEXT_CA, NEXT_CA_KEY, spec, now, problems)
    changes = []
    if upcoming is not None and (announced or current is None):
        current, upcoming = upcoming, None
        changes.append("promoted")
    elif current is None:
        current = make_authority(COMMON_NAME, now, spec.ca_lifetime)
        changes.append("healed" if problems else "created")
    authority = x509.load_pem_x509_certificate(current.certificate)
    if upcoming is None and _renewal_time(authority, spec.ca_lifetime) <= now:
        upcoming = make_authority(COMMON_NAME, now, spec.ca_lifetime)
        changes.append("announced")
    leaf = _leaf(data, authority, spec, now, problems) or _new_leaf(current, authority, spec, now)
    if leaf.certificate != data.get(LEAF) and not _LEAF_CHANGES & set(changes):
        changes.append("renewed")
    signing = [pair.certificate for pair in (current, upcoming) if pair is not None]
    old = {
        pem: retirement
        for pem, retirement in _former([served, data.get(CA, b""), data.get(OLD_CA, b"")], authority, spec, now).items()
        if pem not in signing and (retirement > now or pem.strip() == served.strip())
    }
    if not old and data.get(OLD_CA):
        changes.append("retired")
    renewals = [_renewal_time(x509.load_pem_x509_certificate(leaf.certificate), spec.cert_lifetime)]
    if upcoming is None:
        renewals.append(_renewal_time(authority, spec.ca_lifetime))
    return RotationStep(
        data=_content(current, upcoming, leaf, old),
        changes=tuple(changes),
        problems=tuple(problems),
        trusted=b"".join([*signing, *old]),
        due=min([*renewals, *(retirement for retirement in old.values() if retirement > now)]),
        ca_expires=authority.not_valid_after_utc,
    )


def _content(current: KeyPair, upcoming: KeyPair | None, leaf: KeyPair, old: Iterable[bytes]) -> dict[str, bytes]:
    content = {
        CA: current.certificate,
        CA_KEY: current.key,
        LEAF: leaf.certificate,
        LEAF_KEY: leaf.key,
        NEXT_CA: upcoming.certificate if upcoming else b"",
        NEXT_CA_KEY: upcoming.key if upcoming else b"",
        OLD_CA: b"".join(old),
    }
    return {key: value for key, value in content.items() if value}


def _authority(
    data: Mapping[str, bytes], name: str, key_name: str, spec: CertificateSpec, now: datetime, problems: list[str]
) -> KeyPair | None:
    """The CA under these keys if the API server accepts leaves that it signs now."""
    pair = KeyPair(data.get(name, b""), data.get(key_name, b""))
    if not pair.certificate and not pair.key:
        return None
    try:
        certificate, _ = load(pair)
        _check_time(certificate, now)
        verify(issue(pair, list(spec.names), now, spec.cert_lifetime), certificate, spec.names[0], now)
    except PARSE_ERRORS as error:
        problems.append(f"{name}: {error}")
        return None
    return KeyPair(certificate.public_bytes(Encoding.PEM), pair.key)


def _leaf(
    data: Mapping[str, bytes], authority: x509.Certificate, spec: CertificateSpec, now: datetime, problems: list[str]
) -> KeyPair | None:
    """The leaf if it can be served and is not due for renewal."""
    pair = KeyPair(data.get(LEAF, b""), data.get(LEAF_KEY, b""))
    if not pair.certificate and not pair.key:
        return None
    try:
        certificate, _ = load(pair)
        certificate.verify_directly_issued_by(authority)
        _check_time(certificate, now)
        if set(_names(certificate)) != set(spec.names):
            raise ValueError("it is for other names")
        verify(pair, authority, spec.names[0], now)
    except InvalidSignature:
        return None
    except PARSE_ERRORS as error:
        problems.append(f"{LEAF}: {error}")
        return None
    return None if _renewal_time(certificate, spec.cert_lifetime) <= now else pair


def _new_leaf(current: KeyPair, authority: x509.Certificate, spec: CertificateSpec, now: datetime) -> KeyPair:
    lifetime = min(spec.cert_lifetime, authority.not_valid_after_utc - now)
    try:
        leaf = issue(current, list(spec.names), now, lifetime)
        verify(leaf, authority, spec.names[0], now)
    except PARSE_ERRORS as error:
        reason = f"no certificate can be made for {spec.names[0]}: {error}"
        raise CertificateError(f"{reason}; check --webhook-service and the namespace") from error
    return leaf


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in extension.value]


def _check_time(certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise ValueError(f"it expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
    # A little in the future: the clock of another API server is ahead.
    if certificate.not_valid_before_utc > now + CLOCK_SKEW:
        raise ValueError(f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC")


def _renewal_time(certificate: x509.Certificate, lifetime: timedelta) -> datetime:
    """When it is to be renewed; one that is valid for longer than `lifetime` is not used any longer than that."""
    begin = certificate.not_valid_before_utc
    end = min(certificate.not_valid_after_utc, begin + lifetime + min(CLOCK_SKEW, lifetime * CLOCK_SKEW_FRACTION))
    return end - (end - begin) * RENEWAL_FRACTION


def _former(
    contents: Iterable[bytes], current: x509.Certificate, spec: CertificateSpec, now: datetime
) -> dict[bytes, datetime]:
    """The distinct unexpired CAs (PEM) of `contents`, newest first, with the time when each is to be retired.

    A CA signed leaves until its successor took over, and the last of them expires `cert_lifetime` later; it is kept
    for twice as long. How long the CA itself is valid does not matter, but after an expired one, older ones are over
    too. There are at most MAX_OLD.
    """
    replaced, found = current.not_valid_before_utc, dict[bytes, datetime]()
    for ca in (ca for content in contents for ca in _authorities(content)):
        pem = ca.public_bytes(Encoding.PEM)
        if ca == current or pem in found:
            continue
        if ca.not_valid_after_utc <= now:
            break
        found[pem] = replaced + 2 * spec.cert_lifetime
        replaced = min(replaced, ca.not_valid_before_utc)
    return dict(list(found.items())[:MAX_OLD])


def _authorities(content: bytes) -> list[x509.Certificate]:
    try:
        return [ca for ca in x509.load_pem_x509_certificates(content) if _is_authority(ca)]
    except PARSE_ERRORS:
        return []


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
