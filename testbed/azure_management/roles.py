"""Role definitions and role assignments, in ARM."""

import re
from typing import Final
from uuid import UUID

from azure_workload_identity.types import JsonObject
from testbed.azure_management.resources import properties_of, written
from testbed.azure_management.state import AUTHORIZATION, Azure
from testbed.azure_management.wire import Answer, Refusal, Request

_FILTER: Final = re.compile(r"(\w+) eq '((?:[^']|'')*)'")


def list_roles(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    """List roles."""
    scope = _scope(azure, match)
    name = _filter_value(request, "roleName")
    found = [
        _role(azure, role)
        for role in azure.role_definitions
        if (name is None or role["roleName"].lower() == name.lower())
        and any(scope.lower().startswith(above.lower().rstrip("/")) for above in role["assignableScopes"])
    ]
    return Answer(200, azure.page(request, found, "nextLink"))


def _role(azure: Azure, role: JsonObject) -> JsonObject:
    return {
        "id": f"/subscriptions/{azure.subscription}/providers/{AUTHORIZATION}/roleDefinitions/{role['guid']}",
        "name": role["guid"],
        "type": f"{AUTHORIZATION}/roleDefinitions",
        "properties": {key: role[key] for key in ("roleName", "type", "assignableScopes")},
    }


def _scope(azure: Azure, match: re.Match[str]) -> str:
    scope = match["scope"]
    subscription = re.match(r"/subscriptions/([^/]+)", scope, re.IGNORECASE)
    if subscription and subscription[1].lower() != azure.subscription:
        raise Refusal(404, "SubscriptionNotFound", f"The subscription '{subscription[1]}' could not be found.")
    return scope


def _filter_value(request: Request, name: str) -> str | None:
    text = request.query.get("$filter")
    if text is None:
        return None
    match = _FILTER.fullmatch(text)
    if match is None or match[1] != name:
        raise Refusal(400, "UnsupportedQuery", f"The filter '{text}' is not supported.")
    return match[2].replace("''", "'")


def list_assignments(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    """List assignments."""
    scope = _scope(azure, match).lower()
    principal = _filter_value(request, "principalId")
    found = [
        assignment
        for assignment in azure.role_assignments
        if principal in (None, assignment["properties"]["principalId"])
        and _related(assignment["properties"]["scope"].lower(), scope)
    ]
    return Answer(200, azure.page(request, found, "nextLink"))


def _related(scope: str, other: str) -> bool:
    """Whether one is the other, above it or below it: ARM lists all of them."""
    return f"{scope}/".startswith(f"{other}/") or f"{other}/".startswith(f"{scope}/")


def put_assignment(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    """Put assignment."""
    scope, name = _scope(azure, match), match["assignment"]
    properties = properties_of(request, "roleDefinitionId principalId", "principalType description")
    _check_assignment(azure, name, properties)
    assignment = {
        "id": f"{scope}/providers/{AUTHORIZATION}/roleAssignments/{name}",
        "name": name,
        "type": f"{AUTHORIZATION}/roleAssignments",
        "properties": {"scope": scope, **properties},
    }
    for existing in azure.role_assignments:
        same = _key(existing) == _key(assignment)
        if existing["name"] == name and same:
            return Answer(200, existing)
        if existing["name"] == name:
            message = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
            raise Refusal(400, "RoleAssignmentUpdateNotPermitted", message)
        if same:
            raise Refusal(
                409,
                "RoleAssignmentExists",
                f"The role assignment already exists. The ID of the conflicting role assignment is {existing['name']}.",
            )
    azure.role_assignments.append(assignment)
    return written(azure, 201, assignment)


def _check_assignment(azure: Azure, name: str, properties: JsonObject) -> None:
    try:
        UUID(name)
    except ValueError:
        raise Refusal(400, "InvalidRoleAssignmentId", f"The role assignment ID '{name}' is not valid.") from None
    role = properties["roleDefinitionId"].rsplit("/", 1)[-1]
    if role not in {definition["guid"] for definition in azure.role_definitions}:
        raise Refusal(
            404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{role}' does not exist."
        )
    wanted = properties["principalId"]
    principal = next((principal for principal in azure.service_principals if principal["id"] == wanted), None)
    if principal is None or not azure.seen(wanted):
        message = f"Principal {wanted.replace('-', '')} does not exist in the directory {azure.tenant}."
        raise Refusal(400, "PrincipalNotFound", message)
    if properties.get("principalType", "ServicePrincipal") != "ServicePrincipal":
        raise Refusal(400, "UnmatchedPrincipalType", "The PrincipalId has type 'ServicePrincipal'.")


def _key(assignment: JsonObject) -> tuple[str, str, str]:
    properties = assignment["properties"]
    role = properties["roleDefinitionId"].rsplit("/", 1)[-1]
    return properties["scope"].lower(), properties["principalId"], role


def delete_assignment(azure: Azure, _: Request, match: re.Match[str]) -> Answer:
    """Delete assignment."""
    wanted = f"{_scope(azure, match)}/providers/{AUTHORIZATION}/roleAssignments/{match['assignment']}".lower()
    found = next((assignment for assignment in azure.role_assignments if assignment["id"].lower() == wanted), None)
    if found is None:
        return Answer(204)
    azure.role_assignments.remove(found)
    return Answer(200, found)
