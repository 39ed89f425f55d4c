"""Azure Key Vault's secrets at the wire: an ASGI app that knows one vault and accepts the tokens of the emulated Entra.

The protocol: https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses and
https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret. SDKs send the first request without a
token, to read tenant and resource from the challenge, and refuse a resource that is not of the vault's domain.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from azure_workload_identity.types import JsonObject

RESOURCE: Final = "https://vault.azure.net"
# https://learn.microsoft.com/rest/api/keyvault/versions, and previews of these.
API_VERSION: Final = re.compile(r"7\.[0-6]|7\.[1-6]-preview(\.\d)?|20\d\d-\d\d-\d\d")
NAME: Final = re.compile(r"[0-9a-zA-Z-]{1,127}")
CREATED: Final = 1764230400


class _VaultError(Exception):
    """An answer other than a secret."""

    def __init__(self, status: int, code: str, message: str, inner: str = "") -> None:
        super().__init__(message)
        error = {"code": code, "message": message}
        self.status = status
        self.body = {"error": {**error, "innererror": {"code": inner}} if inner else error}


@dataclass
class KeyVault:
    """A vault with its secrets, and the identities (client ids) that may read them.

    `verify` checks an access token and returns its claims. `statuses` has the status of every answer.
    """

    host: str
    authority: str
    secrets: Mapping[str, str]
    readers: frozenset[str]
    verify: Callable[[str], JsonObject]
    statuses: list[int] = field(default_factory=list)
    version: str = field(default_factory=lambda: uuid4().hex)

    def app(self) -> Starlette:
        """The vault's endpoint for reading a secret."""
        paths = ("/secrets/{name}", "/secrets/{name}/", "/secrets/{name}/{version}")
        return Starlette(routes=[Route(path, self._get) for path in paths])

    async def _get(self, request: Request) -> Response:
        try:
            response: Response = JSONResponse(self._secret(request))
        except _VaultError as error:
            response = JSONResponse(error.body, error.status)
            if error.status == 401:
                response.headers["WWW-Authenticate"] = f'Bearer authorization="{self.authority}", resource="{RESOURCE}"'
        response.headers["x-ms-keyvault-service-version"] = "1.9.2500.1"
        self.statuses.append(response.status_code)
        return response

    def _secret(self, request: Request) -> JsonObject:
        self._authenticate(request.headers.get("authorization", ""))
        if not API_VERSION.fullmatch(request.query_params.get("api-version", "")):
            raise _VaultError(400, "BadParameter", "api-version must be specified, and be a supported one")
        name = request.path_params["name"]
        version = request.path_params.get("version") or self.version
        if not NAME.fullmatch(name) or name not in self.secrets or version != self.version:
            message = f"A secret with (name/id) {name} was not found in this key vault."
            raise _VaultError(404, "SecretNotFound", message)
        attributes = {"enabled": True, "created": CREATED, "updated": CREATED, "recoveryLevel": "Recoverable+Purgeable"}
        identifier = f"https://{self.host}/secrets/{name}/{self.version}"
        return {"value": self.secrets[name], "id": identifier, "attributes": attributes}

    def _authenticate(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _VaultError(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
        try:
            claims = self.verify(token)
        except jwt.InvalidTokenError as error:
            raise _VaultError(401, "Unauthorized", "Error validating token: IDX10511") from error
        if claims["aud"] not in {RESOURCE, f"{RESOURCE}/"}:
            message = f"AKV10022: Invalid audience. Expected {RESOURCE}, found: {claims['aud']}."
            raise _VaultError(401, "Unauthorized", message)
        if claims["appid"] not in self.readers:
            message = "Caller is not authorized to perform action on resource."
            raise _VaultError(403, "Forbidden", message, "ForbiddenByRbac")
