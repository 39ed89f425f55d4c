"""`azwi serviceaccount create`, against the emulator of Azure."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme

from azure_workload_identity.types import JsonObject
from azwi_cli.commands.serviceaccount.create import PHASES
from azwi_cli.commands.serviceaccount.phases import PhaseError, PhaseOutcome, PhaseResult
from azwi_cli.console.dry_run import Plan
from azwi_cli.console.errors import CommandError, UsageError
from testbed.azure_management import Azure, Failure
from testbed.azure_management.wire import Answer, listening
from tests.azwi_cli.commands.serviceaccount.conftest import ISSUER, Runs

SUBJECT = "system:serviceaccount:default:web"
Outcomes = Callable[[dict[str, PhaseResult]], dict[str, PhaseOutcome]]


def role(azure: Azure, name: str = "Reader") -> dict[str, str]:
    """Ask for a role at a resource group."""
    return {"azure_scope": f"/subscriptions/{azure.subscription}/resourceGroups/data", "azure_role": name}


@pytest.fixture
def identity(azure: Azure) -> JsonObject:
    """Create a managed identity."""
    return azure.add_identity("web-identity")


# -- applications


def test_from_nothing(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """From nothing come an application, its service principal, its trust in the tokens, and the role."""
    assert outcomes(runs.create(**role(azure))) == {
        "aad-application": PhaseOutcome.CREATED,
        "federated-identity": PhaseOutcome.CREATED,
        "role-assignment": PhaseOutcome.CREATED,
    }
    (application,) = azure.applications
    (principal,) = azure.service_principals
    (credential,) = azure.credentials[application["id"]]
    (assignment,) = azure.role_assignments
    assert principal["appId"] == application["appId"]
    assert principal["tags"][0].startswith("azwi version: ")
    del credential["id"]
    assert credential == {
        "name": runs.run().trust.name,
        "issuer": ISSUER,
        "subject": SUBJECT,
        "description": "Federated Service Account for default/web",
        "audiences": ["api://AzureADTokenExchange"],
    }
    assert assignment["properties"]["principalId"] == principal["id"]
    assert assignment["properties"]["principalType"] == "ServicePrincipal"


def test_again(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """A second run finds everything and sends no change."""
    runs.create(**role(azure))
    azure.requests.clear()
    assert set(outcomes(runs.create(**role(azure))).values()) == {PhaseOutcome.UNCHANGED}
    assert azure.writes() == []


def test_only_what_is_missing(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """A run that stopped half-way is completed by the next one."""
    azure.faults.failures.append(Failure(403, "Authorization_RequestDenied", method="POST", fragment="federated"))
    with pytest.raises(PhaseError, match="federated-identity") as failed:
        runs.create(**role(azure))
    assert [step.outcome for step in failed.value.steps if step.outcome is not PhaseOutcome.SKIPPED] == [
        PhaseOutcome.CREATED,
        PhaseOutcome.FAILED,
    ]
    assert outcomes(runs.create(**role(azure))) == {
        "aad-application": PhaseOutcome.UNCHANGED,
        "federated-identity": PhaseOutcome.CREATED,
        "role-assignment": PhaseOutcome.CREATED,
    }


def test_eventual_consistency(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """What Azure does not show at once is waited for, and no second object is made."""
    azure.faults.hidden_reads = 3
    assert set(outcomes(runs.create(**role(azure))).values()) == {PhaseOutcome.CREATED}
    assert len(azure.applications) == len(azure.service_principals) == len(azure.role_assignments) == 1
    assert any("waiting for Azure to know" in text for text in runs.messages)


def test_never_consistent(azure: Azure, runs: Runs) -> None:
    """What Azure does not show in time is reported, with what to do."""
    azure.faults.hidden_reads = 10**6
    run = runs.run()
    object.__setattr__(run.polling, "seconds", 0.0)
    with pytest.raises(CommandError, match="does not show it after") as failed:
        runs_phase("aad-application", run)
    assert "again" in failed.value.hint


def runs_phase(name: str, run: Any) -> PhaseResult:  # noqa: ANN401  a Run
    """Run one phase of `create`."""
    phase = next(phase for phase in PHASES if phase.name == name)
    phase.check(run)
    return phase.work(run)


def test_replicas_disagree(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """A replica that does not know the new application yet refuses its service principal and credential in passing."""
    message = "The appId 'x' of the service principal does not reference a valid application object."
    azure.faults.failures += [
        Failure(400, "Request_BadRequest", 2, "POST", "servicePrincipals", message),
        Failure(404, "Request_ResourceNotFound", 2, "", "federatedIdentityCredentials"),
        Failure(400, "PrincipalNotFound", 2, "PUT", "roleAssignments"),
    ]
    assert set(outcomes(runs.create(**role(azure))).values()) == {PhaseOutcome.CREATED}


def test_somebody_else_was_quicker(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """What another run made a moment ago, and the lists do not show yet, is taken as it is."""
    application = azure.add_application(runs.run().request.application_name)
    azure.add_service_principal(application)
    runs.create(**role(azure))
    for item in (azure.service_principals[0], *azure.credentials[application["id"]]):
        azure._hidden[item["id"].lower()] = 1
    azure.role_assignments[0]["name"] = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"  # which another tool gave it
    azure.faults.failures.append(Failure(200, "", method="GET", fragment="roleAssignments"))
    azure.faults.raw = b'{"value": []}'
    assert set(outcomes(runs.create(**role(azure))).values()) == {PhaseOutcome.UNCHANGED}
    assert len(azure.role_assignments) == 1


def test_ambiguous_name(azure: Azure, runs: Runs) -> None:
    """Of two applications of one name none is taken, wherever in the pages they are."""
    ids = [azure.add_application("app")["appId"] for _ in range(3)]
    with pytest.raises(CommandError, match="3 applications are named 'app'") as refused:
        runs.create(aad_application_name="app")
    assert all(client_id in refused.value.message for client_id in ids)
    assert "--aad-application-client-id" in refused.value.hint
    assert azure.writes() == []


@pytest.mark.parametrize("by", ["aad_application_client_id", "aad_application_object_id", "aad_application_name"])
def test_named_application(azure: Azure, runs: Runs, outcomes: Outcomes, by: str) -> None:
    """An application that is named, by either id or its name, quotes included, is used; its service principal made."""
    application = azure.add_application("o'neill", passwordCredentials=[{"keyId": "1"}])
    value = application[{"client": "appId", "object": "id", "name": "displayName"}[by.split("_")[2]]]
    assert outcomes(runs.create(**{by: value})) == {
        "aad-application": PhaseOutcome.UPDATED,
        "federated-identity": PhaseOutcome.CREATED,
    }
    assert len(azure.applications) == 1


def test_named_application_is_not_there(azure: Azure, runs: Runs) -> None:
    """An id that is not there is refused: no application is made in its place."""
    with pytest.raises(CommandError, match="there is no application"):
        runs.create(aad_application_client_id="8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5")
    assert azure.writes() == []


def test_ids_contradict(azure: Azure, runs: Runs) -> None:
    """A client id and an object id of two applications are refused."""
    one, other = azure.add_application("one"), azure.add_application("other")
    with pytest.raises(CommandError, match=one["appId"]):
        runs.create(aad_application_object_id=one["id"], aad_application_client_id=other["appId"])


def test_planted_application(azure: Azure, runs: Runs) -> None:
    """An application by the name that anybody can derive, to which somebody holds a key, is not adopted silently."""
    name = runs.run().request.application_name
    planted = azure.add_application(name, keyCredentials=[{"keyId": "1"}])
    with pytest.raises(CommandError, match="1 secrets or certificates"):
        runs.create()
    assert azure.writes() == []
    runs.create(aad_application_client_id=planted["appId"])


def test_service_principal_is_the_applications(azure: Azure, runs: Runs) -> None:
    """A service principal that only has the same name is another's, and gets nothing."""
    other = azure.add_service_principal({"appId": "other", "displayName": runs.run().request.application_name})
    runs.create(**role(azure))
    assert azure.role_assignments[0]["properties"]["principalId"] != other["id"]


def test_long_name(runs: Runs) -> None:
    """A derived name that the directory would not take is refused before anything is sent."""
    with pytest.raises(UsageError, match="256"):
        runs.create(service_account_name="a" * 253)


# -- managed identities


def test_managed_identity(azure: Azure, runs: Runs, outcomes: Outcomes, identity: JsonObject) -> None:
    """A managed identity trusts the tokens through ARM and gets the role; Graph is not asked."""
    created = runs.create(identity_resource_id=identity["id"], **role(azure))
    assert outcomes(created) == {
        "managed-identity": PhaseOutcome.UNCHANGED,
        "federated-identity": PhaseOutcome.CREATED,
        "role-assignment": PhaseOutcome.CREATED,
    }
    (credential,) = azure.credentials[identity["id"].lower()]
    assert credential["properties"] == {
        "issuer": ISSUER,
        "subject": SUBJECT,
        "audiences": ["api://AzureADTokenExchange"],
    }
    assert azure.role_assignments[0]["properties"]["principalId"] == identity["properties"]["principalId"]
    assert azure.applications == []
    assert set(outcomes(runs.create(identity_resource_id=identity["id"], **role(azure))).values()) == {
        PhaseOutcome.UNCHANGED
    }


def test_managed_identity_is_created_where_told(azure: Azure, runs: Runs, outcomes: Outcomes) -> None:
    """A managed identity that is not there is created with a location, and refused without one."""
    azure.faults.hidden_reads = 2
    resource_id = azure.add_identity("x")["id"].replace("/x", "/new-identity")
    with pytest.raises(CommandError, match="no managed identity") as refused:
        runs.create(identity_resource_id=resource_id)
    assert "--identity-location" in refused.value.hint
    created = runs.create(identity_resource_id=resource_id, identity_location="northeurope", **role(azure))
    assert set(outcomes(created).values()) == {PhaseOutcome.CREATED}
    assert azure.identities[-1]["location"] == "northeurope"


def test_concurrent_writes(azure: Azure, runs: Runs, identity: JsonObject) -> None:
    """ARM's refusal to write two credentials of one identity at once is waited out."""
    code = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"
    azure.faults.failures.append(Failure(409, code, 2, "PUT"))
    assert runs.create(identity_resource_id=identity["id"])["federated-identity"].outcome is PhaseOutcome.CREATED


# -- federated credentials


def test_full(azure: Azure, runs: Runs, identity: JsonObject) -> None:
    """The 21st credential is refused before it is sent, with what to do."""
    azure.credentials[identity["id"].lower()] += [
        {
            "id": f"{identity['id']}/federatedIdentityCredentials/{number}",
            "name": str(number),
            "properties": {"issuer": ISSUER, "subject": f"{SUBJECT}-{number}", "audiences": ["x"]},
        }
        for number in range(20)
    ]
    with pytest.raises(CommandError, match="20 federated credentials") as refused:
        runs.create(identity_resource_id=identity["id"])
    assert "another identity" in refused.value.hint
    assert azure.writes() == []


def test_collision_of_names(azure: Azure, runs: Runs) -> None:
    """Two accounts whose credentials v1.6.0 gives one name both get one."""
    given = {"aad_application_name": "shared"}
    runs.create(service_account_namespace="a-b", service_account_name="c", **given)
    created = runs.create(service_account_namespace="a", service_account_name="b-c", **given)
    assert created["federated-identity"].outcome is PhaseOutcome.CREATED
    credentials = azure.credentials[azure.applications[0]["id"]]
    assert len({credential["name"] for credential in credentials}) == 2


def test_other_audience(azure: Azure, runs: Runs) -> None:
    """A credential for the same tokens with another audience is not taken for the one that is wanted."""
    runs.create()
    azure.credentials[azure.applications[0]["id"]][0]["audiences"] = ["api://AzureADTokenExchangeChina"]
    with pytest.raises(CommandError, match="AzureADTokenExchangeChina"):
        runs.create()


def test_near_miss(runs: Runs) -> None:
    """A credential whose issuer lacks the slash is reported, and the right one is made."""
    runs.create(aad_application_name="app", service_account_issuer_url=ISSUER.rstrip("/"))
    step = runs.create(aad_application_name="app")["federated-identity"]
    assert step.outcome is PhaseOutcome.CREATED
    assert any("nearly" in note for note in step.notes)


@pytest.mark.parametrize(
    "issuer", ["http://issuer.test/", "issuer.test", "https://issuer.test/?a=b", "https://u@issuer.test", "https://a b"]
)
def test_impossible_issuer(azure: Azure, runs: Runs, issuer: str) -> None:
    """An issuer that no token can have is wrong usage."""
    with pytest.raises(UsageError, match="cannot be an issuer"):
        runs.create(service_account_issuer_url=issuer)
    assert azure.requests == []


def test_issuer_calls_itself_otherwise(
    azure: Azure, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer whose document names another, by a slash even, is refused; one that agrees is taken without a note."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "issuer.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "issuer.pem"))
    with listening(lambda request: Answer(200, {"issuer": f"{request.base}/"}), context) as url:
        with pytest.raises(CommandError, match="every byte counts"):
            runs.create(service_account_issuer_url=url)
        assert runs.create(service_account_issuer_url=f"{url}/")["federated-identity"].notes == ()
    assert len(azure.credentials[azure.applications[-1]["id"]]) == 1


def test_unreachable_issuer(runs: Runs) -> None:
    """An issuer that cannot be read from here is reported: Entra must be able to."""
    (note,) = runs.create()["federated-identity"].notes
    assert "Entra must be able to read it" in note


# -- roles


def test_failed_role_is_a_failure(azure: Azure, runs: Runs) -> None:
    """A role assignment that Azure refuses is never reported as done."""
    azure.faults.failures.append(Failure(403, "AuthorizationFailed", 99, "PUT", "roleAssignments"))
    with pytest.raises(PhaseError, match="AuthorizationFailed") as failed:
        runs.create(**role(azure))
    assert "Role Based Access Control Administrator" in failed.value.hint
    assert azure.role_assignments == []


def test_role_is_assigned_once(azure: Azure, runs: Runs, identity: JsonObject) -> None:
    """The name of an assignment depends on scope, role and principal alone: another machine makes no second one."""
    given = {"identity_resource_id": identity["id"], **role(azure)}
    runs.create(**given)
    name = azure.role_assignments.pop()["name"]
    runs.create(**given)
    assert azure.role_assignments[0]["name"] == name
    assert str(UUID(name)) == name


def test_role_elsewhere_is_another(azure: Azure, runs: Runs, identity: JsonObject) -> None:
    """A role above or below the scope is not the role at the scope."""
    runs.create(
        identity_resource_id=identity["id"], azure_scope=f"/subscriptions/{azure.subscription}", azure_role="Reader"
    )
    step = runs.create(identity_resource_id=identity["id"], **role(azure))["role-assignment"]
    assert step.outcome is PhaseOutcome.CREATED
    assert len(azure.role_assignments) == 2


@pytest.mark.parametrize("by", ["name", "guid", "id"])
def test_custom_role(azure: Azure, runs: Runs, by: str) -> None:
    """A role that is made for the subscription is found there, by name, GUID or id."""
    guid = "b24988ac-6180-42a0-ab88-20f7382dd24c"
    azure.role_definitions.append(azure.role("Queue's Reader", guid))
    name = {"name": "Queue's Reader", "guid": guid, "id": f"/providers/Microsoft.Authorization/roleDefinitions/{guid}"}
    runs.create(**role(azure, name[by]))
    assert azure.role_assignments[0]["properties"]["roleDefinitionId"].endswith(guid)


def test_unknown_role(azure: Azure, runs: Runs) -> None:
    """A mistyped role is refused."""
    with pytest.raises(CommandError, match="no role 'Raeder'"):
        runs.create(**role(azure, "Raeder"))


def test_ambiguous_role(azure: Azure, runs: Runs) -> None:
    """Of two roles of one name none is assigned."""
    azure.role_definitions.append(azure.role("Reader", "b24988ac-6180-42a0-ab88-20f7382dd24c"))
    with pytest.raises(CommandError, match="2 roles are named 'Reader'"):
        runs.create(**role(azure))


@pytest.mark.parametrize(
    "scope", ["", "/", "subscriptions", "/subscriptions/x", "/subscription/5f9c2b1a-0000-4000-8000-9b8e7d6c5a43", "a?b"]
)
def test_impossible_scope(azure: Azure, runs: Runs, scope: str) -> None:
    """A mistyped scope, or a role without one, is wrong usage."""
    with pytest.raises(UsageError, match="--azure-scope"):
        runs.create(azure_scope=scope, azure_role="Reader")
    assert azure.writes() == []


def test_no_role(azure: Azure, runs: Runs) -> None:
    """Without a scope and a role the phase is left out, and says so."""
    assert "--azure-scope" in runs.create()["role-assignment"].what
    assert azure.role_assignments == []


def test_principal_by_name(azure: Azure, runs: Runs) -> None:
    """A service principal is found by its name, and refused when the name is not unique."""
    principal = azure.add_service_principal(azure.add_application("worker"))
    given = {"service_principal_name": "worker", **role(azure)}
    step = runs_phase("role-assignment", runs.run(**given))
    assert step.details["principal"] == principal["id"]
    azure.add_service_principal(azure.add_application("worker"))
    with pytest.raises(CommandError, match="2 service principals"):
        runs_phase("role-assignment", runs.run(**given))


# -- dry run


def test_dry_run(azure: Azure, runs: Runs) -> None:
    """A dry run sends no change and plans every one, with what only the sending would tell left open."""
    runs.plan = Plan()
    runs.create(**role(azure))
    assert azure.writes() == []
    assert [request.method for request in runs.plan.requests] == ["POST", "POST", "POST", "PUT"]
    principal = runs.plan.requests[1].body
    assert principal["appId"] == "<client id of the new application>"


def test_dry_run_of_what_is_there(azure: Azure, runs: Runs) -> None:
    """A dry run of what is as it should be plans nothing."""
    runs.create(**role(azure))
    runs.plan = Plan()
    runs.create(**role(azure))
    assert runs.plan.requests == []


def test_dry_run_of_an_identity(azure: Azure, runs: Runs) -> None:
    """A dry run plans an identity that would be created, its credential and its role."""
    runs.plan = Plan()
    resource_id = azure.add_identity("x")["id"].replace("/x", "/new-identity")
    runs.create(identity_resource_id=resource_id, identity_location="northeurope", **role(azure))
    assert [request.url.split("?")[0].split("/")[-2] for request in runs.plan.requests] == [
        "userAssignedIdentities",
        "federatedIdentityCredentials",
        "roleAssignments",
    ]
