"""Public keys of a ServiceAccount issuer: from PEM or a JWKS, as JSON Web Keys (RFC 7517, RFC 7518)."""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import click
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from azwi_cli.console.errors import CommandError

MAX_BYTES: Final = 1 << 20
MIN_RSA_BITS: Final = 2048
# Entra's: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
ENTRA_ALGORITHM: Final = "RS256"
_BLOCK: Final = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]{1,64})-----(?P<text>[^-]*(?:-(?!----)[^-]*)*)-----END (?P=label)-----", re.ASCII
)
# What may stand in a PEM file beside the key, as `openssl ecparam -genkey` writes it.
_PASSED_OVER: Final = frozenset({b"EC PARAMETERS", b"DH PARAMETERS", b"CERTIFICATE REQUEST"})
# The curves of https://www.rfc-editor.org/rfc/rfc7518#section-3.1 by OpenSSL's names: JWK's name, algorithm.
_CURVES: Final = {
    "secp256r1": ("P-256", "ES256"),
    "secp384r1": ("P-384", "ES384"),
    "secp521r1": ("P-521", "ES512"),
}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """A public key as a JWKS has it; `jwk` keeps members that are not known here, `bits` is 0 where not known."""

    kid: str
    algorithm: str
    jwk: Mapping[str, Any]
    bits: int = 0

    @classmethod
    def of(cls, public: PublicKey) -> "Key":
        """Make the JSON Web Key; the members have the order that kube-apiserver gives them.

        Raises:
            ValueError: for a curve that JWKs do not know.
        """
        kid = key_id(public)
        head = {"use": "sig", "kty": "RSA" if isinstance(public, rsa.RSAPublicKey) else "EC", "kid": kid}
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            members = {"alg": "RS256", "n": _number(numbers.n), "e": _number(numbers.e)}
            return cls(kid, "RS256", {**head, **members}, public.key_size)
        if public.curve.name not in _CURVES:
            raise ValueError(f"the curve {public.curve.name} is none of P-256, P-384 and P-521")
        curve, algorithm = _CURVES[public.curve.name]
        size, point = (public.curve.key_size + 7) // 8, public.public_numbers()
        coordinates = {"x": _number(point.x, size), "y": _number(point.y, size)}
        return cls(kid, algorithm, {**head, "crv": curve, "alg": algorithm, **coordinates}, public.key_size)

    def doubts(self) -> Iterator[str]:
        """Why Entra may not accept tokens signed with this key."""
        if self.algorithm != ENTRA_ALGORITHM:
            yield f"key {self.kid} is of algorithm {self.algorithm!a}; Entra guarantees only {ENTRA_ALGORITHM}"
        elif 0 < self.bits < MIN_RSA_BITS:
            yield f"key {self.kid} has {self.bits} bits; use one of at least {MIN_RSA_BITS}"


def key_id(public: PublicKey) -> str:
    """The `kid` that kube-apiserver puts into tokens: base64url of SHA-256 of the DER SubjectPublicKeyInfo."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _base64url(sha256(public.public_bytes(serialization.Encoding.DER, form)).digest())


def read_pem(file: Path) -> list[Key]:
    """The public keys of a PEM file: keys, public or private (only their public half is used), and certificates.

    Raises:
        CommandError: when it cannot be read, has no key, or one that no JWKS can hold.
    """
    return parse_pem(read_bytes(file), str(file))


def parse_pem(text: bytes, where: str) -> list[Key]:
    """As `read_pem`, for what has been read; `where` is for messages."""
    blocks = [block for block in _BLOCK.finditer(text) if block["label"] not in _PASSED_OVER]
    if not blocks:
        raise CommandError(
            f"{where} has no key in PEM", 'give a file with a "-----BEGIN PUBLIC KEY-----" block, or a certificate'
        )
    return [_key(block["label"], block["text"], where) for block in blocks]


def read_jwks(file: Path) -> list[Key]:
    """The keys of a JWKS in a file, as `parse_jwks` has them."""
    try:
        document = json.loads(read_bytes(file))
    except ValueError:
        document = None
    return parse_jwks(document, str(file))


def parse_jwks(document: object, where: str) -> list[Key]:
    """The keys of a JWKS, unchanged.

    Raises:
        CommandError: when it is not a JWKS, or contains a private key.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise CommandError(f"{where} is not a JWKS", 'it should be JSON with a list of keys: {"keys": [...]}')
    return [_published(jwk, where) for jwk in keys]


def read_bytes(file: Path) -> bytes:
    """What is in a file, - for stdin.

    Raises:
        CommandError: when it cannot be read or is larger than MAX_BYTES.
    """
    try:
        with click.open_file(str(file), "rb") as opened:
            content: bytes = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise CommandError(f"{file} is larger than {MAX_BYTES >> 10} KiB", "is it the right file?")
    return content


def _key(label: bytes, text: bytes, where: str) -> Key:
    if b"ENCRYPTED" in label or b"ENCRYPTED" in text:
        raise CommandError(
            f"{where} has an encrypted private key",
            "only the public key is needed: openssl pkey -in FILE -pubout",
        )
    try:
        return Key.of(_public(b64decode(text, validate=False)))
    except ValueError as error:
        raise CommandError(
            f"{where}: the {label.decode()} block is not a key that can be published: {error}",
            "keys are RSA or EC (P-256, P-384, P-521)",
        ) from error


def _public(der: bytes) -> PublicKey:
    """The public key in DER. Its kind is read from the content, since PEM labels are often wrong.

    Raises:
        ValueError: when there is none, or none of RSA or EC.
    """
    public: object
    for load in (serialization.load_der_public_key, _of_private_key, _of_certificate):
        try:
            public = load(der)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            return public
        raise ValueError(f"it is {type(public).__name__.removesuffix('PublicKey')}")
    raise ValueError("it is damaged or of another kind")


def _of_private_key(der: bytes) -> object:
    return serialization.load_der_private_key(der, None).public_key()


def _of_certificate(der: bytes) -> object:
    return x509.load_der_x509_certificate(der).public_key()


def _published(jwk: object, where: str) -> Key:
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or not isinstance(jwk.get("kty"), str):
        raise CommandError(f"{where} has an entry that is not a key with a kid", "create it again with azwi jwks")
    if _PRIVATE_MEMBERS & jwk.keys():
        raise CommandError(
            f"{where} has a private key (kid {jwk['kid']!a}) and must not be published",
            "if it was published, replace that key; create the document again from the public keys",
        )
    return Key(jwk["kid"], str(jwk.get("alg", "")), jwk)


def _number(value: int, size: int = 0) -> str:
    return _base64url(value.to_bytes(size or (value.bit_length() + 7) // 8))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
