"""Public keys as JSON Web Keys."""

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from azwi_cli.console.errors import CommandError
from azwi_cli.issuer import keys
from azwi_cli.issuer.keys import Key

# An RSA key and its kid, as v1.6.0 and kube-apiserver name it.
MODULUS = (
    "1QJE2YmLbvMLP6FtzcfPzGbSDbHEEtA0mH6kwgrOrlKs83zj2vr6Y5k_ZcGdIbsdm5vDj2IxtSkE-pSDtgFM2iq0sJ7xuE6RYmlrtBm-H2WHvXrP"
    "9RrG1EfO7iWs6Czj4A_Ddxg3kNUiQCtQEJwwH2pfrUkh8STQhST_T86pq5AIFCuQiQSrkfC80eD9bUFypV3CLB2M9Fa1hbvOWbzSF93_I0toUK2-"
    "oPgVW6m2EwMyy8Fh_3KRixrAJO8g-D4d537C1fa1vJJRlMRFtLMA_bo6k1fAtNsVQuQoML5CmRrvNT7ZpXRLaQy64OSFrVLD3Pb7wct7b4g2xQEC"
    "ixQodw"
)
KID = "2A3FPpix2keOV1SGPQiM0_wVemz4XOIgQyJJnpu5sPE"

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PLAIN = NoEncryption()


def private_pem(key: PrivateKeyTypes, form: PrivateFormat, encryption: KeySerializationEncryption = PLAIN) -> bytes:
    """Return a private key in PEM."""
    return key.private_bytes(Encoding.PEM, form, encryption)


def public_pem(key: PrivateKeyTypes, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    """Return a key's public half in PEM."""
    return key.public_key().public_bytes(Encoding.PEM, form)


def number(text: Any) -> int:  # noqa: ANN401  of JSON
    """Read a number of a JWK."""
    return int.from_bytes(urlsafe_b64decode(text + "=="))


def test_vector() -> None:
    """The key of v1.6.0's vector has its kid and its numbers."""
    public = rsa.RSAPublicNumbers(65537, number(MODULUS)).public_key()
    assert Key.of(public).jwk == {"use": "sig", "kty": "RSA", "kid": KID, "alg": "RS256", "n": MODULUS, "e": "AQAB"}


@pytest.mark.parametrize(
    "pem",
    [
        private_pem(RSA, PrivateFormat.TraditionalOpenSSL),
        private_pem(RSA, PrivateFormat.PKCS8),
        public_pem(RSA),
        public_pem(RSA, PublicFormat.PKCS1),
        public_pem(RSA, PublicFormat.PKCS1).replace(b"RSA PUBLIC", b"PUBLIC"),
        private_pem(EC, PrivateFormat.TraditionalOpenSSL),
        private_pem(EC, PrivateFormat.PKCS8),
        public_pem(EC),
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + public_pem(EC),
    ],
    ids=["pkcs1", "pkcs8", "spki", "pkcs1-public", "wrong-label", "sec1", "ec-pkcs8", "ec-spki", "ec-parameters"],
)
def test_every_form(pem: bytes) -> None:
    """A key is the same key in every form that it comes in, and nothing private is in the result."""
    key = keys.parse_pem(pem, "key.pem")
    assert key == [Key.of((EC if b"EC " in pem or key[0].algorithm == "ES256" else RSA).public_key())]
    assert not {"d", "p", "q"} & key[0].jwk.keys()


@pytest.mark.parametrize("kind", trustme.KeyType)
def test_certificate(kind: trustme.KeyType) -> None:
    """A certificate stands for its key."""
    leaf = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("accounts", key_type=kind)
    of_certificate = keys.parse_pem(leaf.cert_chain_pems[0].bytes(), "tls.crt")
    assert of_certificate == keys.parse_pem(leaf.private_key_pem.bytes(), "tls.key")


@pytest.mark.parametrize(
    ("curve", "name", "algorithm", "size"),
    [
        (ec.SECP256R1(), "P-256", "ES256", 43),
        (ec.SECP384R1(), "P-384", "ES384", 64),
        (ec.SECP521R1(), "P-521", "ES512", 88),
    ],
)
def test_curves(curve: ec.EllipticCurve, name: str, algorithm: str, size: int) -> None:
    """Coordinates are as wide as the curve, and the algorithm follows from it."""
    public = ec.derive_private_key(2, curve).public_key()
    jwk = Key.of(public).jwk
    assert (jwk["crv"], jwk["alg"], len(jwk["x"]), len(jwk["y"])) == (name, algorithm, size, size)
    assert (number(jwk["x"]), number(jwk["y"])) == (public.public_numbers().x, public.public_numbers().y)


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"", "has no key in PEM"),
        (b"\x00" * 100, "has no key in PEM"),
        (public_pem(ed25519.Ed25519PrivateKey.generate()), "it is Ed25519"),
        (public_pem(ec.generate_private_key(ec.SECP256K1())), "the curve secp256k1"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "is damaged"),
        (private_pem(RSA, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")), "encrypted private key"),
        (private_pem(RSA, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")), "encrypted private key"),
    ],
    ids=["empty", "zeros", "ed25519", "curve", "damaged", "encrypted", "encrypted-pkcs1"],
)
def test_refused(pem: bytes, message: str) -> None:
    """What not a JWKS can hold is refused with the file's name and the reason."""
    with pytest.raises(CommandError, match=message) as refused:
        keys.parse_pem(pem, "some.pem")
    assert "some.pem" in refused.value.message


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(CommandError, match=r"none\.pem cannot be read: No such file"):
        keys.read_pem(tmp_path / "none.pem")


def test_large_file(tmp_path: Path) -> None:
    """Nothing large is read."""
    (tmp_path / "large").write_bytes(b"x" * (keys.MAX_BYTES + 1))
    with pytest.raises(CommandError, match="larger than"):
        keys.read_bytes(tmp_path / "large")


def test_published_keys_stay_as_they_are(tmp_path: Path) -> None:
    """Members that are not known here survive."""
    jwk = {"kid": "1", "kty": "RSA", "alg": "RS256", "x5t": "something"}
    (tmp_path / "jwks").write_text(json.dumps({"keys": [jwk]}))
    assert keys.read_jwks(tmp_path / "jwks")[0].jwk == jwk


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[]", "not a JWKS"),
        ("{", "not a JWKS"),
        ('{"keys": [1]}', "not a key with a kid"),
        ('{"keys": [{"kid": "1", "kty": "RSA", "d": "secret"}]}', "private key"),
    ],
)
def test_no_jwks(tmp_path: Path, document: str, message: str) -> None:
    """What is not a JWKS is refused, and one with a private key above all; the secret is not shown."""
    (tmp_path / "jwks").write_text(document)
    with pytest.raises(CommandError, match=message) as refused:
        keys.read_jwks(tmp_path / "jwks")
    assert "secret" not in str(refused.value)


def test_doubts() -> None:
    """A key that Entra may not take is doubted; an RSA key of 2048 bits is not."""
    small = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  what is doubted
    assert not list(Key.of(RSA.public_key()).doubts())
    assert "1024 bits" in next(Key.of(small).doubts())
    assert "ES256" in next(Key.of(EC.public_key()).doubts())
