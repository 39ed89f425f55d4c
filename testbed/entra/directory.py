"""Entra's directory: tenants, their identities with federated credentials, and the issuers' keys."""

import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import jwt

from azure_workload_identity import names
from testbed.entra.errors import AadstsError

# https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations, also for `Identity.add`.
MAX_CREDENTIALS: Final = 20
FETCH_SECONDS: Final = 10
KeySet = Mapping[str, jwt.PyJWK]


class RegistrationError(ValueError):
    """Microsoft Graph or Azure Resource Manager would reject this federated credential."""


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """The assertions that an identity trusts: all three values are compared exactly, a trailing slash included."""

    issuer: str
    subject: str
    audience: str = names.DEFAULT_AUDIENCE
    name: str = "kubernetes"


@dataclass(slots=True)
class Identity:
    """An application or a user-assigned managed identity with its federated credentials; `home` is its tenant."""

    client_id: str
    home: str
    managed: bool = True
    credentials: list[FederatedCredential] = field(default_factory=list)

    @property
    def object_id(self) -> str:
        """The id of its service principal: another one than the client id, and always the same."""
        return str(uuid5(NAMESPACE_URL, self.client_id))

    def add(self, credential: FederatedCredential) -> None:
        """Add a credential under the rules of Graph and Resource Manager.

        Raises:
            RegistrationError: There are 20 already, or one with that issuer and subject.
        """
        if len(self.credentials) >= MAX_CREDENTIALS:
            raise RegistrationError(f"an identity has at most {MAX_CREDENTIALS} federated credentials")
        if any((other.issuer, other.subject) == (credential.issuer, credential.subject) for other in self.credentials):
            raise RegistrationError("issuer and subject of a federated credential must be unique in an identity")
        self.credentials.append(credential)


class Directory:
    """Tenants with identities, and issuers with keys. Ids are compared without regard to case, as Entra does."""

    def __init__(self) -> None:
        self._identities: dict[str, dict[str, Identity]] = {}
        self._key_sources: dict[str, Callable[[], KeySet]] = {}
        self._own_issuers: dict[str, str] = {}
        self._lock = threading.Lock()

    def register(
        self, tenant: str, client_id: str, credentials: tuple[FederatedCredential, ...], *, managed: bool
    ) -> None:
        """Create the tenant and the identity if they do not exist, and add credentials.

        Raises:
            RegistrationError: A credential would not be taken.
        """
        with self._lock:
            identities = self._identities.setdefault(tenant.lower(), {})
            identity = identities.setdefault(client_id.lower(), Identity(client_id, tenant.lower(), managed))
            for credential in credentials:
                identity.add(credential)

    def provision(self, tenant: str, client_id: str, home: str) -> None:
        """Add an application of another tenant, with a service principal here; the tenant is created if need be.

        Raises:
            AadstsError: 90002 or 700016, when there is no such application there.
        """
        application = self.identity(home, client_id)
        with self._lock:
            self._identities.setdefault(tenant.lower(), {})[client_id.lower()] = application

    def trust_own(self, tenant: str, issuer: str, jwks: Mapping[str, Any]) -> None:
        """Register the keys of a tenant's own tokens."""
        self.trust(issuer, jwks)
        self._own_issuers[issuer] = tenant.lower()

    def check_own_token(self, identity: Identity, issuer: str, subject: str) -> None:
        """Check that a token of Entra's own, if it is one, may prove this identity.

        Only a managed identity's does, and only to what is registered in its tenant:
        https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity

        Raises:
            AadstsError: 700236 for another tenant's, 700226 for one that is not a managed identity's.
        """
        tenant = self._own_issuers.get(issuer)
        if tenant is None:
            return
        if tenant != identity.home:
            raise AadstsError(700236, issuer=issuer)
        subjects = (own for own in self._identities[tenant].values() if own.object_id == subject)
        if not all(own.managed for own in subjects):
            raise AadstsError(700226)

    def has_tenant(self, tenant: str) -> bool:
        """Whether the tenant exists."""
        return tenant.lower() in self._identities

    def identity(self, tenant: str, client_id: str) -> Identity:
        """Find an identity.

        Raises:
            AadstsError: 90002 without such a tenant, 700016 without such an identity in it.
        """
        identities = self._identities.get(tenant.lower())
        if identities is None:
            raise AadstsError(90002, tenant=tenant)
        identity = identities.get(client_id.lower())
        if identity is None:
            raise AadstsError(700016, client_id=client_id, tenant=tenant)
        return identity

    def trust(self, issuer: str, jwks: Mapping[str, Any]) -> None:
        """Register the keys of an issuer."""
        keys = _key_set(jwks)
        self._key_sources[issuer] = lambda: keys

    def trust_url(self, issuer: str, url: str, ca_file: Path, token: str | None) -> None:
        """Fetch the keys of an issuer for each of its assertions, as Entra does with an issuer's jwks_uri."""
        context = ssl.create_default_context(cafile=str(ca_file))
        request = urllib.request.Request(url)  # noqa: S310  the test's own https address
        if token:
            request.add_header("Authorization", f"Bearer {token}")

        def fetch() -> KeySet:
            try:
                with urllib.request.urlopen(request, timeout=FETCH_SECONDS, context=context) as answer:  # noqa: S310  as above
                    return _key_set(json.load(answer))
            except (OSError, ValueError) as error:
                raise AadstsError(501661) from error

        self._key_sources[issuer] = fetch

    def key(self, issuer: str, key_id: str) -> jwt.PyJWK:
        """Find the key that an issuer signs with.

        Raises:
            AadstsError: 501661 if the issuer cannot be asked, 7000272 if it has no such key.
        """
        source = self._key_sources.get(issuer)
        if source is None:
            raise AadstsError(501661)
        key = source().get(key_id)
        if key is None:
            raise AadstsError(7000272, key_id=key_id, issuer=issuer)
        return key


def _key_set(jwks: Mapping[str, Any]) -> KeySet:
    return {key["kid"]: jwt.PyJWK(key) for key in jwks["keys"]}
