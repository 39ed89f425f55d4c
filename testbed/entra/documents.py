"""The documents that clients read before a token request: those of the real endpoint, shortened.

`base` is the emulator's URL as the client wrote it.
"""

from azure_workload_identity.types import JsonObject
from testbed.entra.keys import ALGORITHM


def configuration(base: str, tenant: str) -> JsonObject:
    """Write a tenant's OpenID Connect discovery document."""
    authority = f"{base}/{tenant}"
    return {
        "token_endpoint": f"{authority}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": f"{authority}/discovery/v2.0/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": f"{authority}/v2.0",
        "request_uri_parameter_supported": False,
        "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
    }


def instance(base: str) -> JsonObject:
    """The instance metadata: this host is an authority, with these aliases."""
    host = base.partition("://")[2]
    return {
        "tenant_discovery_endpoint": f"{base}/common/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }
