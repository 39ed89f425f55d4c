"""Identities by the mapping: bad entries are reported, and what Azure trusts is compared for its accounts."""

import json

import pytest

from testbed.azure_management import Azure
from testbed.cluster.manifests import CLIENT_ID
from tests.cluster.doctor.test_azure import add_credential, identity
from tests.cluster.support.doctor_release import server_deployment
from tests.cluster.support.installation import Installation
from tests.cluster.support.patient import Patient, deployment

NOBODYS = "6f3e1a52-2a14-4c1f-8c4f-7a3c5b0b1d11"


def given(release: Installation, **data: str) -> None:
    """Start the server with the mapping of a ConfigMap, and write that unless there is no data."""
    release.control_plane.apply(server_deployment(release, 2, "--identity-mapping-configmap=map"))
    if data:
        metadata = {"name": "map", "namespace": release.name}
        release.control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def mapping(*entries: object) -> dict[str, str]:
    """Write the data of a ConfigMap."""
    return {"mapping.yaml": json.dumps({"mappings": entries})}


def edit(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Edit as sed does, where kubectl starts an editor."""
    monkeypatch.setenv("KUBE_EDITOR", f"sed -i {script}")


def test_bad_entry(patient: Patient, release: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that the server leaves out is reported with its place, and edited."""
    good = {"namespace": "shop", "clientId": CLIENT_ID}
    given(release, **mapping(good, {"namespace": "shop", "clientId": "wrong"}))
    edit(monkeypatch, f"s/wrong/{CLIENT_ID}/")
    finding = patient.fixed("mapping-entry-invalid")
    assert finding["subject"] == f"ConfigMap {release.name}/map"
    assert finding["evidence"] == ["mappings.1.clientId: must be a UUID"]


def test_no_mapping(patient: Patient, release: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ConfigMap without the key is reported, and edited."""
    given(release, mapping='{"mappings": []}')
    edit(monkeypatch, "s/mapping:/mapping.yaml:/")
    assert patient.fixed("mapping-unreadable")["evidence"] == ["it has no key mapping.yaml"]


def test_missing(patient: Patient, release: Installation) -> None:
    """A ConfigMap that is gone is reported, and made from the file that its admin has."""
    given(release)
    (patient.directory / "mapping.yaml").write_text("mappings: []")
    patient.fixed("mapping-missing")


def by_entry(patient: Patient, release: Installation, client_id: str) -> str:
    """Give the identity to an account without annotations by an entry, and use the account; its subject."""
    patient.plane.create_service_account(patient.namespace, "plain")
    given(release, **mapping({"namespace": patient.namespace, "serviceAccount": "pl*", "clientId": client_id}))
    patient.apply(deployment(serviceAccountName="plain"))
    return f"ServiceAccount {patient.namespace}/plain"


def test_credential(patient: Patient, release: Installation, azure: Azure) -> None:
    """What an entry's identity trusts is compared with the tokens of the account that the entry is for."""
    client_id, key = identity(azure, "managed identity")
    add_credential(azure, key, "managed identity", "another")
    patient.fixed("credential-missing", by_entry(patient, release, client_id))


def test_nobodys(patient: Patient, release: Installation, azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client id of the mapping that is nobody's gives way to that of a new application, in the mapping."""
    subject = by_entry(patient, release, NOBODYS)
    finding = patient.one("identity-missing", subject)
    assert f"by ConfigMap {release.name}/map, entry for" in finding["evidence"][1]
    create, _, change = finding["fix"].partition(" && ")
    assert azure.applications == []
    output = patient.run(create)
    (application,) = azure.applications
    assert application["appId"] in output
    edit(monkeypatch, f"s/{NOBODYS}/{application['appId']}/")
    patient.run(change)
    assert [finding for finding in patient.examined()["findings"] if subject in finding["subject"]] == []
    assert not patient.get("serviceaccounts", "plain")["metadata"].get("annotations")


def test_file_of_the_server(patient: Patient, release: Installation) -> None:
    """A mapping in a file of the server's pods cannot be looked at, which is reported."""
    release.control_plane.apply(server_deployment(release, 2, "--identity-mapping=/etc/azwi/mapping.yaml"))
    unreadable = {gap["what"]: gap["why"] for gap in patient.examined()["notLookedAt"]}
    assert "/etc/azwi/mapping.yaml" in unreadable["the identity mapping"]
