"""The failures of the token endpoint: HTTP status, OAuth error, AADSTS code and text, as Microsoft Entra sends them.

Every kind names its source. Where that is not Microsoft's documentation it is a response that users of the real
endpoint have published, with its text in full. Inferences of the emulator are marked where they are made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from azure_workload_identity.types import JsonObject

FEDERATION_HELP: Final = (
    "Check your federated identity credential Subject, Audience and Issuer against the presented assertion. "
    "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
)


# Where a code, its status and its text are from.
DOCUMENTED: Final = "https://learn.microsoft.com/entra/identity-platform/reference-error-codes"
OBSERVED: Final = "responses of the real endpoint, as its users have published them"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of failure; `text` has placeholders for its details, `source` is one of those above."""

    status: int
    error: str
    text: str
    source: str


KINDS: Final[Mapping[int, Kind]] = {
    # The request.
    900144: Kind(
        400, "invalid_request", "The request body must contain the following parameter: '{parameter}'.", DOCUMENTED
    ),
    9000411: Kind(
        400,
        "invalid_request",
        "The request is not properly formatted. The parameter '{parameter}' is duplicated.",
        OBSERVED,
    ),
    9002313: Kind(400, "invalid_request", "Invalid request. Request is malformed or invalid.", DOCUMENTED),
    900561: Kind(
        400, "invalid_request", "The endpoint only accepts POST requests. Received a {method} request.", DOCUMENTED
    ),
    70003: Kind(
        400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant_type}'.", DOCUMENTED
    ),
    70011: Kind(
        400,
        "invalid_scope",
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter "
        "'scope' is not valid. The scope {scope} is not valid. {reason}",
        OBSERVED,
    ),
    1002012: Kind(
        400,
        "invalid_scope",
        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with "
        "/.default suffixed to the resource identifier (application ID URI).",
        OBSERVED,
    ),
    # Tenant, application, resource.
    900023: Kind(
        400,
        "invalid_request",
        "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain.",
        OBSERVED,
    ),
    50059: Kind(
        400,
        "invalid_request",
        "No tenant-identifying information found in either the request or implied by any provided credentials.",
        DOCUMENTED,
    ),
    90002: Kind(
        400,
        "invalid_request",
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the "
        "correct cloud. Check with your subscription administrator, this may happen if there are no active "
        "subscriptions for the tenant.",
        DOCUMENTED,
    ),
    700016: Kind(
        400,
        "unauthorized_client",
        "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the "
        "application has not been installed by the administrator of the tenant or consented to by any user in the "
        "tenant. You may have sent your authentication request to the wrong tenant.",
        DOCUMENTED,
    ),
    500011: Kind(
        400,
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the "
        "application has not been installed by the administrator of the tenant or consented to by any user in the "
        "tenant. You might have sent your authentication request to the wrong tenant.",
        DOCUMENTED,
    ),
    # How the client proves who it is.
    7000215: Kind(
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not "
        "the client secret ID, for a secret added to app '{client_id}'.",
        DOCUMENTED,
    ),
    7000216: Kind(
        401,
        "invalid_client",
        "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
        OBSERVED,
    ),
    50027: Kind(400, "invalid_request", "JWT token is invalid or malformed.", DOCUMENTED),
    5002727: Kind(
        400,
        "invalid_request",
        "Invalid JWT header type specified, must be 'JWT' or 'http://openid.net/specs/jwt/1.0'.",
        OBSERVED,
    ),
    5002738: Kind(
        400,
        "invalid_request",
        "Invalid JWT token. '{algorithm}' is not a supported signature algorithm. Supported signing algorithms are: "
        "'RS256, RS384, RS512'.",
        OBSERVED,
    ),
    # The assertion against the federated credentials.
    70025: Kind(
        401, "invalid_client", "The client '{client_id}' has no configured federated identity credentials.", OBSERVED
    ),
    700211: Kind(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion issuer '{issuer}'. " + FEDERATION_HELP,
        OBSERVED,
    ),
    700213: Kind(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion subject '{subject}'. " + FEDERATION_HELP,
        OBSERVED,
    ),
    7002138: Kind(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion subject '{subject}'. The subject "
        "matches with case-insensitive comparison, but not with case-sensitive comparison. " + FEDERATION_HELP,
        OBSERVED,
    ),
    700212: Kind(
        401,
        "invalid_client",
        "No matching federated identity record found for presented assertion audience '{audience}'. " + FEDERATION_HELP,
        OBSERVED,
    ),
    70021: Kind(
        400,
        "invalid_request",
        "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. Assertion "
        "Subject: '{subject}'. Assertion Audience: '{audience}'. "
        "https://docs.microsoft.com/en-us/azure/active-directory/develop/workload-identity-federation",
        OBSERVED,
    ),
    501661: Kind(400, "invalid_request", "Request to External OIDC endpoint failed.", OBSERVED),
    7000272: Kind(
        401,
        "invalid_client",
        "The certificate with identifier {key_id} used to sign the federated credential could not be found in the "
        "metadata of identity provider {issuer}. Please validate that your Identity Provider's metadata exposes the "
        "key used to sign the incoming token.",
        OBSERVED,
    ),
    700027: Kind(
        401,
        "invalid_client",
        "Client assertion contains an invalid signature. [Reason - The provided signature value did not match the "
        "expected signature value.]",
        OBSERVED,
    ),
    # A token of Entra's own as the assertion.
    700226: Kind(
        401,
        "invalid_client",
        "Only MSI tokens may be used as Federated Identity Credentials for AAD issuer.",
        OBSERVED,
    ),
    700236: Kind(
        401,
        "invalid_client",
        "Entra ID tokens issued by issuer '{issuer}' may not be used for federated identity credential flows for "
        "applications or managed identities registered in this tenant.",
        OBSERVED,
    ),
    700024: Kind(
        401,
        "invalid_client",
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {valid_from}, "
        "expiry time of assertion {expires}. Review the documentation at "
        "https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
        OBSERVED,
    ),
    # Entra itself.
    50000: Kind(
        500, "server_error", "There was an error issuing a token or an issue with our sign-in service.", DOCUMENTED
    ),
    90033: Kind(503, "temporarily_unavailable", "A transient error has occurred. Please try again.", DOCUMENTED),
}


class AadstsError(Exception):
    """The token endpoint refuses a request; `details` fill the placeholders in the text of its kind."""

    def __init__(self, code: int, **details: str) -> None:
        self.code = code
        self.kind = KINDS[code]
        self.text = f"AADSTS{code}: {self.kind.text.format(**details)}"
        super().__init__(self.text)


def new_id() -> str:
    """Return an id for a request or a correlation."""
    return str(uuid4())


def body(error: AadstsError, trace_id: str = "", correlation_id: str = "") -> JsonObject:
    """The JSON of an error; missing ids are generated."""
    trace_id, correlation_id = trace_id or new_id(), correlation_id or new_id()
    timestamp = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"
    ids = f"Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}"
    return {
        "error": error.kind.error,
        "error_description": f"{error.text} {ids}",
        "error_codes": [error.code],
        "timestamp": timestamp,
        "trace_id": trace_id,
        "correlation_id": correlation_id,
        "error_uri": f"https://login.microsoftonline.com/error?code={error.code}",
    }
