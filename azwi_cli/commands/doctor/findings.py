"""What `azwi doctor` can find: the stable codes, how bad each is, and one finding as a value."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from azwi_cli.console import manual
from azwi_cli.explanations.findings import PAGE

MAX_SHOWN: Final = 300


class Severity(StrEnum):
    """How bad it is: an error keeps pods from tokens, a warning may."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """The codes of findings; once released they do not change."""

    CLUSTER_TOO_OLD = "cluster-too-old"
    RIGHT_MISSING = "right-missing"
    WEBHOOK_PRESENT = "webhook-present"
    ISSUER_NOT_PUBLISHED = "issuer-not-published"

    NOT_INSTALLED = "not-installed"
    SEVERAL_WEBHOOKS = "several-webhooks"
    POLICIES_NOT_SERVED = "policies-not-served"
    POLICY_NOT_BOUND = "policy-not-bound"
    POLICY_MISSING = "policy-missing"
    SEVERAL_POLICIES = "several-policies"
    ENGINE_LEFTOVER = "engine-leftover"
    GUARD_OFF = "guard-off"
    SERVICE_MISSING = "service-missing"
    WEBHOOK_SCALED_TO_ZERO = "webhook-scaled-to-zero"
    WEBHOOK_NOT_READY = "webhook-not-ready"
    WEBHOOK_CALL_FAILED = "webhook-call-failed"
    WEBHOOK_NOT_CALLED = "webhook-not-called"
    NAMESPACE_NOT_WATCHED = "namespace-not-watched"
    CABUNDLE_EMPTY = "cabundle-empty"
    CABUNDLE_MISMATCH = "cabundle-mismatch"
    CABUNDLE_CONTESTED = "cabundle-contested"
    CERTIFICATE_NOT_MADE = "certificate-not-made"
    CERTIFICATE_UNUSABLE = "certificate-unusable"
    CERTIFICATE_EXPIRING = "certificate-expiring"

    MAPPING_MISSING = "mapping-missing"
    MAPPING_UNREADABLE = "mapping-unreadable"
    MAPPING_ENTRY_INVALID = "mapping-entry-invalid"

    LABEL_MISSING = "label-missing"
    LABEL_MISPLACED = "label-misplaced"
    LABEL_NOT_TRUE = "label-not-true"
    NEAR_MISS = "near-miss"
    WRONG_OBJECT = "wrong-object"
    UNKNOWN_KEY = "unknown-key"
    POD_REFUSED = "pod-refused"
    ACCOUNT_MISSING = "account-missing"
    NO_CLIENT_ID = "no-client-id"
    CLIENT_ID_INVALID = "client-id-invalid"
    PROXY_FORBIDDEN = "proxy-forbidden"
    PROXY_OUT_OF_BOUNDS = "proxy-out-of-bounds"

    BINDING_NOT_SET_UP = "binding-not-set-up"
    BINDING_FORBIDDEN = "binding-forbidden"
    BINDING_MISPLACED = "binding-misplaced"
    BINDING_DEFAULT_CREDENTIAL = "binding-default-credential"
    BINDING_UNUSED = "binding-unused"
    WRONG_AUDIENCE = "wrong-audience"
    SECOND_TOKEN_MISSING = "second-token-missing"  # noqa: S105  a code

    IMAGE_PULL_FORBIDDEN = "image-pull-forbidden"
    IMAGE_PULL_INCOMPLETE = "image-pull-incomplete"
    IMAGE_PULL_UNSUPPORTED = "image-pull-unsupported"

    POD_NOT_INJECTED = "pod-not-injected"
    POD_OUTDATED = "pod-outdated"
    TOKEN_NOT_ROTATED = "token-not-rotated"  # noqa: S105  a code
    CLOCK_SKEW = "clock-skew"
    EGRESS_BLOCKED = "egress-blocked"

    IDENTITY_MISSING = "identity-missing"
    CREDENTIAL_MISSING = "credential-missing"
    ISSUER_DIFFERS = "issuer-differs"
    SUBJECT_DIFFERS = "subject-differs"
    AUDIENCE_DIFFERS = "audience-differs"
    CREDENTIALS_FULL = "credentials-full"


# All others are errors.
WARNINGS: Final = frozenset(
    {
        Code.WEBHOOK_PRESENT,
        Code.SEVERAL_WEBHOOKS,
        Code.SEVERAL_POLICIES,
        Code.ENGINE_LEFTOVER,
        Code.GUARD_OFF,
        Code.CABUNDLE_CONTESTED,
        Code.CERTIFICATE_EXPIRING,
        Code.UNKNOWN_KEY,
        Code.BINDING_UNUSED,
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    `subject` names the object (`Deployment shop/web`), `what` is a sentence, `evidence` what was observed, and `fix`
    a shell command that fixes it.
    """

    code: Code
    subject: str
    what: str
    evidence: tuple[str, ...]
    fix: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return Severity.WARNING if self.code in WARNINGS else Severity.ERROR

    def document(self) -> Mapping[str, Any]:
        """As machines get it."""
        return {
            "code": str(self.code),
            "severity": str(self.severity),
            "subject": self.subject,
            "what": self.what,
            "evidence": list(self.evidence),
            "fix": self.fix,
            "link": link(self.code),
        }


def link(code: Code) -> str:
    """Where the manual explains a code."""
    return manual.link(PAGE, code)


def shown(value: object) -> str:
    """A part of an object as evidence: JSON, bounded."""
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


class Area(StrEnum):
    """What a check reads; a check of which an area could not be read has not been made, or not wholly."""

    WEBHOOKS = "webhooks"
    ENGINE = "engine"
    SERVER = "server"
    SECRET = "secret"  # noqa: S105  an area
    CALL = "call"
    NAMESPACES = "namespaces"
    ACCOUNTS = "accounts"
    MAPPING = "mapping"
    WORKLOADS = "workloads"
    BINDINGS = "bindings"
    GRANTS = "grants"
    IMAGES = "images"
    POLICIES = "policies"
    LIMITS = "limits"
    CLOCK = "clock"
    ISSUER = "issuer"
    AZURE = "azure"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What could not be read, why, and the permission or login that is needed for it."""

    what: str
    why: str
    area: Area = Area.AZURE
    needs: str = ""

    def document(self) -> Mapping[str, Any]:
        """As machines get it."""
        return {"what": self.what, "why": self.why, "needs": self.needs}
