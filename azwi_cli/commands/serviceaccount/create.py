"""The phases of `azwi serviceaccount create`. Each looks first, and changes only what is not yet as it should be."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from azwi_cli.azure.arm import Arm
from azwi_cli.azure.errors import AzureApiError
from azwi_cli.azure.graph import Application
from azwi_cli.azure.ids import checked_scope
from azwi_cli.azure.polling import Polling
from azwi_cli.commands.serviceaccount import account, federate, principals
from azwi_cli.commands.serviceaccount.phases import (
    APPLICATION,
    FEDERATED_IDENTITY,
    IDENTITY,
    ROLE_ASSIGNMENT,
    SERVICE_ACCOUNT,
    Phase,
    PhaseOutcome,
    PhaseResult,
)
from azwi_cli.commands.serviceaccount.run import Run
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.issuer import discovery

PRINCIPAL_UNKNOWN: Final = "PrincipalNotFound"
ASSIGNED: Final = "RoleAssignmentExists"


# -- aad-application


def check_application(run: Run) -> None:
    """Refuse when the application is not named."""
    run.check_application()


def make_application(run: Run) -> PhaseResult:
    """The application and its service principal."""
    found = run.find_application()
    if found is None:
        run.application = application = _new_application(run)
    else:
        application = _adopted(run, found)
    run.principal, made = principals.ensure(run, application)
    outcome = PhaseOutcome.CREATED if found is None else PhaseOutcome.UPDATED if made else PhaseOutcome.UNCHANGED
    details = {
        "client id": application.client_id,
        "object id": application.object_id,
        "service principal": run.principal.object_id,
    }
    return PhaseResult(outcome, application.name, details)


def _new_application(run: Run) -> Application:
    if run.request.identifies_application:
        return run.need_application()
    graph = run.session.graph
    created = graph.create_application(run.request.application_name)
    if not created.planned:
        # By the name, as the next run will look for it: then it finds this one, and makes no second.
        run.polling.until(
            f"application {created.name}", lambda: created if created in graph.applications(created.name) else None
        )
    return created


def _adopted(run: Run, found: Application) -> Application:
    """An application found by its derived name is used only if no one else may hold a secret of it."""
    if found.keys and not run.request.names_application:
        raise CommandError(
            f"application {found.name} (client id {found.client_id}) exists and has {found.keys} secrets or "
            "certificates: anyone anyone who holds one of them can act as this ServiceAccount",
            f"if it is yours, confirm it with --aad-application-client-id={found.client_id}",
        )
    return found


# -- managed-identity


def check_identity(run: Run) -> None:
    """Refuse when no identity is named."""
    if not run.request.uses_identity:
        raise UsageError(
            "no managed identity is named",
            "give --identity-resource-id, or --identity-name and --identity-resource-group",
        )


def make_identity(run: Run) -> PhaseResult:
    """The user-assigned identity; created only if --identity-location is given."""
    outcome = PhaseOutcome.UNCHANGED
    identity = run.find_identity()
    if identity is None and run.request.identity_location:
        arm, resource_id = run.session.arm, run.request.identity_resource_id
        run.identity = arm.create_identity(resource_id, run.request.identity_location)
        outcome = PhaseOutcome.CREATED
        if not run.identity.planned:
            run.polling.until("the managed identity", lambda: arm.identity(resource_id))
    identity = run.need_identity()
    details = {"client id": identity.client_id, "principal id": identity.principal_id}
    return PhaseResult(outcome, identity.resource_id, details)


# -- service-account


def check_account(run: Run) -> None:
    """Refuse when the ServiceAccount or its identity is not named."""
    if not run.request.service_account_name:
        raise UsageError("--service-account-name is required", "the ServiceAccount's name in the cluster")
    if not run.request.uses_identity:
        run.check_application()


def make_account(run: Run) -> PhaseResult:
    """The ServiceAccount with its annotations."""
    identity = run.need_identity() if run.request.uses_identity else None
    tenant = run.session.tenant if identity is None or identity.planned else identity.tenant_id
    return account.apply(run, run.client_id(), tenant)


# -- federated-identity


def check_federated_identity(run: Run) -> None:
    """Refuse an issuer that Entra could not use: each refusal saves a token exchange that fails without a hint."""
    if not run.request.service_account_name:
        raise UsageError("--service-account-name is required", "the ServiceAccount's name in the cluster")
    run.complete_issuer()
    try:
        discovery.checked(run.request.service_account_issuer_url)
    except CommandError as error:
        raise UsageError(f"--service-account-issuer-url: {error.message}", error.hint) from error
    if not run.request.uses_identity:
        run.check_application()


def make_federated_identity(run: Run) -> PhaseResult:
    """The trust in the ServiceAccount's tokens."""
    notes = _published(run.trust.issuer)
    step = federate.add(run.holder(), run.trust, run.polling, planning=run.planning)
    return replace(step, notes=(*notes, *step.notes))


def _published(issuer_url: str) -> tuple[str, ...]:
    """Notes on the issuer's discovery document.

    Raises:
        CommandError: when it names another issuer.
    """
    try:
        found = discovery.fetch(discovery.configuration_url(issuer_url)).get("issuer")
    except CommandError as error:
        return (f"the issuer could not be checked from here: {error.message}; Entra must be able to read it",)
    if found != issuer_url:
        raise CommandError(
            f"the issuer at {issuer_url} calls itself {found!a}: tokens carry that, and every byte counts",
            "give it as it calls itself, with or without a slash at the end",
        )
    return ()


# -- role-assignment


def check_role(run: Run) -> None:
    """Refuse when role, scope or principal is not named."""
    for flag, value in (("--azure-scope", run.request.azure_scope), ("--azure-role", run.request.azure_role)):
        if not value:
            raise UsageError(f"{flag} is required", "both --azure-scope and --azure-role say which role is given where")
    principals.check(run)


def make_role(run: Run) -> PhaseResult:
    """The role assignment; a failure to make it is a failure."""
    arm = run.session.arm
    scope = checked_scope(run.request.azure_scope)
    role_id = arm.role_id(scope, run.request.azure_role)
    principal_id = principals.principal_id(run)
    what = f"{run.request.azure_role} at {scope}"
    details = {"principal": principal_id}
    if not _is_planned(run):
        known = [
            assignment
            for assignment in arm.assignments(scope, principal_id)
            if assignment.is_of(scope, role_id, principal_id)
        ]
        if known:
            return PhaseResult(PhaseOutcome.UNCHANGED, what, {**details, "id": known[0].id})
    assignment_id, made = _assigned(arm, run.polling, (scope, role_id, principal_id))
    known_by = {"id": assignment_id} if assignment_id else {}
    return PhaseResult(PhaseOutcome.CREATED if made else PhaseOutcome.UNCHANGED, what, {**details, **known_by})


def _is_planned(run: Run) -> bool:
    """Whether the principal of the role does not exist yet."""
    made = (run.application, run.identity, run.principal)
    return any(holder is not None and holder.planned for holder in made)


def _assigned(arm: Arm, polling: Polling, key: tuple[str, str, str]) -> tuple[str, bool]:
    """The id of the assignment if it is known, and whether it was created now."""
    try:
        made = polling.attempt(
            "the principal", lambda: arm.assign(*key), AzureApiError, lambda error: error.code == PRINCIPAL_UNKNOWN
        )
    except AzureApiError as error:
        if error.code != ASSIGNED:
            raise
        # There is one by another name, which the list did not show yet.
        return "", False
    return made, True


def _never(_: Run, __: Collection[str]) -> str:
    return ""


PHASES: Final = (
    Phase(
        APPLICATION,
        check_application,
        lambda run, _: "a managed identity is used" if run.request.uses_identity else "",
        make_application,
    ),
    Phase(
        IDENTITY,
        check_identity,
        lambda run, _: "" if run.request.uses_identity else "an application is used",
        make_identity,
    ),
    Phase(SERVICE_ACCOUNT, check_account, _never, make_account, account.preflight),
    Phase(
        FEDERATED_IDENTITY,
        check_federated_identity,
        _never,
        make_federated_identity,
    ),
    Phase(
        ROLE_ASSIGNMENT,
        check_role,
        lambda run, _: "" if run.request.wants_role else "neither --azure-scope nor --azure-role is given",
        make_role,
    ),
)
