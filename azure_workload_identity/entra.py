"""Microsoft Entra's vocabulary: the token request, the meaning of its errors, a token's claims. Pure: no I/O, no clock.

The request is the third case of
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow. The error codes are those of
https://learn.microsoft.com/entra/identity-platform/reference-error-codes and of the documentation on workload identity
federation. They are not guaranteed to stay, so for an unknown code the HTTP status decides.
"""

import binascii
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from azure_workload_identity import names

TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500
REQUEST_TIMEOUT: Final = 408
MAX_DESCRIPTION: Final = 600
MAX_CLAIM: Final = 300
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# What a token must be for to prove an identity, in the clouds where that is not the usual audience.
_EXCHANGE_AUDIENCES: Final = {
    "https://login.microsoftonline.us": "api://AzureADTokenExchangeUSGov",
    "https://login.chinacloudapi.cn": "api://AzureADTokenExchangeChina",
}
# The claims that a federated credential is compared with.
SUBJECT_CLAIMS: Final = ("iss", "sub", "aud")
_DATES: Final = frozenset({"iat", "nbf", "exp"})  # NumericDate in RFC 7519; every other claim here is text
# Three dot-separated parts of base64url; every JWT starts this way.
_TOKEN: Final = re.compile(r"eyJ[\w-]+(\.[\w-]*){0,2}")
_CODE: Final = re.compile(r"AADSTS(\d{5,8})")


class Kind(StrEnum):
    """What a client can do about an error."""

    PERMANENT = "permanent"  # give up: it stays until somebody changes the configuration
    PROPAGATING = "propagating"  # a recent change looks the same until it has propagated: retry a few times
    THROTTLED = "throttled"  # retry later
    OUTAGE = "outage"  # a failure of Entra or of the network: retry soon


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error means, and a sentence on what to do about it."""

    kind: Kind
    remedy: str


_DOCUMENTS: Final = "Entra cannot read the issuer's documents: both must be public, at the issuer's address, over https"
_MALFORMED: Final = "the token is malformed: AZURE_FEDERATED_TOKEN_FILE must name a projected token"
_MATCH: Final = (
    "issuer, subject and audience of the federated credential must equal the token's to the letter, a trailing slash "
    "included; a new credential can take some minutes to be known everywhere"
)
MEANINGS: Final[Mapping[int, Meaning]] = {
    70021: Meaning(Kind.PROPAGATING, _MATCH),
    700211: Meaning(Kind.PROPAGATING, f"no federated credential has this token's issuer: {_MATCH}"),
    700212: Meaning(Kind.PROPAGATING, f"no federated credential has this token's audience: {_MATCH}"),
    700213: Meaning(Kind.PROPAGATING, f"no federated credential has this token's subject: {_MATCH}"),
    7002131: Meaning(Kind.PROPAGATING, f"no federated credential's matching expression fits this token: {_MATCH}"),
    7002138: Meaning(
        Kind.PERMANENT,
        "the federated credential's subject differs from the token's in upper and lower case: make them equal",
    ),
    70025: Meaning(
        Kind.PROPAGATING,
        "the identity has no federated credential: add one for this token's issuer and subject; a new one can take "
        "some minutes to be known everywhere",
    ),
    700024: Meaning(
        Kind.PROPAGATING,
        "the pod's token is not valid now: check the clock of the node, and look in the kubelet's log for why the "
        "token is not renewed",
    ),
    700016: Meaning(
        Kind.PERMANENT,
        "the tenant has no identity with this client id: check azure.workload.identity/client-id and "
        "azure.workload.identity/tenant-id on the ServiceAccount, then recreate the pod",
    ),
    700021: Meaning(Kind.PERMANENT, "the token is for another client: check the client id"),
    700027: Meaning(
        Kind.PERMANENT, "the token's signature does not match its issuer's keys: check that the JWKS is current"
    ),
    700030: Meaning(Kind.PERMANENT, "the token is signed with a certificate that is not registered for the identity"),
    50013: Meaning(
        Kind.PERMANENT,
        "the token's signature cannot be verified: the JWKS at its issuer must have the cluster's signing key",
    ),
    50027: Meaning(Kind.PERMANENT, _MALFORMED),
    5002727: Meaning(Kind.PERMANENT, _MALFORMED),
    5002738: Meaning(Kind.PERMANENT, _MALFORMED),
    7000272: Meaning(
        Kind.PROPAGATING,
        "the JWKS at the token's issuer lacks the cluster's signing key: publish it; Entra reads the JWKS again "
        "within some minutes",
    ),
    50166: Meaning(Kind.OUTAGE, _DOCUMENTS),
    501661: Meaning(Kind.OUTAGE, _DOCUMENTS),
    90061: Meaning(Kind.OUTAGE, _DOCUMENTS),
    90002: Meaning(
        Kind.PERMANENT,
        "the tenant does not exist in this cloud: check azure.workload.identity/tenant-id, the webhook's "
        "AZURE_TENANT_ID and AZURE_ENVIRONMENT",
    ),
    900021: Meaning(Kind.PERMANENT, "the tenant id is malformed: check azure.workload.identity/tenant-id"),
    900023: Meaning(Kind.PERMANENT, "the tenant id is malformed: check azure.workload.identity/tenant-id"),
    500011: Meaning(Kind.PERMANENT, "the requested resource does not exist in the tenant: check its spelling"),
    500341: Meaning(Kind.PERMANENT, "the account has been deleted from the tenant"),
    70011: Meaning(Kind.PERMANENT, "the requested resource is not valid: check its spelling"),
    1002012: Meaning(Kind.PERMANENT, "the requested resource is not valid: check its spelling"),
    650057: Meaning(Kind.PERMANENT, "the identity may not ask for this resource: add it to the app's API permissions"),
    650052: Meaning(Kind.PERMANENT, "the tenant has no service principal for this resource: an admin must consent"),
    7000112: Meaning(Kind.PERMANENT, "the identity is disabled: enable it in the tenant"),
    7000229: Meaning(Kind.PERMANENT, "the app has no service principal in the tenant: az ad sp create --id CLIENT_ID"),
    7000215: Meaning(Kind.PERMANENT, "the credential does not belong to the identity"),
    700222: Meaning(Kind.PERMANENT, "tokens that Entra issued are not accepted here: the issuer must be the cluster's"),
    700226: Meaning(Kind.PERMANENT, "of the tokens that Entra issued, only a managed identity's is accepted here"),
    700229: Meaning(Kind.PERMANENT, "of the tokens that Entra issued, only a managed identity's is accepted here"),
    700236: Meaning(
        Kind.PERMANENT,
        "a managed identity's token is accepted only for an app that is registered in the identity's own tenant",
    ),
    530003: Meaning(Kind.PERMANENT, "conditional access blocks the identity: ask the tenant's administrator"),
    53003: Meaning(Kind.PERMANENT, "conditional access blocks the identity: ask the tenant's administrator"),
    50005: Meaning(Kind.PERMANENT, "conditional access blocks the identity: ask the tenant's administrator"),
    50196: Meaning(
        Kind.THROTTLED, "the same request was sent too often: wait, and look for an app that asks in a loop"
    ),
    90055: Meaning(Kind.THROTTLED, "too many requests from this tenant: wait"),
    50000: Meaning(Kind.OUTAGE, "a failure at Entra: try again"),
    90012: Meaning(Kind.OUTAGE, "a failure at Entra: try again"),
    90024: Meaning(Kind.OUTAGE, "a failure at Entra: try again"),
    90033: Meaning(Kind.OUTAGE, "a failure at Entra: try again"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error response of the token endpoint; `code` is 0 without an AADSTS code, the texts are safe to log."""

    error: str
    code: int
    description: str
    meaning: Meaning


def exchange_audience(authority_host: str) -> str:
    """The audience of tokens that prove an identity, in the cloud of an authority host (a URL)."""
    return _EXCHANGE_AUDIENCES.get(authority_host.rstrip("/"), names.DEFAULT_AUDIENCE)


def token_path(tenant_id: str) -> str:
    """The path of a tenant's token endpoint, below the authority host."""
    return f"/{tenant_id}/oauth2/v2.0/token"


def token_form(client_id: str, scope: str, assertion: str) -> dict[str, str]:
    """The form of a token request, which is sent as application/x-www-form-urlencoded."""
    return {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }


def refusal(status: int, document: object) -> Refusal:
    """The error in a response of the token endpoint.

    The status comes first: with 429 and 5xx the body is often not Entra's, and its code may only refine the sentence.

    Args:
        status: the HTTP status, not 200.
        document: the decoded body, which may be anything.
    """
    members = document if isinstance(document, dict) else {}
    description = _clean(members.get("error_description"))
    code = _code(members.get("error_codes"), description)
    return Refusal(_clean(members.get("error"))[:64], code, description, _meaning(status, code))


def claims(token: str, wanted: Sequence[str]) -> dict[str, str | int]:
    """The wanted claims of a token, unverified and bounded; those of another type than they should have are left out.

    A list is joined with spaces. The result is empty for anything but a JWT.
    """
    try:
        payload = token.split(".")[1]
        decoded = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return {}
    members = decoded if isinstance(decoded, dict) else {}
    values = {name: _claim(name, members.get(name)) for name in wanted}
    return {name: value for name, value in values.items() if value}


def _claim(name: str, value: object) -> str | int:
    if name in _DATES:
        return value if isinstance(value, int) else 0
    text = " ".join(part for part in value if isinstance(part, str)) if isinstance(value, list) else value
    return _clean(text)[:MAX_CLAIM]


def kind_by_status(status: int) -> Kind:
    """The kind of an error by its HTTP status alone."""
    return _by_status(status).kind


def _meaning(status: int, code: int) -> Meaning:
    by_status, by_code = _by_status(status), MEANINGS.get(code)
    if by_code is None or (by_status.kind is not Kind.PERMANENT and by_code.kind is not by_status.kind):
        return by_status
    return by_code


def _by_status(status: int) -> Meaning:
    if status == TOO_MANY_REQUESTS:
        return Meaning(Kind.THROTTLED, "too many requests: wait")
    if status >= SERVER_ERROR or status == REQUEST_TIMEOUT:
        return Meaning(Kind.OUTAGE, "a failure at Entra: try again")
    return Meaning(Kind.PERMANENT, "see https://login.microsoftonline.com/error for the code")


def _code(codes: object, description: str) -> int:
    """The AADSTS number; of several the first with a known meaning."""
    listed = [code for code in codes if isinstance(code, int)] if isinstance(codes, list) else []
    found = _CODE.search(description)
    numbers = [*([int(found[1])] if found else []), *listed]
    return next((number for number in numbers if number in MEANINGS), numbers[0] if numbers else 0)


def _clean(text: object) -> str:
    """One bounded, printable line of untrusted text, with anything that looks like a token replaced."""
    if not isinstance(text, str):
        return ""
    line = " ".join(text[: 4 * MAX_DESCRIPTION].split())
    printable = "".join(letter for letter in line if letter.isprintable())
    return _TOKEN.sub("(a token)", printable)[:MAX_DESCRIPTION]
