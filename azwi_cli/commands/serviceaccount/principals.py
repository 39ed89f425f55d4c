"""Service principals: made for an application, found for a role assignment."""

from typing import Final

from azwi_cli.azure.errors import AzureApiError
from azwi_cli.azure.graph import Application, ServicePrincipal
from azwi_cli.commands.serviceaccount.run import Run
from azwi_cli.console.errors import CommandError, UsageError

DUPLICATE: Final = "Request_MultipleObjectsWithSameKeyValue"
NOT_FOUND: Final = "Request_ResourceNotFound"


def ensure(run: Run, application: Application) -> tuple[ServicePrincipal, bool]:
    """The service principal of an application, and whether it was made now."""
    graph = run.session.graph
    found = None if application.planned else graph.principal(client_id=application.client_id)
    if found is not None:
        return found, False
    what = f"application {application.name}"
    try:
        created = run.polling.attempt(
            what, lambda: graph.create_principal(application), AzureApiError, _application_is_new
        )
    except AzureApiError as error:
        if error.code != DUPLICATE:
            raise
        # Created concurrently, or a replica answered that does not know it yet.
        return run.polling.until(what, lambda: graph.principal(client_id=application.client_id)), False
    if not created.planned:
        run.polling.until(
            f"service principal {created.object_id}", lambda: graph.principal(object_id=created.object_id)
        )
    return created, True


def _application_is_new(error: AzureApiError) -> bool:
    """Whether a replica that does not know the application yet has answered."""
    return error.code == NOT_FOUND or "does not reference a valid application object" in error.message


def check(run: Run) -> None:
    """Refuse when no principal is named for the role."""
    request = run.request
    named = request.service_principal_object_id or request.service_principal_name
    if not (named or request.uses_identity or request.names_application or request.application_name):
        raise UsageError(
            "--service-principal-name or --service-principal-object-id is required",
            "or the application's or the managed identity's flags, or those that an application's name is derived from",
        )


def principal_id(run: Run) -> str:
    """The object id of the principal that gets the role.

    Raises:
        CommandError: when it is not there, or its name is not unique.
    """
    request = run.request
    if request.uses_identity:
        return run.need_identity().principal_id
    if request.service_principal_object_id:
        return request.service_principal_object_id
    if run.principal is not None:
        return run.principal.object_id
    if request.service_principal_name and not request.names_application:
        return _named(run, request.service_principal_name).object_id
    application = run.need_application()
    found = run.session.graph.principal(client_id=application.client_id)
    if found is None:
        raise CommandError(
            f"application {application.name} has no service principal in tenant {run.session.tenant}",
            "azwi serviceaccount create phase aad-application makes it",
        )
    return found.object_id


def _named(run: Run, name: str) -> ServicePrincipal:
    found = run.session.graph.principals(name)
    if not found:
        raise CommandError(
            f"there is no service principal {name!r} in tenant {run.session.tenant}",
            "give --service-principal-object-id, or the application's flags",
        )
    if len(found) > 1:
        ids = ", ".join(principal.object_id for principal in found)
        raise CommandError(
            f"{len(found)} service principals are named {name!r}; their object ids are {ids}",
            "name the right one with --service-principal-object-id",
        )
    return found[0]
