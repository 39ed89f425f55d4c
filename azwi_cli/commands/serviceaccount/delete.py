"""The phases of `azwi serviceaccount delete`. A missing object is not an error, so a second run succeeds."""

from collections.abc import Iterator
from typing import Final

from azwi_cli.azure.errors import AzureApiError
from azwi_cli.azure.graph import Application
from azwi_cli.azure.ids import checked_scope
from azwi_cli.commands.serviceaccount import account, federate, principals
from azwi_cli.commands.serviceaccount.phases import (
    APPLICATION,
    FEDERATED_IDENTITY,
    ROLE_ASSIGNMENT,
    SERVICE_ACCOUNT,
    Phase,
    PhaseOutcome,
    PhaseResult,
)
from azwi_cli.commands.serviceaccount.run import Run
from azwi_cli.console.errors import UsageError

WITH_APPLICATION: Final = "it goes with the application"


# -- role-assignment


def check_role(run: Run) -> None:
    """Refuse when no assignment is named."""
    request = run.request
    if request.role_assignment_id:
        return
    if not (request.azure_scope and request.azure_role):
        raise UsageError(
            "--role-assignment-id is required", "or --azure-scope and --azure-role, by which azwi finds the assignment"
        )
    principals.check(run)


def delete_role(run: Run) -> PhaseResult:
    """The role assignment that is named, by its id or by what it says."""
    request, arm = run.request, run.session.arm
    if request.role_assignment_id:
        gone = arm.unassign(request.role_assignment_id)
        return PhaseResult(PhaseOutcome.DELETED if gone else PhaseOutcome.ABSENT, request.role_assignment_id)
    what = f"{request.azure_role} at {request.azure_scope}"
    if _principal_is_gone(run):
        return PhaseResult(PhaseOutcome.ABSENT, what)
    scope = checked_scope(request.azure_scope)
    role_id = arm.role_id(scope, request.azure_role)
    principal_id = principals.principal_id(run)
    found = [
        assignment
        for assignment in arm.assignments(scope, principal_id)
        if assignment.is_of(scope, role_id, principal_id)
    ]
    for assignment in found:
        arm.unassign(assignment.id)
    return PhaseResult(PhaseOutcome.DELETED if found else PhaseOutcome.ABSENT, what, {"principal": principal_id})


def _principal_is_gone(run: Run) -> bool:
    """Whether the principal of the role is gone, so that its assignment can no longer be identified."""
    request = run.request
    if request.uses_identity:
        return run.find_identity() is None
    if request.service_principal_object_id or (request.service_principal_name and not request.names_application):
        return False
    return run.find_application() is None


# -- federated-identity


def check_federated_identity(run: Run) -> None:
    """Refuse when the ServiceAccount or its identity is not named."""
    if not run.request.service_account_name:
        raise UsageError("--service-account-name is required", "its federated credential is removed")
    run.complete_issuer()
    if not run.request.uses_identity:
        run.check_application()


def delete_federated_identity(run: Run) -> PhaseResult:
    """The trust in the ServiceAccount's tokens."""
    there = run.find_identity() if run.request.uses_identity else run.find_application()
    if there is None:
        return PhaseResult(PhaseOutcome.ABSENT, run.request.identity_resource_id or run.request.application_name)
    return federate.remove(run.holder(), run.trust, run.polling)


# -- service-account


def check_account(run: Run) -> None:
    """Refuse when the ServiceAccount is not named."""
    if not run.request.service_account_name:
        raise UsageError("--service-account-name is required", "the ServiceAccount's name in the cluster")


# -- aad-application


def check_application(run: Run) -> None:
    """Refuse when the application is not named."""
    run.check_application()


def delete_application(run: Run) -> PhaseResult:
    """The application, with its service principal and its federated credentials."""
    found = run.find_application()
    if found is None:
        return PhaseResult(PhaseOutcome.ABSENT, run.request.application_name)
    notes = tuple(_orphans(run, found))
    gone = run.session.graph.delete_application(found.object_id)
    details = {"client id": found.client_id, "object id": found.object_id}
    return PhaseResult(PhaseOutcome.DELETED if gone else PhaseOutcome.ABSENT, found.name, details, notes)


def _orphans(run: Run, application: Application) -> Iterator[str]:
    """Notes on role assignments that outlive the application, as far as they can be read."""
    subscription = run.session.subscription
    principal = run.session.graph.principal(client_id=application.client_id)
    if not subscription or principal is None:
        return
    try:
        left = run.session.arm.assignments(f"/subscriptions/{subscription}", principal.object_id)
    except AzureApiError:
        return
    for assignment in left:
        yield f"a role assignment remains: azwi sa delete phase role-assignment --role-assignment-id {assignment.id}"


PHASES: Final = (
    Phase(
        ROLE_ASSIGNMENT,
        check_role,
        lambda run, _: "" if run.request.wants_role else "no --role-assignment-id is given",
        delete_role,
    ),
    Phase(
        FEDERATED_IDENTITY,
        check_federated_identity,
        lambda run, skip: "" if run.request.uses_identity or APPLICATION in skip else WITH_APPLICATION,
        delete_federated_identity,
    ),
    Phase(
        SERVICE_ACCOUNT,
        check_account,
        lambda _, __: "",
        account.delete,
        account.find,
    ),
    Phase(
        APPLICATION,
        check_application,
        lambda run, _: "a managed identity is used, and stays" if run.request.uses_identity else "",
        delete_application,
    ),
)
