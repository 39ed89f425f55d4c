"""Federated identity credentials: whose tokens an application or a managed identity trusts, and what they are called.

Names and hashes are those of Azure/azure-workload-identity v1.6.0, so that what it created is found again.
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Final, Protocol

from azure_workload_identity import names

# https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
MAX_CREDENTIALS: Final = 20
# https://learn.microsoft.com/graph/api/resources/application: displayName
MAX_APPLICATION_NAME: Final = 256
_READABLE: Final = 80


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to trust: tokens of a ServiceAccount by an issuer for an audience. Entra compares all three exactly."""

    namespace: str
    service_account: str
    issuer: str
    audience: str = names.DEFAULT_AUDIENCE

    @property
    def subject(self) -> str:
        """The `sub` of the ServiceAccount's tokens."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"

    @property
    def application_name(self) -> str:
        """The name that an application gets when none is given, as in v1.6.0."""
        return f"{self.namespace}-{self.service_account}-{digest(self.issuer)}"

    @property
    def name(self) -> str:
        """The name of the credential, as in v1.6.0: (a-b, c) and (a, b-c) have the same one."""
        return digest(f"{self.namespace}-{self.service_account}-{self.issuer}")

    @property
    def distinct_name(self) -> str:
        """A name that no other trust has, of the letters that managed identities take: [a-zA-Z0-9_-], 3 to 120."""
        readable = re.sub(r"[^a-zA-Z0-9-]", "-", f"{self.namespace}-{self.service_account}")[:_READABLE]
        unique = hashlib.sha256(f"{self.issuer}\n{self.subject}".encode()).hexdigest()[:16]
        return f"{readable}-{unique}"

    @property
    def description(self) -> str:
        """What the portal shows of the credential, as in v1.6.0."""
        return f"Federated Service Account for {self.namespace}/{self.service_account}"


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """One that is there; `id` is what its API deletes it by."""

    id: str
    name: str
    issuer: str
    subject: str
    audiences: tuple[str, ...]

    def covers(self, trust: Trust) -> bool:
        """Whether it is the one for these tokens, whatever its audience."""
        return (self.issuer, self.subject) == (trust.issuer, trust.subject)

    def nearly_covers(self, trust: Trust) -> bool:
        """Whether it was probably intended for these tokens: only a trailing slash or letter case differs."""
        return not self.covers(trust) and _folded(self.issuer, self.subject) == _folded(trust.issuer, trust.subject)


class Holder(Protocol):
    """What has federated credentials: an application or a managed identity."""

    @property
    def label(self) -> str:
        """What to call it in a sentence."""
        ...

    def names(self, trust: Trust) -> tuple[str, ...]:
        """What the credential for a trust may be called, the preferred name first."""
        ...

    def credentials(self) -> list[FederatedCredential]:
        """All that it has."""
        ...

    def add(self, name: str, trust: Trust) -> None:
        """Add one."""
        ...

    def remove(self, credential: FederatedCredential) -> None:
        """Remove one; it is not an error when it is gone already."""
        ...


def digest(text: str) -> str:
    """SHA-256 in padded base64 of the URL alphabet."""
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _folded(issuer: str, subject: str) -> tuple[str, str]:
    return issuer.rstrip("/").lower(), subject.lower()
