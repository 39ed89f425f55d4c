"""The second of two exchanges: an identity's token proves an application, which other tenants can have too. Pure.

Entra's rules: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
"""

from collections.abc import Mapping
from typing import Final

from azure_workload_identity.entra import Meaning

# What the application's federated credential is compared with, by its claim in the first identity's token.
CREDENTIAL: Final = {"issuer": "iss", "subject": "sub", "audience": "aud"}
_NO_CREDENTIAL: Final = frozenset({70021, 700211, 700212, 700213, 7002138, 70025})
_NOT_IN_TENANT: Final = frozenset({700016, 7000229})
_NOT_MANAGED: Final = frozenset({700222, 700226, 700229})
_OTHER_HOME: Final = 700236


def remedy(code: int, meaning: Meaning, client_id: str, tenant_id: str, claims: Mapping[str, object]) -> str:
    """What to do about an error of the second exchange.

    Args:
        code: the AADSTS code, 0 without one.
        meaning: what it means in any exchange.
        client_id: the application's.
        tenant_id: the tenant of the second exchange.
        claims: of the first identity's token.
    """
    if code in _NO_CREDENTIAL:
        wanted = ", ".join(f"{name} {claims[claim]}" for name, claim in CREDENTIAL.items() if claim in claims)
        return (
            f"the application needs a federated credential of {wanted}; a new one can take some minutes to be known "
            "everywhere"
        )
    if code in _NOT_IN_TENANT:
        return (
            f"tenant {tenant_id} does not have the application: it must be a multitenant app registration, which an "
            f"administrator of that tenant adds by az ad sp create --id {client_id}"
        )
    if code in _NOT_MANAGED:
        return "the first identity must be a user-assigned managed identity: Entra takes no other token of its own"
    if code == _OTHER_HOME:
        return (
            "the application must be registered in the tenant of the first identity, as a multitenant app if the "
            "second exchange is in another: Entra takes no managed identity's token for an app that another tenant has "
            "registered"
        )
    return meaning.remedy
