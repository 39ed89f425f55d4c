"""Applications, service principals and their federated credentials, in Microsoft Graph v1.0."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from azure_workload_identity import __version__
from azwi_cli.azure.errors import NOT_FOUND, AzureApiError
from azwi_cli.azure.federation import FederatedCredential, Trust
from azwi_cli.azure.pipeline import Endpoint, quoted, segment

DENIED: Final = (
    "the caller needs the role Application Administrator or the Graph permission Application.ReadWrite.All "
    "(Application.ReadWrite.OwnedBy for its own applications)"
)
# Placeholders for ids that are known only after a planned request has been sent.
PLANNED_CLIENT_ID: Final = "<client id of the new application>"
PLANNED_OBJECT_ID: Final = "<object id of the new application>"
PLANNED_PRINCIPAL: Final = "<object id of the new service principal>"
_APPLICATIONS: Final = "/v1.0/applications"
_PRINCIPALS: Final = "/v1.0/servicePrincipals"
_APPLICATION_FIELDS: Final = {"$select": "id,appId,displayName,passwordCredentials,keyCredentials"}
_PRINCIPAL_FIELDS: Final = {"$select": "id,appId,displayName,alternativeNames"}


@dataclass(frozen=True, slots=True)
class Application:
    """An application; `keys` is how many secrets and certificates it has, `planned` that it would be made."""

    object_id: str
    client_id: str
    name: str
    keys: int = 0
    planned: bool = False


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """What an application is in a tenant, and what roles are assigned to; one of a managed identity has its ARM id."""

    object_id: str
    client_id: str
    name: str
    planned: bool = False
    resource_id: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Graph's calls; what is not there is None or an empty list."""

    endpoint: Endpoint

    def applications(self, name: str) -> list[Application]:
        """All of that display name, which need not be unique."""
        query = {"$filter": f"displayName eq {quoted(name)}", **_APPLICATION_FIELDS}
        return [_application(application) for application in self.endpoint.pages(_APPLICATIONS, query)]

    def application(self, *, client_id: str = "", object_id: str = "") -> Application | None:
        """The one of that client id or object id."""
        found = self.endpoint.find(_entity(_APPLICATIONS, client_id, object_id), _APPLICATION_FIELDS)
        return None if found is None else _application(found)

    def create_application(self, name: str) -> Application:
        """Create one; Graph allows several of the same name."""
        created = self.endpoint.write("POST", _APPLICATIONS, {}, {"displayName": name})
        if created is None:
            return Application(PLANNED_OBJECT_ID, PLANNED_CLIENT_ID, name, planned=True)
        return _application(created)

    def delete_application(self, object_id: str) -> bool:
        """Delete one, its service principal and its credentials; False when there was none."""
        return _gone(self.endpoint, f"{_APPLICATIONS}/{segment(object_id)}")

    def principals(self, name: str) -> list[ServicePrincipal]:
        """All of that display name, which need not be unique."""
        query = {"$filter": f"displayName eq {quoted(name)}", **_PRINCIPAL_FIELDS}
        return [_principal(principal) for principal in self.endpoint.pages(_PRINCIPALS, query)]

    def principal(self, *, client_id: str = "", object_id: str = "") -> ServicePrincipal | None:
        """The one of that application or object id."""
        found = self.endpoint.find(_entity(_PRINCIPALS, client_id, object_id), _PRINCIPAL_FIELDS)
        return None if found is None else _principal(found)

    def create_principal(self, application: Application) -> ServicePrincipal:
        """Create that of an application."""
        body = {"appId": application.client_id, "tags": [f"azwi version: {__version__}"]}
        created = self.endpoint.write("POST", _PRINCIPALS, {}, body)
        if created is None:
            return ServicePrincipal(PLANNED_PRINCIPAL, application.client_id, application.name, planned=True)
        return _principal(created)


@dataclass(frozen=True, slots=True)
class ApplicationCredentials:
    """The federated credentials of an application."""

    graph: Graph
    application: Application

    @property
    def label(self) -> str:
        """What to call it in a sentence."""
        return f"application {self.application.name}"

    def names(self, trust: Trust) -> tuple[str, ...]:
        """As v1.6.0 names it, unless that name is another's."""
        return (trust.name, trust.distinct_name)

    def credentials(self) -> list[FederatedCredential]:
        """All that it has. Graph filters by subject only, so the comparison is left to the caller."""
        if self.application.planned:
            return []
        return [_credential(credential) for credential in self.graph.endpoint.pages(self._path)]

    def add(self, name: str, trust: Trust) -> None:
        """Add one."""
        body = {
            "name": name,
            "issuer": trust.issuer,
            "subject": trust.subject,
            "description": trust.description,
            "audiences": [trust.audience],
        }
        self.graph.endpoint.write("POST", self._path, {}, body)

    def remove(self, credential: FederatedCredential) -> None:
        """Remove one."""
        _gone(self.graph.endpoint, f"{self._path}/{segment(credential.id)}")

    @property
    def _path(self) -> str:
        return f"{_APPLICATIONS}/{segment(self.application.object_id)}/federatedIdentityCredentials"


def _entity(collection: str, client_id: str, object_id: str) -> str:
    return f"{collection}/{segment(object_id)}" if object_id else f"{collection}(appId={segment(quoted(client_id))})"


def _gone(endpoint: Endpoint, path: str) -> bool:
    try:
        endpoint.write("DELETE", path, {})
    except AzureApiError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return True


def _application(found: Mapping[str, Any]) -> Application:
    keys = [*(found.get("passwordCredentials") or ()), *(found.get("keyCredentials") or ())]
    return Application(found["id"], found["appId"], found["displayName"], len(keys))


def _principal(found: Mapping[str, Any]) -> ServicePrincipal:
    # https://learn.microsoft.com/graph/api/resources/serviceprincipal: alternativeNames
    alternatives = found.get("alternativeNames") or ()
    resource_id = next((alternative for alternative in alternatives if alternative.startswith("/subscriptions/")), "")
    return ServicePrincipal(found["id"], found["appId"], found["displayName"], resource_id=resource_id)


def _credential(found: Mapping[str, Any]) -> FederatedCredential:
    # One with a matching expression (flexible credentials) has no subject.
    subject, audiences = found.get("subject") or "", found.get("audiences") or ()
    return FederatedCredential(found["id"], found["name"], found.get("issuer") or "", subject, tuple(audiences))
