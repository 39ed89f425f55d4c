"""`azwi serviceaccount delete`, against the emulator of Azure."""

from collections.abc import Callable
from typing import Any

import pytest

from azwi_cli.commands.serviceaccount.phases import PhaseOutcome, PhaseResult
from azwi_cli.console.dry_run import Plan
from azwi_cli.console.errors import CommandError, UsageError
from testbed.azure_management import Azure
from tests.azwi_cli.commands.serviceaccount.conftest import Runs
from tests.azwi_cli.commands.serviceaccount.test_create import role

Outcomes = Callable[[dict[str, PhaseResult]], dict[str, PhaseOutcome]]


def test_everything(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """The role and the application go, and with it its credentials; a second run finds nothing, and ends well."""
    runs.create(**role(azure))
    assert outcomes(runs.delete(**role(azure))) == {
        "role-assignment": PhaseOutcome.DELETED,
        "aad-application": PhaseOutcome.DELETED,
    }
    assert azure.applications == azure.service_principals == azure.role_assignments == []
    assert set(outcomes(runs.delete(**role(azure))).values()) == {PhaseOutcome.ABSENT}


def test_credential_alone(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """Where the application stays, its credential goes; others of it stay."""
    runs.create(aad_application_name="shared")
    runs.create(aad_application_name="shared", service_account_name="other")
    for expected in (PhaseOutcome.DELETED, PhaseOutcome.ABSENT):
        steps = runs.delete("aad-application", aad_application_name="shared")
        assert outcomes(steps) == {"federated-identity": expected}
    (left,) = azure.credentials[azure.applications[0]["id"]]
    assert left["subject"].endswith(":other")


def test_managed_identity(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """Of a managed identity the credential and the role go, and the identity stays."""
    identity = azure.add_identity("web-identity")
    given = {"identity_resource_id": identity["id"], **role(azure)}
    runs.create(**given)
    for expected in (PhaseOutcome.DELETED, PhaseOutcome.ABSENT):
        assert outcomes(runs.delete(**given)) == {"role-assignment": expected, "federated-identity": expected}
    assert azure.identities == [identity]


def test_credential_under_another_name(azure: Azure, runs: Runs) -> None:
    """A credential that another tool made for the same tokens is found by what it says, not by its name."""
    identity = azure.add_identity("web-identity")
    runs.create(identity_resource_id=identity["id"])
    azure.credentials[identity["id"].lower()][0]["name"] = "made-by-terraform"
    deleted = runs.delete(identity_resource_id=identity["id"])
    assert deleted["federated-identity"].details["name"] == "made-by-terraform"
    assert azure.credentials[identity["id"].lower()] == []


def test_gone_identity(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """Where the identity is gone, so are its credential and its role."""
    resource_id = azure.add_identity("x")["id"].replace("/x", "/gone-identity")
    steps = runs.delete(identity_resource_id=resource_id, **role(azure))
    assert set(outcomes(steps).values()) == {PhaseOutcome.ABSENT}


def test_role_by_id(azure: Azure, runs: Runs) -> None:
    """A role assignment is deleted by its id, as in v1.6.0; one that is gone is no error, one that is none is."""
    runs.create(**role(azure))
    given = {"role_assignment_id": azure.role_assignments[0]["id"]}
    assert runs.delete("aad-application", **given)["role-assignment"].outcome is PhaseOutcome.DELETED
    assert runs.delete("aad-application", **given)["role-assignment"].outcome is PhaseOutcome.ABSENT
    with pytest.raises(UsageError, match="not the id of a role assignment"):
        runs.delete(role_assignment_id="/subscriptions/x")


def test_role_of_another_scope_stays(azure: Azure, runs: Runs) -> None:
    """Only the assignment at that scope is deleted."""
    runs.create(**role(azure))
    subscription: dict[str, Any] = {"azure_scope": f"/subscriptions/{azure.subscription}", "azure_role": "Reader"}
    assert runs.delete("aad-application", **subscription)["role-assignment"].outcome is PhaseOutcome.ABSENT
    assert len(azure.role_assignments) == 1


def test_role_that_stays_behind(azure: Azure, runs: Runs) -> None:
    """A role of an application that goes is reported with the command that deletes it, where it can be seen."""
    runs.create(**role(azure))
    (note,) = runs.delete()["aad-application"].notes
    assert azure.role_assignments[0]["id"] in note
    runs.create(**role(azure))
    azure.permissions.discard("*")
    assert runs.delete()["aad-application"].notes == ()


def test_ambiguous_name(azure: Azure, runs: Runs) -> None:
    """Of two applications of one name none is deleted."""
    azure.add_application("app")
    azure.add_application("app")
    with pytest.raises(CommandError, match="2 applications"):
        runs.delete(aad_application_name="app")
    assert len(azure.applications) == 2


def test_denied(azure: Azure, runs: Runs) -> None:
    """What Azure refuses to delete is a failure."""
    runs.create()
    azure.permissions -= {"Application.ReadWrite.All"}
    azure.permissions |= {"Application.Read.All"}
    with pytest.raises(CommandError, match="Authorization_RequestDenied") as refused:
        runs.delete()
    assert "Application Administrator" in refused.value.hint


def test_dry_run(azure: Azure, runs: Runs) -> None:
    """A dry run deletes nothing and plans every deletion."""
    runs.create(**role(azure))
    azure.requests.clear()
    runs.plan = Plan()
    runs.delete(**role(azure))
    assert azure.writes() == []
    assert [request.method for request in runs.plan.requests] == ["DELETE", "DELETE"]
