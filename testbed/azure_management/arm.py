"""Azure Resource Manager: subscriptions, user-assigned identities and their credentials, roles and assignments."""

import re
from typing import Final

from testbed.azure_management import identities, roles
from testbed.azure_management.resources import Operation, check_subscription
from testbed.azure_management.state import AUTHORIZATION, MSI, Azure
from testbed.azure_management.wire import Answer, Refusal, Request

_MSI_VERSIONS: Final = {"2023-01-31", "2024-11-30"}


def respond(azure: Azure, request: Request) -> Answer:
    """Answer a request to ARM; resource ids are compared without regard to case."""
    for method, pattern, versions, action, operation in _OPERATIONS:
        match = re.fullmatch(pattern, request.path, re.IGNORECASE)
        if match and method == request.method:
            if action:
                azure.authorize(request, azure.arm, "InvalidAuthenticationToken")
            _check_query(request, versions)
            if action:
                azure.require(f"{AUTHORIZATION}/{action}" if "/" in action else f"{MSI}/{action}", "*")
            return operation(azure, request, match)
    raise Refusal(404, "InvalidResourceType", f"The resource type could not be found: {request.line}")


def _check_query(request: Request, versions: set[str]) -> None:
    version = request.query.get("api-version")
    if not version:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise Refusal(400, "MissingApiVersionParameter", message)
    if version not in versions:
        message = f"The api-version '{version}' is invalid; supported are '{sorted(versions)}'."
        raise Refusal(400, "NoRegisteredProviderFound", message)
    allowed = {"api-version", "$filter", "$skiptoken"} if request.method == "GET" else {"api-version"}
    if unknown := set(request.query) - allowed:
        raise Refusal(400, "InvalidQueryParameter", f"The query parameters {unknown} are not known.")


def _operation(azure: Azure, _request: Request, _: re.Match[str]) -> Answer:
    return Answer(200, {"status": azure.faults.operation})


def _metadata(azure: Azure, _: Request, __: re.Match[str]) -> Answer:
    return Answer(
        200,
        {
            "name": "AzureEmulated",
            "resourceManager": azure.arm,
            "microsoftGraphResourceId": f"{azure.graph}/",
            "authentication": {
                "loginEndpoint": azure.login,
                "audiences": [azure.arm],
                "tenant": "common",
                "identityProvider": "AAD",
            },
        },
    )


def _subscription(azure: Azure, request: Request, match: re.Match[str]) -> Answer:
    check_subscription(azure, match)
    azure.authorize(request, azure.arm, "AuthenticationFailed")
    return Answer(200, {"id": request.path, "subscriptionId": azure.subscription, "tenantId": azure.tenant})


_SUBSCRIPTION: Final = r"/subscriptions/(?P<subscription>[^/]+)"
_IDENTITY: Final = (
    rf"(?P<identity>{_SUBSCRIPTION}/resourceGroups/(?P<group>[^/]+)/providers/{re.escape(MSI)}/(?P<name>[^/]+))"
)
_IDENTITIES: Final = rf"{_SUBSCRIPTION}(?:/resourceGroups/(?P<group>[^/]+))?/providers/{re.escape(MSI)}"
_CREDENTIALS: Final = rf"{_IDENTITY}/federatedIdentityCredentials"
_CREDENTIAL: Final = rf"{_CREDENTIALS}/(?P<credential>[^/]+)"
_ROLES: Final = rf"(?P<scope>/?.*)/providers/{re.escape(AUTHORIZATION)}/roleDefinitions"
_ASSIGNMENTS: Final = rf"(?P<scope>/.+)/providers/{re.escape(AUTHORIZATION)}/roleAssignments"
_ASSIGNMENT: Final = rf"{_ASSIGNMENTS}/(?P<assignment>[^/]+)"
_ROLE_VERSIONS: Final = {"2022-04-01"}

# method, path, api-versions, the action that is needed (none: no token is), what it does
_OPERATIONS: Final[list[tuple[str, str, set[str], str, Operation]]] = [
    ("GET", "/metadata/endpoints", {"2022-09-01"}, "", _metadata),
    ("GET", "/operations/[^/]+", {"2022-12-01"}, "operations/read", _operation),
    ("GET", _SUBSCRIPTION, {"2022-12-01"}, "", _subscription),
    ("GET", _IDENTITIES, _MSI_VERSIONS, "read", identities.list_identities),
    ("GET", _IDENTITY, _MSI_VERSIONS, "read", identities.get_identity),
    ("PUT", _IDENTITY, _MSI_VERSIONS, "write", identities.put_identity),
    ("GET", _CREDENTIALS, _MSI_VERSIONS, "federatedIdentityCredentials/read", identities.list_credentials),
    ("GET", _CREDENTIAL, _MSI_VERSIONS, "federatedIdentityCredentials/read", identities.get_credential),
    ("PUT", _CREDENTIAL, _MSI_VERSIONS, "federatedIdentityCredentials/write", identities.put_credential),
    ("DELETE", _CREDENTIAL, _MSI_VERSIONS, "federatedIdentityCredentials/delete", identities.delete_credential),
    ("GET", _ROLES, _ROLE_VERSIONS, "roleDefinitions/read", roles.list_roles),
    ("GET", _ASSIGNMENTS, _ROLE_VERSIONS, "roleAssignments/read", roles.list_assignments),
    ("PUT", _ASSIGNMENT, _ROLE_VERSIONS, "roleAssignments/write", roles.put_assignment),
    ("DELETE", _ASSIGNMENT, _ROLE_VERSIONS, "roleAssignments/delete", roles.delete_assignment),
]
