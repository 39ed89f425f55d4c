"""What a tenant and its subscription hold, who may do what, and what goes wrong on request."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from azure_workload_identity.types import JsonObject
from testbed.azure_management.wire import Refusal, Request

TENANT: Final = "72f988bf-0000-4000-8000-2d7cd011db47"
SUBSCRIPTION: Final = "5f9c2b1a-0000-4000-8000-9b8e7d6c5a43"
GROUP: Final = "identities"

READ_APPLICATIONS: Final = "Application.Read.All"
WRITE_APPLICATIONS: Final = "Application.ReadWrite.All"
MSI: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"
AUTHORIZATION: Final = "Microsoft.Authorization"

BUILT_IN_ROLES: Final = {
    "Reader": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
}


@dataclass
class Failure:
    """An answer that the next requests get instead of their own: those of a method whose path has a fragment."""

    status: int
    code: str
    times: int = 1
    method: str = ""
    fragment: str = ""
    message: str = "made to fail"
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False  # the request is carried out, and then answered with the failure

    def matches(self, request: Request) -> bool:
        """Whether the request is one of those."""
        return self.times > 0 and self.method in ("", request.method) and self.fragment in request.path


@dataclass
class Faults:
    """What goes wrong. `hidden_reads`: for how many reads an object that is created from now on is not to be seen."""

    failures: list[Failure] = field(default_factory=list)
    hidden_reads: int = 0
    asynchronous: bool = False  # ARM answers writes with an operation, which ends as the next line says
    operation: str = "Succeeded"
    raw: bytes | None = None  # what a failure has as body, where it is not JSON
    page_size: int = 2
    clock_ahead: float = 0.0  # seconds

    def throttle(self, times: int, retry_after: str = "1", method: str = "", fragment: str = "") -> None:
        """Answer the next requests with 429."""
        headers = {"Retry-After": retry_after} if retry_after else {}
        self.failures.append(Failure(429, "TooManyRequests", times, method, fragment, headers=headers))

    def take(self, request: Request) -> Failure | None:
        """Return the failure that is due for a request, and count it."""
        failure = next((failure for failure in self.failures if failure.matches(request)), None)
        if failure is not None:
            failure.times -= 1
        return failure


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A block blob and what it is served with; `etag` names its version."""

    content: bytes
    content_type: str
    cache_control: str
    etag: str


@dataclass
class Storage:
    """A storage account: its Blob service at `account`, and at `site` what its container $web serves to everybody."""

    account: str = ""
    site: str = ""
    containers: dict[str, dict[str, StoredBlob]] = field(default_factory=lambda: {"$web": {}})


@dataclass
class Azure:
    """One tenant with one subscription. Objects are the JSON that Graph and ARM give of them."""

    arm: str = ""
    graph: str = ""
    ca_file: Path = Path()
    login: str = "https://login.microsoftonline.com"
    tenant: str = TENANT
    subscription: str = SUBSCRIPTION
    faults: Faults = field(default_factory=Faults)
    permissions: set[str] = field(default_factory=lambda: {WRITE_APPLICATIONS, "*"})
    applications: list[JsonObject] = field(default_factory=list)
    service_principals: list[JsonObject] = field(default_factory=list)
    identities: list[JsonObject] = field(default_factory=list)
    role_definitions: list[JsonObject] = field(default_factory=list)
    role_assignments: list[JsonObject] = field(default_factory=list)
    credentials: dict[str, list[JsonObject]] = field(default_factory=dict)  # by object id or by ARM id in lower case
    storage: Storage = field(default_factory=Storage)
    requests: list[Request] = field(default_factory=list)
    # called with every federated credential: client id, issuer, subject, audience
    on_credential: Callable[[str, str, str, str], None] = lambda *_: None
    _hidden: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.role_definitions += [self.role(name, guid, "BuiltInRole", "/") for name, guid in BUILT_IN_ROLES.items()]

    def clock(self) -> float:
        """Return the time by which answers are dated."""
        return time.time() + self.faults.clock_ahead

    # -- what tests set up

    def role(self, name: str, guid: str, kind: str = "CustomRole", scope: str = "") -> JsonObject:
        """Describe a role that can be assigned below a scope, by default the subscription."""
        scope = scope or f"/subscriptions/{self.subscription}"
        return {"guid": guid, "roleName": name, "type": kind, "assignableScopes": [scope]}

    def add_application(self, name: str, **fields: Any) -> JsonObject:  # noqa: ANN401  fields of Graph's object
        """Register an application as somebody else did, earlier."""
        application: JsonObject = {
            "id": str(uuid4()),
            "appId": str(uuid4()),
            "displayName": name,
            "passwordCredentials": [],
            "keyCredentials": [],
            **fields,
        }
        self.applications.append(application)
        self.credentials[application["id"]] = []
        return application

    def add_service_principal(self, application: JsonObject, **fields: Any) -> JsonObject:  # noqa: ANN401  fields of Graph's object
        """Add the service principal of an application."""
        principal = {
            "id": str(uuid4()),
            "appId": application["appId"],
            "displayName": application["displayName"],
            "servicePrincipalType": "Application",
            "alternativeNames": [],
            "tags": [],
            **fields,
        }
        self.service_principals.append(principal)
        return principal

    def add_identity(self, name: str, group: str = GROUP, location: str = "westeurope") -> JsonObject:
        """Create a user-assigned identity, and the service principal that it is in the directory."""
        identity: JsonObject = {
            "id": f"/subscriptions/{self.subscription}/resourceGroups/{group}/providers/{MSI}/{name}",
            "name": name,
            "type": MSI,
            "location": location,
            "tags": {},
            "properties": {"tenantId": self.tenant, "principalId": str(uuid4()), "clientId": str(uuid4())},
        }
        self.identities.append(identity)
        self.credentials[identity["id"].lower()] = []
        properties = identity["properties"]
        self.service_principals.append(
            {
                "id": properties["principalId"],
                "appId": properties["clientId"],
                "displayName": name,
                "servicePrincipalType": "ManagedIdentity",
                "alternativeNames": ["isExplicit=True", identity["id"]],
                "tags": [],
            }
        )
        return identity

    def token(self, audience: str) -> str:
        """Write a token for one of the two, as a credential gets it."""
        claims = {"aud": audience.rstrip("/"), "tid": self.tenant, "exp": int(self.clock()) + 3600}
        return ".".join(_base64(part) for part in ({"alg": "none"}, claims, {"emulated": True}))

    # -- what the listeners ask

    def authorize(self, request: Request, audience: str, code: str) -> None:
        """Refuse a request whose token is absent or for somebody else."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        claims = _claims(token) if scheme == "Bearer" else {}
        if claims.get("aud") != audience or claims.get("exp", 0) < self.clock():
            challenge = (
                f'Bearer authorization_uri="https://login.microsoftonline.com/{self.tenant}", error="invalid_token", '
                "error_description=\"The authentication failed because of missing 'Authorization' header.\""
            )
            message = "The access token is missing, expired or of the wrong audience."
            raise Refusal(401, code, message, {"WWW-Authenticate": challenge})

    def require(self, *permissions: str) -> None:
        """Refuse unless the caller has one of these permissions."""
        if self.permissions.isdisjoint(permissions):
            code = "Authorization_RequestDenied" if permissions[0].startswith("Application.") else "AuthorizationFailed"
            raise Refusal(403, code, f"Insufficient privileges: {' or '.join(permissions)} is needed.")

    def hide(self, key: str) -> None:
        """Hide what was just created for as many reads as the faults say."""
        self._hidden[key.lower()] = self.faults.hidden_reads

    def seen(self, key: str) -> bool:
        """Whether this read sees the object; each read that does not brings it nearer."""
        left = self._hidden.get(key.lower(), 0)
        self._hidden[key.lower()] = left - 1
        return left <= 0

    def page(self, request: Request, items: list[JsonObject], link: str) -> JsonObject:
        """Return the page of a collection that the request asks for, with the link to the next."""
        start = int(request.query.get("$skiptoken", "0"))
        size = self.faults.page_size
        answer: JsonObject = {"value": items[start : start + size]}
        if start + size < len(items):
            kept = "&".join(f"{name}={value}" for name, value in request.query.items() if name != "$skiptoken")
            answer[link] = f"{request.base}{request.path}?{kept}&$skiptoken={start + size}".replace(" ", "%20")
        return answer

    def sent(self, *methods: str) -> list[str]:
        """Return the lines of the requests that came, of some methods or all."""
        return [request.line for request in self.requests if not methods or request.method in methods]

    def writes(self) -> list[str]:
        """Return the lines of the requests that change something."""
        return self.sent("PUT", "POST", "PATCH", "DELETE")


def _base64(part: JsonObject) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _claims(token: str) -> JsonObject:
    try:
        payload = token.split(".")[1]
        claims: JsonObject = json.loads(base64.urlsafe_b64decode(payload + "=="))
    except (ValueError, IndexError):
        return {}
    return claims
