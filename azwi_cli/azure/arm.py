"""User-assigned identities with their federated credentials, roles and role assignments, in Azure Resource Manager."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from azwi_cli.azure.federation import FederatedCredential, Trust
from azwi_cli.azure.ids import MSI, assignment_name, last, role_guid
from azwi_cli.azure.pipeline import Endpoint, quoted, segment
from azwi_cli.console.errors import CommandError

DENIED: Final = (
    "the caller needs a role that allows it there: Managed Identity Contributor for identities and their credentials, "
    "Role Based Access Control Administrator for role assignments"
)
PLANNED: Final = "<{} of the new identity>"
_MSI_VERSION: Final = {"api-version": "2023-01-31"}
_ROLE_VERSION: Final = {"api-version": "2022-04-01"}
_AUTHORIZATION: Final = "providers/Microsoft.Authorization"


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """A user-assigned identity; `principal_id` is what roles are assigned to, `planned` that it would be made."""

    resource_id: str
    client_id: str
    principal_id: str
    tenant_id: str
    planned: bool = False

    @property
    def name(self) -> str:
        """Its name, the last part of its id."""
        return self.resource_id.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """That a principal has a role at a scope."""

    id: str
    scope: str
    role_id: str
    principal_id: str

    def is_of(self, scope: str, role_id: str, principal_id: str) -> bool:
        """Whether it is this one: not inherited, not below."""
        mine = (self.scope.lower(), last(self.role_id), self.principal_id.lower())
        return mine == (scope.lower(), last(role_id), principal_id.lower())


@dataclass(frozen=True, slots=True)
class Arm:
    """ARM's calls; what is not there is None or an empty list."""

    endpoint: Endpoint

    def identity(self, resource_id: str) -> ManagedIdentity | None:
        """The identity of that id."""
        found = self.endpoint.find(_path(resource_id), _MSI_VERSION)
        return None if found is None else _identity(found)

    def identities(self, subscription: str, group: str = "") -> list[ManagedIdentity]:
        """All of a subscription, or of one of its resource groups."""
        scope = f"/resourceGroups/{group}" if group else ""
        path = _path(f"/subscriptions/{subscription}{scope}/providers/{MSI}")
        return [_identity(identity) for identity in self.endpoint.pages(path, _MSI_VERSION)]

    def create_identity(self, resource_id: str, location: str) -> ManagedIdentity:
        """Create it in a region; its resource group must be there."""
        created = self.endpoint.write("PUT", _path(resource_id), _MSI_VERSION, {"location": location})
        if created is None:
            client, principal = PLANNED.format("client id"), PLANNED.format("principal id")
            return ManagedIdentity(resource_id, client, principal, "", planned=True)
        return _identity(created)

    def role_id(self, scope: str, role: str) -> str:
        """The id of a role that can be assigned at a scope, by its name, GUID or id.

        Raises:
            CommandError: when there is none of that name, or more than one.
        """
        if guid := role_guid(role):
            return f"{_subscription_of(scope)}/{_AUTHORIZATION}/roleDefinitions/{guid}"
        query = {"$filter": f"roleName eq {quoted(role)}", **_ROLE_VERSION}
        found = list(self.endpoint.pages(f"{_path(scope)}/{_AUTHORIZATION}/roleDefinitions", query))
        if not found:
            raise CommandError(
                f"there is no role {role!r} at {scope}",
                "az role definition list --query '[].roleName' lists them; a custom role must be assignable there",
            )
        if len(found) > 1:
            ids = ", ".join(role["name"] for role in found)
            raise CommandError(f"{len(found)} roles are named {role!r}: {ids}", "give --azure-role one of these ids")
        role_id: str = found[0]["id"]
        return role_id

    def assignments(self, scope: str, principal_id: str) -> list[RoleAssignment]:
        """Those of a principal at a scope, above it and below it."""
        query = {"$filter": f"principalId eq {quoted(principal_id)}", **_ROLE_VERSION}
        return [_assignment(assignment) for assignment in self.endpoint.pages(self._assignments(scope), query)]

    def assign(self, scope: str, role_id: str, principal_id: str) -> str:
        """Give a service principal a role; what is returned is the id of the assignment."""
        name = assignment_name(scope, role_id, principal_id)
        path = f"{self._assignments(scope)}/{name}"
        body = {
            "properties": {
                "roleDefinitionId": role_id,
                "principalId": principal_id,
                # Makes ARM accept a principal that has not been replicated in the directory yet.
                "principalType": "ServicePrincipal",
            }
        }
        created = self.endpoint.write("PUT", path, _ROLE_VERSION, body)
        return str(created["id"]) if created else path

    def unassign(self, assignment_id: str) -> bool:
        """Delete an assignment; False when there was none (ARM answers 204)."""
        answer = self.endpoint.write("DELETE", _path(assignment_id), _ROLE_VERSION)
        return answer is None or bool(answer)

    def _assignments(self, scope: str) -> str:
        return f"{_path(scope)}/{_AUTHORIZATION}/roleAssignments"


@dataclass(frozen=True, slots=True)
class IdentityCredentials:
    """The federated credentials of a user-assigned identity."""

    arm: Arm
    identity: ManagedIdentity

    @property
    def label(self) -> str:
        """What to call it in a sentence."""
        return f"managed identity {self.identity.name}"

    def names(self, trust: Trust) -> tuple[str, ...]:
        """Ours: a name of v1.6.0 ends with a sign that ARM does not take."""
        return (trust.distinct_name,)

    def credentials(self) -> list[FederatedCredential]:
        """All that it has."""
        if self.identity.planned:
            return []
        return [_credential(credential) for credential in self.arm.endpoint.pages(self._path, _MSI_VERSION)]

    def add(self, name: str, trust: Trust) -> None:
        """Add one."""
        properties = {"issuer": trust.issuer, "subject": trust.subject, "audiences": [trust.audience]}
        self.arm.endpoint.write("PUT", f"{self._path}/{segment(name)}", _MSI_VERSION, {"properties": properties})

    def remove(self, credential: FederatedCredential) -> None:
        """Remove one."""
        self.arm.endpoint.write("DELETE", f"{self._path}/{segment(credential.name)}", _MSI_VERSION)

    @property
    def _path(self) -> str:
        return f"{_path(self.identity.resource_id)}/federatedIdentityCredentials"


def _subscription_of(scope: str) -> str:
    parts = scope.split("/")
    return "/".join(parts[:3]) if parts[1].lower() == "subscriptions" else ""


def _path(resource_id: str) -> str:
    return "/".join(segment(part) for part in resource_id.split("/"))


def _identity(found: Mapping[str, Any]) -> ManagedIdentity:
    properties = found["properties"]
    return ManagedIdentity(found["id"], properties["clientId"], properties["principalId"], properties["tenantId"])


def _assignment(found: Mapping[str, Any]) -> RoleAssignment:
    properties = found["properties"]
    return RoleAssignment(found["id"], properties["scope"], properties["roleDefinitionId"], properties["principalId"])


def _credential(found: Mapping[str, Any]) -> FederatedCredential:
    properties = found["properties"]
    return FederatedCredential(
        found["id"], found["name"], properties["issuer"], properties["subject"], tuple(properties["audiences"])
    )
