"""One token request, from the form to the token.

The protocol: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow. That parameters are
checked before tenant, identity, scope and assertion, in this order, is an inference from published responses.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from azure_workload_identity.types import JsonObject
from testbed.entra import assertion
from testbed.entra.directory import Directory, Identity
from testbed.entra.errors import AadstsError
from testbed.entra.faults import Faults
from testbed.entra.keys import SigningKey

FORM: Final = "application/x-www-form-urlencoded"
JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEFAULT_SCOPE: Final = "/.default"
SCOPE_FORM: Final = (
    "The scope format is invalid. Scope must be in a valid URI form <https://example/scope> or a valid Guid "
    "<guid/scope>."
)
# MSAL for Go sends these with every scope (AppendDefaultScopes), and gets tokens: Entra ignores them here.
OPENID_SCOPES: Final = frozenset({"openid", "profile", "offline_access"})
# Authorities for users of any tenant: https://learn.microsoft.com/entra/msal/msal-client-application-configuration
USER_TENANTS: Final = frozenset({"common", "organizations", "consumers"})
TENANT: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[\w-]+(\.[\w-]+)+")
# A token for these is itself an assertion, of version 2.0, for an application that trusts the identity:
# https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
EXCHANGE_AUDIENCES: Final = frozenset(
    {"api://AzureADTokenExchange", "api://AzureADTokenExchangeUSGov", "api://AzureADTokenExchangeChina"}
)
GUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def read_form(method: str, content_type: str, body: bytes) -> Mapping[str, str]:
    """Read the parameters of a token request; a body of another type than a form has none (observed).

    Raises:
        AadstsError: 900561 for another method than POST, 9002313 for a broken form, 9000411 for a parameter twice.
    """
    if method != "POST":
        raise AadstsError(900561, method=method)
    if content_type.partition(";")[0].strip().lower() != FORM:
        return {}
    try:
        pairs = parse_qsl(body.decode("ascii"), strict_parsing=bool(body), errors="strict")
    except ValueError as error:
        raise AadstsError(9002313) from error
    form = dict(pairs)
    if len(form) != len(pairs):
        twice = next(name for name in form if sum(name == other for other, _ in pairs) > 1)
        raise AadstsError(9000411, parameter=twice)
    return form


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs access tokens that live `lifetime` seconds; `issuer` is the tenant's, of version 2.0."""

    key: SigningKey
    lifetime: int
    issuer: str


def exchange(tenant: str, form: Mapping[str, str], directory: Directory, faults: Faults, signer: Signer) -> JsonObject:
    """Exchange the assertion in a form for an access token of the tenant.

    Raises:
        AadstsError: Entra would not give one.
    """
    grant_type, client_id, scope = (_required(form, name) for name in ("grant_type", "client_id", "scope"))
    if grant_type != "client_credentials":
        raise AadstsError(70003, grant_type=grant_type)
    if tenant.lower() in USER_TENANTS:
        raise AadstsError(50059)
    if not TENANT.fullmatch(tenant):
        raise AadstsError(900023, tenant=tenant)
    identity = directory.identity(tenant, client_id)
    resource = _resource(scope, tenant)
    _authenticate(form, identity, directory, faults)
    claims = _claims(tenant, identity, resource, signer.lifetime)
    if resource in EXCHANGE_AUDIENCES:
        claims |= {"iss": signer.issuer, "ver": "2.0", "azp": identity.client_id}
    return {
        "token_type": "Bearer",
        "expires_in": signer.lifetime,
        "ext_expires_in": signer.lifetime,
        "access_token": signer.key.sign(claims, x5t=signer.key.kid),
    }


def _required(form: Mapping[str, str], name: str) -> str:
    value = form.get(name)
    if not value:
        raise AadstsError(900144, parameter=name)
    return value


def _resource(scope: str, tenant: str) -> str:
    scopes = [value for value in scope.split(" ") if value not in OPENID_SCOPES] or [scope]
    if not all(value.endswith(DEFAULT_SCOPE) for value in scopes):
        raise AadstsError(1002012, scope=scope)
    if len(scopes) > 1:
        raise AadstsError(70011, scope=scope, reason="static scope limit exceeded.")
    resource = scopes[0].removesuffix(DEFAULT_SCOPE)
    address = urlsplit(resource)
    # A URI such as https://vault.azure.net and api://orders (documented), or spn:GUID, which is one too (inference).
    if not GUID.fullmatch(resource) and not (address.scheme and (address.netloc or GUID.fullmatch(address.path))):
        raise AadstsError(70011, scope=scope, reason=SCOPE_FORM)
    if (address.hostname or "").endswith(".invalid"):  # names that never exist (RFC 2606)
        raise AadstsError(500011, resource=resource, tenant=tenant)
    return resource


def _authenticate(form: Mapping[str, str], identity: Identity, directory: Directory, faults: Faults) -> None:
    if form.get("client_secret"):
        raise AadstsError(7000215, client_id=identity.client_id)
    presented = form.get("client_assertion")
    if not presented:
        raise AadstsError(7000216)
    if _required(form, "client_assertion_type") != JWT_BEARER:
        raise AadstsError(9002313)
    claimed = assertion.Claimed.read(presented)
    credential = assertion.matching_credential(identity, claimed)
    faults.check_propagation(identity.client_id, credential, claimed)
    assertion.check_signature(presented, claimed, directory)
    assertion.check_time(claimed)
    directory.check_own_token(identity, claimed.issuer, claimed.subject)


def _claims(tenant: str, identity: Identity, resource: str, lifetime: int) -> JsonObject:
    """The claims of an access token of version 1.0, which most resources of Azure require."""
    now = int(time.time())
    return {
        "aud": resource,
        "iss": f"https://sts.windows.net/{tenant}/",
        "iat": now,
        "nbf": now,
        "exp": now + lifetime,
        "appid": identity.client_id,
        "appidacr": "2",
        "idp": f"https://sts.windows.net/{tenant}/",
        "idtyp": "app",
        "oid": identity.object_id,
        "sub": identity.object_id,
        "tid": tenant,
        "uti": uuid4().hex[:22],
        "ver": "1.0",
    }
