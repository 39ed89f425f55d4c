"""What Microsoft Entra's errors mean to a workload, and what a token says of itself. Pure: no I/O, no clock.

The codes are those of https://learn.microsoft.com/entra/identity-platform/reference-error-codes and of the
documentation on workload identity federation. They are not promised to stay, so an unknown code falls back on the HTTP
status.
"""

import binascii
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500
REQUEST_TIMEOUT: Final = 408
MAX_DESCRIPTION: Final = 600
MAX_CLAIM: Final = 300
# Three dot-separated parts of base64url that begin as every JWT does.
_TOKEN: Final = re.compile(r"eyJ[\w-]+(\.[\w-]*){0,2}")
_CODE: Final = re.compile(r"AADSTS(\d{5,8})")


class Kind(StrEnum):
    """What can be done about an error."""

    PERMANENT = "permanent"  # nothing changes until somebody changes something
    PROPAGATING = "propagating"  # also what a change made a moment ago looks like: worth a few more tries
    THROTTLED = "throttled"  # later
    OUTAGE = "outage"  # a fault on the way or at Entra: soon


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error means, and the sentence that says what to do about it."""

    kind: Kind
    remedy: str


_DOCUMENTS: Final = "Entra cannot read the issuer's documents: both must be public, at the issuer's address, over https"
_MALFORMED: Final = "the token is malformed: AZURE_FEDERATED_TOKEN_FILE must name a projected token"
_MATCH: Final = (
    "issuer, subject and audience of the federated credential must equal the token's to the letter, a trailing slash "
    "included; a credential made a moment ago takes up to some minutes to be known everywhere"
)
MEANINGS: Final[Mapping[int, Meaning]] = {
    70021: Meaning(Kind.PROPAGATING, _MATCH),
    700211: Meaning(Kind.PROPAGATING, f"no federated credential has this token's issuer: {_MATCH}"),
    700212: Meaning(Kind.PROPAGATING, f"no federated credential has this token's audience: {_MATCH}"),
    700213: Meaning(Kind.PROPAGATING, f"no federated credential has this token's subject: {_MATCH}"),
    7002131: Meaning(Kind.PROPAGATING, f"no federated credential's matching expression fits this token: {_MATCH}"),
    7002138: Meaning(
        Kind.PERMANENT,
        "the federated credential's subject differs from the token's in upper and lower case: make equal",
    ),
    70025: Meaning(
        Kind.PROPAGATING,
        "the identity has no federated credential: add one for this token's issuer and subject; one made a moment ago "
        "takes up to some minutes to be known everywhere",
    ),
    700024: Meaning(
        Kind.PROPAGATING,
        "the pod's token is not valid now: compare the clock of the node with the true time, and look in the kubelet's "
        "log for why the token is not renewed",
    ),
    700016: Meaning(
        Kind.PERMANENT,
        "the tenant has no identity with this client id: check azure.workload.identity/client-id and "
        "azure.workload.identity/tenant-id on the ServiceAccount, then make the pod anew",
    ),
    700021: Meaning(Kind.PERMANENT, "the token is meant for another client: check the client id"),
    700027: Meaning(
        Kind.PERMANENT, "the token's signature is not of its issuer's keys: check that the JWKS is current"
    ),
    700030: Meaning(Kind.PERMANENT, "the token is signed by a certificate that the identity does not know"),
    50013: Meaning(
        Kind.PERMANENT,
        "the token's signature cannot be verified: the JWKS at its issuer must have the key that the cluster signs by",
    ),
    50027: Meaning(Kind.PERMANENT, _MALFORMED),
    5002727: Meaning(Kind.PERMANENT, _MALFORMED),
    5002738: Meaning(Kind.PERMANENT, _MALFORMED),
    7000272: Meaning(
        Kind.PROPAGATING,
        "the JWKS at the token's issuer lacks the key that the cluster signs by: publish it; Entra looks again within "
        "some minutes",
    ),
    50166: Meaning(Kind.OUTAGE, _DOCUMENTS),
    501661: Meaning(Kind.OUTAGE, _DOCUMENTS),
    90061: Meaning(Kind.OUTAGE, _DOCUMENTS),
    90002: Meaning(
        Kind.PERMANENT,
        "there is no such tenant in this cloud: check azure.workload.identity/tenant-id, the webhook's AZURE_TENANT_ID "
        "and AZURE_ENVIRONMENT",
    ),
    900021: Meaning(Kind.PERMANENT, "the tenant id is malformed: check azure.workload.identity/tenant-id"),
    900023: Meaning(Kind.PERMANENT, "the tenant id is malformed: check azure.workload.identity/tenant-id"),
    500011: Meaning(Kind.PERMANENT, "the tenant does not know the resource that the app asks for: check its spelling"),
    500341: Meaning(Kind.PERMANENT, "the account has been deleted from the tenant"),
    70011: Meaning(Kind.PERMANENT, "the resource that the app asks for is not a valid one: check its spelling"),
    1002012: Meaning(Kind.PERMANENT, "the resource that the app asks for is not a valid one: check its spelling"),
    650057: Meaning(Kind.PERMANENT, "the identity may not ask for this resource: add it to the app's API permissions"),
    650052: Meaning(Kind.PERMANENT, "the tenant has no service principal for this resource: an admin has to consent"),
    7000112: Meaning(Kind.PERMANENT, "the identity is disabled: enable it in the tenant"),
    7000229: Meaning(Kind.PERMANENT, "the app has no service principal in the tenant: az ad sp create --id CLIENT_ID"),
    7000215: Meaning(Kind.PERMANENT, "the credential is not the identity's"),
    700222: Meaning(Kind.PERMANENT, "tokens of Entra itself are not taken here: the issuer must be the cluster's"),
    700236: Meaning(Kind.PERMANENT, "Entra does not take this issuer's tokens for this identity"),
    530003: Meaning(Kind.PERMANENT, "conditional access refuses the identity: ask the tenant's admin"),
    53003: Meaning(Kind.PERMANENT, "conditional access refuses the identity: ask the tenant's admin"),
    50005: Meaning(Kind.PERMANENT, "conditional access refuses the identity: ask the tenant's admin"),
    50196: Meaning(Kind.THROTTLED, "the same request came too often: wait, and find what asks for tokens in a loop"),
    90055: Meaning(Kind.THROTTLED, "too many requests of this tenant: wait"),
    50000: Meaning(Kind.OUTAGE, "a fault at Entra: try again"),
    90012: Meaning(Kind.OUTAGE, "a fault at Entra: try again"),
    90024: Meaning(Kind.OUTAGE, "a fault at Entra: try again"),
    90033: Meaning(Kind.OUTAGE, "a fault at Entra: try again"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer of the token endpoint: `code` 0 when it carries no AADSTS code; the texts are fit for a log."""

    error: str
    code: int
    description: str
    meaning: Meaning


def refusal(status: int, document: object) -> Refusal:
    """The error answer in a JSON document that came with an HTTP status.

    Args:
        status: the HTTP status, not 200.
        document: what the body decodes to; anything at all.
    """
    members = document if isinstance(document, dict) else {}
    description = _clean(members.get("error_description"))
    code = _code(members.get("error_codes"), description)
    return Refusal(_clean(members.get("error"))[:64], code, description, MEANINGS.get(code) or _by_status(status))


def claims(assertion: str) -> Mapping[str, str]:
    """What a token says of itself, unverified: those of iss, sub and aud that it has. Empty for what is no JWT."""
    try:
        payload = assertion.split(".")[1]
        decoded = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return {}
    if not isinstance(decoded, dict):
        return {}
    audience = decoded.get("aud")
    if isinstance(audience, list):
        audience = " ".join(part for part in audience if isinstance(part, str))
    found = {"iss": decoded.get("iss"), "sub": decoded.get("sub"), "aud": audience}
    return {name: _clean(value)[:MAX_CLAIM] for name, value in found.items() if isinstance(value, str) and value}


def _by_status(status: int) -> Meaning:
    if status == TOO_MANY_REQUESTS:
        return Meaning(Kind.THROTTLED, "too many requests: wait")
    if status >= SERVER_ERROR or status == REQUEST_TIMEOUT:
        return Meaning(Kind.OUTAGE, "a fault at Entra: try again")
    return Meaning(Kind.PERMANENT, "see https://login.microsoftonline.com/error for the code")


def _code(codes: object, description: str) -> int:
    """The AADSTS number: of several the first that means something to us."""
    listed = [code for code in codes if isinstance(code, int)] if isinstance(codes, list) else []
    found = _CODE.search(description)
    numbers = [*([int(found[1])] if found else []), *listed]
    return next((number for number in numbers if number in MEANINGS), numbers[0] if numbers else 0)


def _clean(text: object) -> str:
    """One bounded line of text from outside, with nothing in it that looks like a token."""
    if not isinstance(text, str):
        return ""
    line = " ".join(text[: 4 * MAX_DESCRIPTION].split())
    printable = "".join(letter for letter in line if letter.isprintable())
    return _TOKEN.sub("(a token)", printable)[:MAX_DESCRIPTION]
