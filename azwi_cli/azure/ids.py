"""Ids of Azure Resource Manager: made, checked and taken apart."""

import re
from typing import Final
from uuid import UUID, uuid5

from azwi_cli.console.errors import UsageError
from webhook.admission.values import is_uuid

MSI: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"
_AUTHORIZATION: Final = "providers/Microsoft.Authorization"
# Makes the names of role assignments: the same scope, role and principal give the same name, on every machine.
_ASSIGNMENTS: Final = UUID("0e4a6cb5-6f1b-5d0a-9c55-9b1f3c1f7a52")
_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_IDENTITY_ID: Final = re.compile(
    rf"/subscriptions/{_UUID}/resourceGroups/[\w.()-]{{1,90}}/providers/{re.escape(MSI)}/[a-zA-Z0-9][\w-]{{2,127}}",
    re.IGNORECASE | re.ASCII,
)
_ASSIGNMENT_ID: Final = re.compile(
    rf"/.*/{re.escape(_AUTHORIZATION)}/roleAssignments/{_UUID}", re.IGNORECASE | re.ASCII
)
_SCOPE: Final = re.compile(
    rf"/subscriptions/{_UUID}(?:/.+)?|/providers/Microsoft\.Management/managementGroups/[\w.()-]+",
    re.IGNORECASE | re.ASCII,
)


def assignment_name(scope: str, role_id: str, principal_id: str) -> str:
    """The name of a role assignment, a GUID that depends on nothing else, so that a second run makes no second one."""
    if not is_uuid(principal_id):
        return "<GUID made of scope, role and principal>"
    return str(uuid5(_ASSIGNMENTS, f"{scope.lower()}\n{last(role_id)}\n{principal_id.lower()}"))


def identity_id(subscription: str, group: str, name: str) -> str:
    """The id of a user-assigned identity."""
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{MSI}/{name}"


def checked_identity_id(resource_id: str) -> str:
    """The id, when it is one of a user-assigned identity.

    Raises:
        CommandError: when it is not.
    """
    if not _IDENTITY_ID.fullmatch(resource_id):
        raise UsageError(
            f"{resource_id!r} is not the id of a user-assigned identity",
            f"it looks like {identity_id('SUBSCRIPTION', 'GROUP', 'NAME')}; az identity list shows them",
        )
    return resource_id


def checked_assignment_id(assignment_id: str) -> str:
    """The id, when it is one of a role assignment.

    Raises:
        CommandError: when it is not.
    """
    if not _ASSIGNMENT_ID.fullmatch(assignment_id):
        raise UsageError(
            f"{assignment_id!r} is not the id of a role assignment",
            "give the whole id, SCOPE/providers/Microsoft.Authorization/roleAssignments/GUID, or --azure-scope and "
            "--azure-role",
        )
    return assignment_id


def checked_scope(scope: str) -> str:
    """The scope without a slash at its end, and with one in front, which v1.6.0 forgave.

    Raises:
        CommandError: when it is none.
    """
    path = "/" + scope.strip("/")
    if not _SCOPE.fullmatch(path) or "//" in path or "?" in path or "#" in path:
        raise UsageError(
            f"--azure-scope {scope!r} is not a scope",
            "it is the id of what the role is for: /subscriptions/UUID, a resource group, a resource, or "
            "/providers/Microsoft.Management/managementGroups/NAME",
        )
    return path


def role_guid(role: str) -> str:
    """The GUID in the id of a role definition, or that is one; empty when `role` is a name."""
    found = re.fullmatch(rf"(?:/.+/roleDefinitions/)?({_UUID})", role)
    return found[1] if found else ""


def last(resource_id: str) -> str:
    """The last part of an id, in lower case: ARM's ids have none of their own."""
    return resource_id.rsplit("/", 1)[-1].lower()
