"""User-assigned identities and their federated identity credentials, in ARM."""

import re
from typing import Final

from azure_workload_identity.types import JsonObject
from testbed.azure_management.resources import check_subscription, properties_of, written
from testbed.azure_management.state import MSI, Azure
from testbed.azure_management.wire import Answer, Refusal, Request

MAX_CREDENTIALS: Final = 20
_CREDENTIAL_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,119}")
_IDENTITY_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}")


def _find_identity(azure: Azure, match: re.Match[str]) -> JsonObject | None:
    wanted = match["identity"].lower()
    found = next((identity for identity in azure.identities if identity["id"].lower() == wanted), None)
    return found if found is not None and azure.seen(found["id"]) else None


def _identity(azure: Azure, match: re.Match[str], missing: str = "ResourceNotFound") -> JsonObject:
    check_subscription(azure, match)
    found = _find_identity(azure, match)
    if found is None:
        raise Refusal(404, missing, f"The Resource '{MSI}/{match['name']}' was not found.")
    return found


def get_identity(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    """Get identity."""
    return Answer(200, _identity(azure, match))


def list_identities(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    """List the identities of a subscription, or of one of its resource groups."""
    check_subscription(azure, match)
    group = f"/resourcegroups/{match['group'].lower()}/" if match["group"] else ""
    found = [one for one in azure.identities if group in one["id"].lower() and azure.seen(one["id"])]
    return Answer(200, azure.page(request, found, "nextLink"))


def put_identity(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    """Put identity."""
    check_subscription(azure, match)
    properties_of(request, "", beside="location tags")
    if not request.body.get("location"):
        raise Refusal(400, "LocationRequired", "The location property is required for this definition.")
    if not _IDENTITY_NAME.fullmatch(match["name"]):
        raise Refusal(400, "InvalidResourceName", f"The name '{match['name']}' is not allowed.")
    found = _find_identity(azure, match)
    if found is not None:
        return written(azure, 200, found)
    created = azure.add_identity(match["name"], match["group"], request.body["location"])
    azure.hide(created["id"])
    azure.hide(created["properties"]["principalId"])
    return written(azure, 201, created)


def list_credentials(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    """List credentials."""
    identity = _identity(azure, match, "ParentResourceNotFound")
    items = [credential for credential in azure.credentials[identity["id"].lower()] if azure.seen(credential["id"])]
    return Answer(200, azure.page(request, items, "nextLink"))


def get_credential(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    """Get credential."""
    return Answer(200, _credential(azure, match)[1])


def _credential(azure: Azure, match: re.Match[str]) -> tuple[list[JsonObject], JsonObject]:
    identity = _identity(azure, match, "ParentResourceNotFound")
    existing = azure.credentials[identity["id"].lower()]
    found = next((credential for credential in existing if credential["name"] == match["credential"]), None)
    if found is None or not azure.seen(found["id"]):
        raise Refusal(404, "ResourceNotFound", f"The federated credential '{match['credential']}' was not found.")
    return existing, found


def put_credential(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    """Put credential."""
    identity = _identity(azure, match, "ParentResourceNotFound")
    properties = properties_of(request, "issuer subject audiences")
    existing = azure.credentials[identity["id"].lower()]
    others = [credential for credential in existing if credential["name"] != match["credential"]]
    _check_credential(match["credential"], properties, others)
    credential: JsonObject = {
        "id": f"{identity['id']}/federatedIdentityCredentials/{match['credential']}",
        "name": match["credential"],
        "type": f"{MSI}/federatedIdentityCredentials",
        "properties": properties,
    }
    status = 201 if len(others) == len(existing) else 200
    existing[:] = [*others, credential]
    if status == 201:
        azure.hide(credential["id"])
    client = identity["properties"]["clientId"]
    azure.on_credential(client, properties["issuer"], properties["subject"], properties["audiences"][0])
    return written(azure, status, credential)


def _check_credential(name: str, properties: JsonObject, others: list[JsonObject]) -> None:
    if not _CREDENTIAL_NAME.fullmatch(name):
        raise Refusal(400, "BadRequest", f"The federated identity credential name '{name}' is not valid.")
    if len(properties["audiences"]) != 1:
        raise Refusal(400, "BadRequest", "The federated identity credential takes exactly one audience.")
    key = (properties["issuer"], properties["subject"])
    if any((credential["properties"]["issuer"], credential["properties"]["subject"]) == key for credential in others):
        raise Refusal(409, "Conflict", "Issuer and subject combination already exists for this Managed Identity.")
    if len(others) >= MAX_CREDENTIALS:
        raise Refusal(400, "BadRequest", "The maximum number of federated identity credentials is 20.")


def delete_credential(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    """Delete credential."""
    try:
        existing, found = _credential(azure, match)
    except Refusal as refusal:
        if refusal.answer.status == 404:
            return Answer(204)
        raise
    existing.remove(found)
    return Answer(200)
