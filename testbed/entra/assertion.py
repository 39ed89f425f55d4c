"""A client assertion against the federated credentials of an identity: the heart of workload identity federation.

The order of the checks decides which code a user sees: issuer, subject and audience as claimed, then the signature,
then the time. It is an inference: published responses name the first mismatch of these.
"""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from testbed.entra.directory import Directory, FederatedCredential, Identity
from testbed.entra.errors import AadstsError

# Observed: a newline behind the assertion, as of a file that `cat` shows, is AADSTS50027.
COMPACT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
# The documentation on federated credentials names RS256; the text of AADSTS5002738 names all three.
ALGORITHMS: Final = ("RS256", "RS384", "RS512")
TYPES: Final = (None, "JWT", "http://openid.net/specs/jwt/1.0")
# Inference: the default of Microsoft's own libraries (TokenValidationParameters.ClockSkew).
CLOCK_SKEW: Final = 300


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claims of an assertion, before any of them is verified."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    valid_from: float
    expires: float
    key_id: str

    @classmethod
    def read(cls, assertion: str) -> "Claimed":
        """Read an assertion without verifying its signature.

        Raises:
            AadstsError: 50027 if it is no JWT or lacks a claim, 5002727 or 5002738 for a header of the wrong kind.
        """
        if not COMPACT.fullmatch(assertion):  # a line's end in it, for instance
            raise AadstsError(50027)
        try:
            token = jwt.decode_complete(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError as error:
            raise AadstsError(50027) from error
        header, claims = token["header"], token["payload"]
        if header.get("typ") not in TYPES:
            raise AadstsError(5002727)
        if header.get("alg") not in ALGORITHMS:
            raise AadstsError(5002738, algorithm=str(header.get("alg")))
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        texts = [header.get("kid"), claims.get("iss"), claims.get("sub"), *audiences]
        times = [claims.get("nbf", claims.get("iat")), claims.get("exp")]
        if not all(isinstance(text, str) for text in texts) or not all(_is_time(value) for value in times):
            raise AadstsError(50027)
        return cls(claims["iss"], claims["sub"], tuple(audiences), times[0], times[1], header["kid"])


def _is_time(value: Any) -> bool:  # noqa: ANN401  a claim may be anything
    return isinstance(value, int | float) and not isinstance(value, bool)


def matching_credential(identity: Identity, claimed: Claimed) -> FederatedCredential:
    """Find the credential that an assertion claims.

    Raises:
        AadstsError: 70025, 700211, 700213, 7002138 or 700212, by what does not match.
    """
    if not identity.credentials:
        raise AadstsError(70025, client_id=identity.client_id)
    of_issuer = [credential for credential in identity.credentials if credential.issuer == claimed.issuer]
    if not of_issuer:
        raise AadstsError(700211, issuer=claimed.issuer)
    of_subject = [credential for credential in of_issuer if credential.subject == claimed.subject]
    if not of_subject:
        folded = any(other.subject.casefold() == claimed.subject.casefold() for other in of_issuer)
        raise AadstsError(7002138 if folded else 700213, subject=claimed.subject)
    for credential in of_subject:
        if credential.audience in claimed.audiences:
            return credential
    raise AadstsError(700212, audience=" ".join(claimed.audiences))


def check_signature(assertion: str, claimed: Claimed, directory: Directory) -> None:
    """Check the signature against the issuer's keys.

    Raises:
        AadstsError: 501661, 7000272 or 700027.
    """
    key = directory.key(claimed.issuer, claimed.key_id)
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    try:
        jwt.decode(assertion, key, algorithms=list(ALGORITHMS), options=options)
    except jwt.InvalidTokenError as error:
        raise AadstsError(700027) from error


def check_time(claimed: Claimed) -> None:
    """Check that the assertion is valid now, within the allowed clock skew.

    Raises:
        AadstsError: 700024.
    """
    now = time.time()
    if not claimed.valid_from - CLOCK_SKEW <= now <= claimed.expires + CLOCK_SKEW:
        raise AadstsError(
            700024, now=_written(now), valid_from=_written(claimed.valid_from), expires=_written(claimed.expires)
        )


def _written(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
