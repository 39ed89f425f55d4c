"""RSA keys that sign tokens: the emulator's own, and those of issuers that need no cluster."""

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject

KEY_BITS: Final = 2048
ALGORITHM: Final = "RS256"


@dataclass(frozen=True)
class SigningKey:
    """A private key; `kid` is what kube-apiserver would call it: the hash of the public key."""

    private: rsa.RSAPrivateKey = field(repr=False)
    kid: str

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new key."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = hashlib.sha256(public).digest()
        return cls(private, base64.urlsafe_b64encode(digest).rstrip(b"=").decode())

    @property
    def jwks(self) -> JsonObject:
        """The public half as a JSON Web Key Set."""
        public = json.loads(RSAAlgorithm.to_jwk(self.private.public_key()))
        return {
            "keys": [
                {"use": "sig", "alg": ALGORITHM, "kid": self.kid, **{key: public[key] for key in ["kty", "n", "e"]}}
            ]
        }

    def sign(self, claims: JsonObject, **header: Any) -> str:  # noqa: ANN401  fields of a JOSE header
        """Sign claims as a JWT."""
        return jwt.encode(claims, self.private, ALGORITHM, headers={"kid": self.kid, **header})


class Issuer:
    """A cluster as Entra sees it: an issuer URL, its keys, and tokens of its service accounts."""

    def __init__(self, url: str = "https://issuer.azwi.test/") -> None:
        self.url = url
        self.key = SigningKey.generate()

    @property
    def jwks(self) -> JsonObject:
        """The document that the issuer publishes at /openid/v1/jwks."""
        return self.key.jwks

    def token(
        self,
        subject: str,
        audience: str = names.DEFAULT_AUDIENCE,
        lifetime: float = 3600,
        **claims: Any,  # noqa: ANN401  any claim
    ) -> str:
        """Sign a token of a service account, as the TokenRequest API does; `claims` adds claims or replaces them.

        Entra allows five minutes of skew: an expired token has a `lifetime` of less than -300 seconds.
        """
        now = int(time.time())
        standard = {
            "aud": [audience],
            "exp": int(now + lifetime),
            "iat": now,
            "iss": self.url,
            "nbf": min(now, int(now + lifetime)),
            "sub": subject,
        }
        return self.key.sign({**standard, **claims}, typ=None)
