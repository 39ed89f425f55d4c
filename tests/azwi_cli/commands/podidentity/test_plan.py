"""From a snapshot of a cluster to a migration."""

import dataclasses
from typing import Any

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.podidentity import plan
from azwi_cli.commands.podidentity.plan import Migration, MigrationOptions, MigrationPlan, Skipped
from azwi_cli.commands.podidentity.workloads import PodIdentityResources
from tests.azwi_cli.commands.podidentity.objects import (
    OTHER_CLIENT,
    account,
    binding,
    exception,
    identity,
    pod_template,
    workload,
)

PLAIN = PodIdentityResources(identities=[identity()], bindings=[binding()], accounts=[account("default")])
OTHER = [identity(), identity("other", client_id=OTHER_CLIENT)]
OTHER_BINDINGS = [binding(), binding("other", selector="other", azure_identity="other")]
BOUND_TO_OTHER = {"aadpodidbinding": "other"}


def planned(*workloads: JsonObject, options: MigrationOptions | None = None, **changes: Any) -> MigrationPlan:  # noqa: ANN401  fields of a snapshot
    """Plan for workloads in a cluster with one identity, or with what `changes` says."""
    snapshot = dataclasses.replace(PLAIN, workloads=workloads, **changes)
    return plan.make(snapshot, options or MigrationOptions())


def migration(*workloads: JsonObject, **changes: Any) -> Migration:  # noqa: ANN401  as above
    """Plan for a cluster with one migration and nothing left out."""
    made = planned(*workloads, **changes)
    assert made.skipped == []
    [found] = made.migrations
    return found


def left_out(*workloads: JsonObject, **changes: Any) -> str:  # noqa: ANN401  as above
    """Return why nothing is migrated."""
    made = planned(*workloads, **changes)
    assert made.migrations == []
    [skipped] = made.skipped
    return skipped.why


def test_default_account() -> None:
    """A workload of the default account gets one of its own, named as it is."""
    found = migration(workload())
    assert found.service_account == "web"
    assert found.subject == "system:serviceaccount:shop:web"
    assert found.file == "shop.deployment.web.yaml"
    assert [document["kind"] for document in found.documents] == ["ServiceAccount", "Deployment"]


def test_own_account() -> None:
    """A workload with an account keeps it."""
    found = migration(workload(serviceAccountName="app"), accounts=[account("app")])
    assert found.service_account == "app"


def test_account_of_somebody_else() -> None:
    """An account that happens to have the workload's name is not taken."""
    assert migration(workload(), accounts=[account("web")]).service_account == "web-deployment"
    assert "have other identities" in left_out(workload(), accounts=[account("web"), account("web-deployment")])


def test_again() -> None:
    """An account that was made for it before is used again."""
    made = migration(workload())
    again = migration(workload(), accounts=[made.documents[0]])
    assert again.service_account == "web"


def test_two_kinds_of_one_name() -> None:
    """Two workloads of one name share an account and not a file, and get two accounts for two identities."""
    made = planned(workload(), workload("CronJob"))
    assert {migration.service_account for migration in made.migrations} == {"web"}
    assert len({migration.file for migration in made.migrations}) == 2

    made = planned(workload(), workload("CronJob", labels=BOUND_TO_OTHER), identities=OTHER, bindings=OTHER_BINDINGS)
    assert [(migration.kind, migration.service_account) for migration in made.migrations] == [
        ("CronJob", "web"),
        ("Deployment", "web-deployment"),
    ]


def test_one_account_two_identities() -> None:
    """An account cannot have two identities: the second workload is left out, and always the same one."""
    one = workload(name="a", serviceAccountName="app")
    two = workload(name="b", serviceAccountName="app", labels=BOUND_TO_OTHER)
    for order in ([one, two], [two, one]):
        made = planned(*order, identities=OTHER, bindings=OTHER_BINDINGS, accounts=[account("app")])
        assert [migration.name for migration in made.migrations] == ["a"]
        assert "give it a ServiceAccount of its own" in made.skipped[0].why


@pytest.mark.parametrize(
    ("live", "accounts", "why"),
    [
        (workload(serviceAccountName="app"), [], "does not exist"),
        (workload(serviceAccountName="app"), [account("app", annotations={names.CLIENT_ID: "x"})], "client id x"),
        (workload(labels={"aadpodidbinding": "none"}), [], "no AzureIdentityBinding for it has the selector 'none'"),
        (workload(labels={"aadpodidbinding": "shop", names.USE_LABEL: "true"}), [], "opted in already"),
        (workload(nodeSelector={"kubernetes.io/os": "windows"}), [], "the webhook would not take it"),
        (workload(hostNetwork=True), [], "the webhook would not take it"),
    ],
)
def test_left_out(live: JsonObject, accounts: list[JsonObject], why: str) -> None:
    """What cannot be migrated is left out with the reason."""
    assert why in left_out(live, accounts=accounts)


def test_exception() -> None:
    """A workload that pod identity does not serve is left alone."""
    assert "AzurePodIdentityException exempt" in left_out(workload(), exceptions=[exception({"app": "web"})])


def test_broken_binding() -> None:
    """A broken binding is reported beside what is migrated."""
    made = planned(workload(), bindings=[binding(), binding("lost", azure_identity="none")])
    assert len(made.migrations) == 1
    assert made.skipped == [
        Skipped("shop", "AzureIdentityBinding", "lost", "there is no AzureIdentity none in its namespace")
    ]


def test_unknown_owner() -> None:
    """An unknown owner is reported, with what to do by hand."""
    rollout = {"kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1", "metadata": {"name": "roll", "uid": "r"}}
    made = planned(workload("ReplicaSet", owner=rollout))
    assert (made.skipped[0].kind, made.skipped[0].name) == ("Rollout", "roll")
    assert names.USE_LABEL in made.skipped[0].why


def test_several_identities() -> None:
    """Of several identities that of its own namespace counts, and the others are reported."""
    identities = [identity(namespace="a", client_id=OTHER_CLIENT), identity(), identity(namespace="z")]
    bindings = [binding(namespace="a"), binding(), binding(namespace="z")]
    found = migration(workload(), identities=identities, bindings=bindings)
    assert str(found.identity) == "shop/shop"
    [note] = found.notes
    assert OTHER_CLIENT in note


def test_across_namespaces() -> None:
    """A binding of another namespace counts, unless bindings are forced into theirs."""
    elsewhere = workload(namespace="elsewhere")
    assert migration(elsewhere).identity.namespace == "shop"
    assert planned(elsewhere, options=MigrationOptions(force_namespaced=True)).migrations == []


@pytest.mark.parametrize(("kind", "expected"), [("Job", "replace --force"), ("ReplicaSet", "until they are deleted")])
def test_notes(kind: str, expected: str) -> None:
    """What applying alone does not do is reported."""
    assert expected in " ".join(migration(workload(kind)).notes)


def test_application() -> None:
    """An application with a secret is migrated, too; its tenant is kept and its secret not needed."""
    found = migration(workload(), identities=[identity(type=1, tenantID="t.example.com")])
    assert found.documents[0]["metadata"]["annotations"][names.TENANT_ID] == "t.example.com"
    assert "its secret is not needed" in found.notes[0]


def test_impossible_tenant() -> None:
    """An identity whose tenant cannot be one keeps its own workload from being migrated, and no other."""
    made = planned(
        workload(),
        workload(name="other", labels=BOUND_TO_OTHER),
        identities=[identity(), identity("other", client_id=OTHER_CLIENT, tenantID="no tenant")],
        bindings=OTHER_BINDINGS,
    )
    assert [migration.name for migration in made.migrations] == ["web"]
    assert "tenant-id" in made.skipped[0].why


def test_too_many_credentials() -> None:
    """More than 20 federated credentials for one identity are reported."""
    assert planned(*(workload(name=f"web-{number}") for number in range(20))).notes == []
    [note] = planned(*(workload(name=f"web-{number}") for number in range(21))).notes
    assert "21 federated credentials" in note


def test_warnings_of_the_webhook() -> None:
    """What the webhook will warn of is reported before."""
    template = pod_template("web")
    template["spec"]["containers"][0]["env"] = [{"name": "AZURE_CLIENT_SECRET", "value": "x"}]
    notes = migration(workload(containers=template["spec"]["containers"])).notes
    assert any("AZURE_CLIENT_SECRET" in note for note in notes)
