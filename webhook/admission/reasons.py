"""The stable codes of decisions and warnings, and the error that carries a refusal.

Codes appear in responses, logs, metrics and docs; once released they do not change.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_QUOTED: Final = 80


class Reason(StrEnum):
    """Why an admission was decided as it was."""

    INJECTED = "injected"
    ALREADY_INJECTED = "already-injected"

    NOT_A_POD = "not-a-pod"
    NOT_CREATE = "not-create"
    NOT_OPTED_IN = "not-opted-in"
    OPTED_OUT = "opted-out"
    MIRROR_POD = "mirror-pod"
    NO_CONTAINERS = "no-containers"

    MALFORMED_POD = "malformed-pod"
    ANNOTATIONS_TOO_LARGE = "annotations-too-large"
    TOO_MANY_CONTAINERS = "too-many-containers"
    TOO_MANY_MOUNTS = "too-many-mounts"
    TOO_MANY_VARIABLES = "too-many-variables"
    SERVICE_ACCOUNT_NOT_FOUND = "service-account-not-found"
    INVALID_CLIENT_ID = "invalid-client-id"
    INVALID_TENANT_ID = "invalid-tenant-id"
    INVALID_TOKEN_EXPIRATION = "invalid-token-expiration"
    INVALID_SECOND_AUDIENCE = "invalid-second-token-audience"
    INVALID_PROXY_PORT = "invalid-proxy-port"
    INVALID_PROXY_MODE = "invalid-proxy-mode"
    INVALID_PROXY_RESOURCES = "invalid-proxy-resources"
    INVALID_PROXY_APPLICATION = "invalid-proxy-application"
    PROXY_ON_HOST_NETWORK = "proxy-on-host-network"
    PROXY_ON_WINDOWS = "proxy-on-windows"
    VOLUME_NAME_TAKEN = "volume-name-taken"
    TOKEN_PATHS_TAKEN = "token-paths-taken"


class WarningCode(StrEnum):
    """The kind of a warning."""

    NO_CLIENT_ID = "no-client-id"
    NEAR_MISS = "near-miss"
    WRONG_OBJECT = "wrong-object"
    UNKNOWN_KEY = "unknown-key"
    LABEL_MISSING = "label-missing"
    MALFORMED_CLIENT_ID = "malformed-client-id"
    MALFORMED_TENANT_ID = "malformed-tenant-id"
    UNKNOWN_CONTAINER = "unknown-container"
    NOT_A_BOOLEAN = "not-a-boolean"
    CUSTOM_ENDPOINT_OFF = "custom-endpoint-off"
    SHADOWED_VARIABLE = "shadowed-variable"
    OTHER_CREDENTIAL = "other-credential"
    TOKEN_PATH_TAKEN = "token-path-taken"
    TOKEN_CREDENTIALS = "token-credentials"
    DOUBLED_VARIABLE = "doubled-variable"
    PROXY_AFTER_INIT = "proxy-after-init"
    PROXY_PORT_TAKEN = "proxy-port-taken"
    PROXY_UID_USED = "proxy-uid-used"


@dataclass(frozen=True, slots=True)
class AdmissionWarning:
    """One warning: `code` for machines, `text` for the person at kubectl."""

    code: WarningCode
    text: str

    def __str__(self) -> str:
        return f"azure-workload-identity: {self.text} ({self.code})"


class Refusal(Exception):
    """The pod, or what its author asks for, cannot be admitted.

    Becomes an AdmissionReview response with `allowed: false`; `status` is the HTTP status code inside it, which
    kubectl shows as "Error from server (BadRequest)" for 400, as with v1.6.0.
    """

    status: Final = 400

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def quoted(value: object) -> str:
    """Quote a value for a message: ASCII, on one line, at most MAX_QUOTED characters and the quotes.

    Maps and lists are only named: they come from outside and may be large or deep.
    """
    if isinstance(value, dict | list):
        return "{...}" if isinstance(value, dict) else "[...]"
    text = str(value)
    return ascii(text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 3] + "...")
