"""One run of a command: the request, the connections, and what phases have found for those after them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from azwi_cli.azure.arm import IdentityCredentials, ManagedIdentity
from azwi_cli.azure.federation import Holder, Trust
from azwi_cli.azure.graph import Application, ApplicationCredentials, ServicePrincipal
from azwi_cli.azure.polling import Polling
from azwi_cli.azure.session import Session
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.commands.serviceaccount.request import Request
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.issuer import discovery

_TWO_IDS: Final = (
    "it has two ids: --aad-application-client-id takes the one that is called application (client) id, "
    "--aad-application-object-id the other"
)


@dataclass
class Run:
    """What phases share. `application` and `identity` are set by the phase that made or found them.

    Args:
        request: what is wanted.
        session: Azure; its plan, when it has one, makes this a dry run.
        connect: connects to the cluster when that is needed.
        polling: how long to wait for Azure.
    """

    request: Request
    session: Session
    connect: Callable[[], Cluster]
    polling: Polling = field(default_factory=Polling)
    application: Application | None = None
    identity: ManagedIdentity | None = None
    principal: ServicePrincipal | None = None

    @property
    def planning(self) -> bool:
        """Whether this is a dry run."""
        return self.session.plan is not None

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.connect()

    @cached_property
    def trust(self) -> Trust:
        """The tokens that this is about, with the cloud's audience."""
        return replace(self.request.trust, audience=self.session.cloud.audience)

    def report(self, text: str) -> None:
        """Show what is being done."""
        self.polling.on_wait(text)

    def find_application(self) -> Application | None:
        """The application that is named; None when none has that name.

        Raises:
            CommandError: when an id is not there, or a name is not unique.
        """
        if self.application is None:
            self.application = _find_application(self)
        return self.application

    def need_application(self) -> Application:
        """The application that is named.

        Raises:
            CommandError: when it is not there.
        """
        found = self.find_application()
        if found is not None:
            return found
        request, tenant = self.request, self.session.tenant
        if request.identifies_application:
            named = request.aad_application_object_id or request.aad_application_client_id
            raise CommandError(f"there is no application {named} in tenant {tenant}", _TWO_IDS)
        raise CommandError(
            f"there is no application {request.application_name!r} in tenant {tenant}",
            "azwi serviceaccount create phase aad-application makes it",
        )

    def find_identity(self) -> ManagedIdentity | None:
        """The managed identity that is named; None when it is not there."""
        if self.identity is None:
            self.identity = self.session.arm.identity(self.request.identity_resource_id)
        return self.identity

    def need_identity(self) -> ManagedIdentity:
        """The managed identity that is named.

        Raises:
            CommandError: when it is not there.
        """
        found = self.find_identity()
        if found is None:
            raise CommandError(
                f"there is no managed identity {self.request.identity_resource_id}",
                "az identity list shows what there is; with --identity-location azwi creates it",
            )
        return found

    def holder(self) -> Holder:
        """What has the federated credentials.

        Raises:
            CommandError: when it is not there.
        """
        if self.request.uses_identity:
            return IdentityCredentials(self.session.arm, self.need_identity())
        return ApplicationCredentials(self.session.graph, self.need_application())

    def client_id(self) -> str:
        """What the ServiceAccount is annotated with.

        Raises:
            CommandError: when what it is the id of is not there.
        """
        if self.request.uses_identity:
            return self.need_identity().client_id
        if self.application is None and self.request.aad_application_client_id:
            return self.request.aad_application_client_id
        return self.need_application().client_id

    def check_application(self) -> None:
        """Refuse when no application is named, and none can be derived."""
        if self.request.names_application:
            return
        if not self.request.service_account_name:
            raise UsageError(
                "--aad-application-name is required", "or --service-account-name, from which it can be derived"
            )
        self.complete_issuer()
        _ = self.request.application_name  # one that the directory would not take is refused here

    def complete_issuer(self) -> None:
        """Take the cluster's issuer where none is given.

        Raises:
            CommandError: when the cluster does not publish it.
        """
        if self.request.service_account_issuer_url:
            return
        found = self.issuer_of_cluster()
        if not found:
            raise UsageError(
                "--service-account-issuer-url is required, because the cluster does not publish its own to you",
                "on AKS: az aks show --query oidcIssuerProfile.issuerUrl",
            )
        self.request = replace(self.request, service_account_issuer_url=found)

    def issuer_of_cluster(self) -> str:
        """The issuer of the cluster's tokens; empty when it is not published.

        Raises:
            CommandError: when the cluster does not answer.
        """
        try:
            return str(self.cluster.get(discovery.CONFIGURATION_PATH).get("issuer") or "")
        except ApiError:
            return ""


def _find_application(run: Run) -> Application | None:
    request, graph = run.request, run.session.graph
    client_id, object_id = request.aad_application_client_id, request.aad_application_object_id
    if client_id or object_id:
        found = graph.application(client_id=client_id, object_id=object_id)
        if found is not None and client_id not in ("", found.client_id):
            raise CommandError(f"application {object_id} has client id {found.client_id}, not {client_id}", _TWO_IDS)
        return found
    named = graph.applications(request.application_name)
    if len(named) > 1:
        ids = ", ".join(application.client_id for application in named)
        raise CommandError(
            f"{len(named)} applications are named {request.application_name!r}; their client ids are {ids}",
            "name the right one with --aad-application-client-id",
        )
    return named[0] if named else None
