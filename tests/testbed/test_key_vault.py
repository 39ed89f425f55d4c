"""The emulated Key Vault is as strict as Azure's."""

import asyncio
from typing import Final

import httpx
import jwt
import pytest

from azure_workload_identity.types import JsonObject
from testbed.key_vault import RESOURCE, KeyVault

CLAIMS: Final[dict[str, JsonObject]] = {
    "reader": {"aud": RESOURCE, "appid": "reader"},
    "other": {"aud": RESOURCE, "appid": "other"},
    "graph": {"aud": "https://graph.microsoft.com", "appid": "reader"},
}
CHALLENGE: Final = 'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"'


def verify(token: str) -> JsonObject:
    """Return the claims of a known token."""
    if token not in CLAIMS:
        raise jwt.InvalidTokenError
    return CLAIMS[token]


async def get(vault: KeyVault, path: str, token: str) -> httpx.Response:
    """Send a request to a vault."""
    transport = httpx.ASGITransport(vault.app())
    async with httpx.AsyncClient(transport=transport, base_url=f"https://{vault.host}") as client:
        return await client.get(path, headers={"Authorization": token} if token else {})


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/secrets/greeting?api-version=7.6", "", 401, "Unauthorized"),
        ("/secrets/greeting?api-version=7.6", "Bearer stranger", 401, "Unauthorized"),
        ("/secrets/greeting?api-version=7.6", "Basic reader", 401, "Unauthorized"),
        ("/secrets/greeting?api-version=7.6", "Bearer graph", 401, "Unauthorized"),
        ("/secrets/greeting?api-version=7.6", "Bearer other", 403, "Forbidden"),
        ("/secrets/greeting", "Bearer reader", 400, "BadParameter"),
        ("/secrets/greeting?api-version=1.0", "Bearer reader", 400, "BadParameter"),
        ("/secrets/gone?api-version=7.6", "Bearer reader", 404, "SecretNotFound"),
        ("/secrets/greeting/0123?api-version=7.6", "Bearer reader", 404, "SecretNotFound"),
        ("/secrets/greeting?api-version=7.6", "Bearer reader", 200, ""),
        ("/secrets/greeting/?api-version=2025-07-01", "Bearer reader", 200, ""),
    ],
)
def test_answers(path: str, token: str, status: int, code: str) -> None:
    """Only a token for the vault, of an identity with the role, reads a secret; a 401 says where to get one."""
    authority = "https://login.microsoftonline.com/t"
    vault = KeyVault("v.vault.azure.net", authority, {"greeting": "hello"}, frozenset({"reader"}), verify)
    response = asyncio.run(get(vault, path, token))
    assert response.status_code == status
    assert response.json().get("error", {}).get("code", "") == code
    assert response.headers.get("WWW-Authenticate") == (CHALLENGE if status == 401 else None)
    assert vault.statuses == [status]
    if status == 200:
        assert response.json()["value"] == "hello"
