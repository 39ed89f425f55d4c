"""What `azwi serviceaccount` was asked for, as one value."""

from dataclasses import dataclass
from typing import Final

from azure_workload_identity import names
from azwi_cli.azure import ids
from azwi_cli.azure.federation import MAX_APPLICATION_NAME, Trust
from azwi_cli.console.errors import UsageError
from webhook.admission.values import is_uuid

DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that a flag may say; empty is not given. `token_expiration` in seconds."""

    service_account_name: str = ""
    service_account_namespace: str = DEFAULT_NAMESPACE
    service_account_issuer_url: str = ""
    token_expiration: int = names.DEFAULT_TOKEN_EXPIRATION
    aad_application_name: str = ""
    aad_application_client_id: str = ""
    aad_application_object_id: str = ""
    service_principal_name: str = ""
    service_principal_object_id: str = ""
    identity_resource_id: str = ""
    identity_location: str = ""
    azure_scope: str = ""
    azure_role: str = ""
    role_assignment_id: str = ""
    label: bool = False
    force_conflicts: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without asking anybody.

        Raises:
            UsageError: for values that cannot be right.
        """
        for flag, value in (
            ("--aad-application-client-id", self.aad_application_client_id),
            ("--aad-application-object-id", self.aad_application_object_id),
            ("--service-principal-object-id", self.service_principal_object_id),
        ):
            if value and not is_uuid(value):
                raise UsageError(
                    f"{flag} {value!r} is not a UUID", "check it for a missing, extra or mistyped character"
                )
        if self.identity_resource_id:
            ids.checked_identity_id(self.identity_resource_id)
            if self.names_application:
                raise UsageError(
                    "both an application and a managed identity are named",
                    "a ServiceAccount has one identity: name one",
                )
        if self.azure_scope:
            ids.checked_scope(self.azure_scope)
        if self.role_assignment_id:
            ids.checked_assignment_id(self.role_assignment_id)

    @property
    def names_application(self) -> bool:
        """Whether an application is named, by whatever."""
        return bool(self.aad_application_name) or self.identifies_application

    @property
    def identifies_application(self) -> bool:
        """Whether an application is named by an id, so that it must be there."""
        return bool(self.aad_application_client_id or self.aad_application_object_id)

    @property
    def uses_identity(self) -> bool:
        """Whether this is about a managed identity, and not an application."""
        return bool(self.identity_resource_id)

    @property
    def wants_role(self) -> bool:
        """Whether a role assignment is named."""
        return bool(self.role_assignment_id or self.azure_scope or self.azure_role)

    @property
    def trust(self) -> Trust:
        """The tokens that the command is about; the cloud decides the audience."""
        return Trust(self.service_account_namespace, self.service_account_name, self.service_account_issuer_url)

    @property
    def application_name(self) -> str:
        """The name that is given, else v1.6.0's for this ServiceAccount and issuer, else empty.

        Raises:
            UsageError: when the directory would not take it.
        """
        derivable = self.service_account_namespace and self.service_account_name and self.service_account_issuer_url
        name = self.aad_application_name or (self.trust.application_name if derivable else "")
        if len(name) > MAX_APPLICATION_NAME:
            raise UsageError(
                f"the application's name would have {len(name)} characters, and the directory takes "
                f"{MAX_APPLICATION_NAME}",
                "give a shorter one with --aad-application-name",
            )
        return name
