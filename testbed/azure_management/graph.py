"""Microsoft Graph v1.0: applications, service principals, federated identity credentials."""

import re
from collections.abc import Callable, Iterable
from typing import Final
from uuid import uuid4

from azure_workload_identity.types import JsonObject
from testbed.azure_management.state import READ_APPLICATIONS, WRITE_APPLICATIONS, Azure
from testbed.azure_management.wire import Answer, Refusal, Request

Operation = Callable[[Azure, Request, re.Match[str]], Answer]

MAX_CREDENTIALS: Final = 20
LENGTHS: Final = {"name": 120, "issuer": 600, "subject": 600, "description": 600}
_UUID: Final = r"[0-9a-f-]{36}"
_ENTITY: Final = rf"(?P<id>{_UUID})|\(appId='(?P<app_id>[^']+)'\)"
_EQUALS: Final = re.compile(r"(\w+) eq '((?:[^']|'')*)'")


def respond(azure: Azure, request: Request) -> Answer:
    """Answer a request to Graph."""
    azure.authorize(request, azure.graph, "InvalidAuthenticationToken")
    for method, pattern, operation in _OPERATIONS:
        match = re.fullmatch(pattern, request.path)
        if match and method == request.method:
            azure.require(*((READ_APPLICATIONS, WRITE_APPLICATIONS) if method == "GET" else (WRITE_APPLICATIONS,)))
            _check_query(request)
            return operation(azure, request, match)
    raise Refusal(400, "Request_BadRequest", f"Resource not found for the segment: {request.line}")


def _check_query(request: Request) -> None:
    allowed = {"$filter", "$select", "$top", "$skiptoken"} if request.method == "GET" else set()
    if unknown := set(request.query) - allowed:
        raise Refusal(400, "Request_BadRequest", f"Unrecognized query argument specified: {unknown}")


def _not_found(what: str) -> Refusal:
    return Refusal(
        404,
        "Request_ResourceNotFound",
        f"Resource '{what}' does not exist or one of its queried reference-property objects are not present.",
    )


def _filtered(
    azure: Azure, request: Request, items: Iterable[JsonObject], properties: frozenset[str]
) -> list[JsonObject]:
    """Those that the filter lets through; Graph takes one comparison here, and refuses compound ones."""
    text = request.query.get("$filter")
    if text is None:
        wanted = list(items)
    else:
        match = _EQUALS.fullmatch(text)
        if match is None or match[1] not in properties:
            raise Refusal(400, "Request_UnsupportedQuery", f"Unsupported or invalid query filter clause: {text}")
        value = match[2].replace("''", "'").lower()
        wanted = [item for item in items if str(item[match[1]]).lower() == value]
    return [item for item in wanted if azure.seen(item["id"])]


def _collection(azure: Azure, request: Request, items: Iterable[JsonObject], properties: str) -> Answer:
    found = _filtered(azure, request, items, frozenset(properties.split()))
    selected = request.query.get("$select", "").split(",") if "$select" in request.query else None
    shown = [{key: item[key] for key in selected} if selected else item for item in found]
    return Answer(200, azure.page(request, shown, "@odata.nextLink"))


def _one(azure: Azure, items: Iterable[JsonObject], match: re.Match[str]) -> JsonObject:
    wanted = match["id"] or match["app_id"]
    key = "id" if match["id"] else "appId"
    found = next((item for item in items if item[key] == wanted), None)
    if found is None or not azure.seen(found["id"]):
        raise _not_found(wanted)
    return found


def _body(request: Request, required: str, optional: str = "") -> JsonObject:
    body = request.body
    if not isinstance(body, dict):
        raise Refusal(400, "Request_BadRequest", "A JSON object was expected as the request body.")
    if unknown := set(body) - {*required.split(), *optional.split()}:
        raise Refusal(400, "Request_BadRequest", f"Invalid property {sorted(unknown)}.")
    if missing := [name for name in required.split() if not body.get(name)]:
        raise Refusal(400, "Request_BadRequest", f"A value is required for property {missing}.")
    return body


def _list_applications(azure: Azure, request: Request, _: re.Match[str]) -> Answer:
    return _collection(azure, request, azure.applications, "displayName appId id")


def _get_application(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    return Answer(200, _one(azure, azure.applications, match))


def _create_application(azure: Azure, request: Request, _: re.Match[str]) -> Answer:
    body = _body(request, "displayName", "tags signInAudience")
    if len(body["displayName"]) > 256:
        raise Refusal(400, "Request_BadRequest", "Invalid value specified for property 'displayName'.")
    application = azure.add_application(body["displayName"], tags=body.get("tags", []))
    azure.hide(application["id"])
    return Answer(201, application)


def _delete_application(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    application = _one(azure, azure.applications, match)
    azure.applications.remove(application)
    azure.credentials.pop(application["id"])
    gone = application["appId"]
    azure.service_principals[:] = [principal for principal in azure.service_principals if principal["appId"] != gone]
    return Answer(204)


def _list_principals(azure: Azure, request: Request, _: re.Match[str]) -> Answer:
    return _collection(azure, request, azure.service_principals, "displayName appId id")


def _get_principal(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    return Answer(200, _one(azure, azure.service_principals, match))


def _create_principal(azure: Azure, request: Request, _: re.Match[str]) -> Answer:
    body = _body(request, "appId", "tags")
    application = next(
        (application for application in azure.applications if application["appId"] == body["appId"]), None
    )
    if application is None or not azure.seen(application["id"]):
        message = f"The appId '{body['appId']}' of the service principal does not reference a valid application object."
        raise Refusal(400, "Request_BadRequest", message)
    if any(principal["appId"] == body["appId"] for principal in azure.service_principals):
        message = f"The service principal cannot be created because the appId {body['appId']} is already in use."
        raise Refusal(409, "Request_MultipleObjectsWithSameKeyValue", message)
    principal = azure.add_service_principal(application, tags=body.get("tags", []))
    azure.hide(principal["id"])
    return Answer(201, principal)


def _list_credentials(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    application = _one(azure, azure.applications, match)
    return _collection(azure, request, azure.credentials[application["id"]], "subject name id")


def _create_credential(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    application = _one(azure, azure.applications, match)
    body = _body(request, "name issuer subject audiences", "description")
    existing = azure.credentials[application["id"]]
    _check_credential(body, existing)
    credential = {"id": str(uuid4()), "description": None, **body}
    existing.append(credential)
    azure.hide(credential["id"])
    azure.on_credential(application["appId"], body["issuer"], body["subject"], body["audiences"][0])
    return Answer(201, credential)


def _check_credential(body: JsonObject, existing: list[JsonObject]) -> None:
    if len(body["audiences"]) != 1:
        raise Refusal(400, "Request_BadRequest", "Federated identity credentials take exactly one audience.")
    if long := [name for name, limit in LENGTHS.items() if len(body.get(name, "")) > limit]:
        raise Refusal(400, "Request_BadRequest", f"The length of {long} exceeds what is allowed.")
    duplicate = "Request_MultipleObjectsWithSameKeyValue"
    if any(credential["name"] == body["name"] for credential in existing):
        raise Refusal(409, duplicate, f"FederatedIdentityCredential with name {body['name']} already exists.")
    if any(
        (credential["issuer"], credential["subject"]) == (body["issuer"], body["subject"]) for credential in existing
    ):
        raise Refusal(409, duplicate, "Issuer and subject combination already exists for this application.")
    if len(existing) >= MAX_CREDENTIALS:
        raise Refusal(400, "Request_BadRequest", "The maximum number of federated identity credentials is 20.")


def _credential(azure: Azure, match: re.Match[str]) -> tuple[list[JsonObject], JsonObject]:
    application = _one(azure, azure.applications, match)
    existing = azure.credentials[application["id"]]
    found = next(
        (credential for credential in existing if match["credential"] in (credential["id"], credential["name"])), None
    )
    if found is None or not azure.seen(found["id"]):
        raise _not_found(match["credential"])
    return existing, found


def _get_credential(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    return Answer(200, _credential(azure, match)[1])


def _delete_credential(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    existing, found = _credential(azure, match)
    existing.remove(found)
    return Answer(204)


_APPLICATIONS: Final = "/v1.0/applications"
_PRINCIPALS: Final = "/v1.0/servicePrincipals"
_APPLICATION: Final = rf"{_APPLICATIONS}/?(?:{_ENTITY})"
_CREDENTIALS: Final = rf"{_APPLICATION}/federatedIdentityCredentials"
_CREDENTIAL: Final = rf"{_CREDENTIALS}/(?P<credential>[^/]+)"

_OPERATIONS: Final[list[tuple[str, str, Operation]]] = [
    ("GET", _APPLICATIONS, _list_applications),
    ("POST", _APPLICATIONS, _create_application),
    ("GET", _APPLICATION, _get_application),
    ("DELETE", _APPLICATION, _delete_application),
    ("GET", _PRINCIPALS, _list_principals),
    ("POST", _PRINCIPALS, _create_principal),
    ("GET", rf"{_PRINCIPALS}/?(?:{_ENTITY})", _get_principal),
    ("GET", _CREDENTIALS, _list_credentials),
    ("POST", _CREDENTIALS, _create_credential),
    ("GET", _CREDENTIAL, _get_credential),
    ("DELETE", _CREDENTIAL, _delete_credential),
]
