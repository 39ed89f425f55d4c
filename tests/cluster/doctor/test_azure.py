"""What Azure trusts, compared with the tokens of the cluster, and fixed there."""

from uuid import uuid4

import pytest

from azure_workload_identity import names
from testbed.azure_management import Azure
from tests.cluster.support.patient import Patient, account, deployment

ISSUER = "https://issuer.azwi.test/"
KINDS = ("application", "managed identity")


def identity(azure: Azure, kind: str) -> tuple[str, str]:
    """Create an identity; its client id and the key of its credentials."""
    if kind == "application":
        application = azure.add_application("web")
        azure.add_service_principal(application)
        return application["appId"], application["id"]
    created = azure.add_identity("web")
    return created["properties"]["clientId"], created["id"].lower()


def add_credential(azure: Azure, key: str, kind: str, name: str, **fields: str) -> None:
    """Add a federated credential, by default one that nobody uses."""
    trusted = {"issuer": ISSUER, "subject": "system:serviceaccount:other:other", **fields}
    audiences = [trusted.pop("audience", names.DEFAULT_AUDIENCE)]
    properties = {**trusted, "audiences": audiences}
    credential = properties if kind == "application" else {"properties": properties}
    azure.credentials[key].append({"id": str(uuid4()), "name": name, **credential})


def annotated(patient: Patient, client_id: str) -> str:
    """Annotate the account `app`; its subject."""
    patient.apply(account({names.CLIENT_ID: client_id}))
    return f"system:serviceaccount:{patient.namespace}:app"


@pytest.mark.parametrize("kind", KINDS)
def test_trusted(patient: Patient, azure: Azure, kind: str) -> None:
    """A credential that fits to the byte is no finding, and everything was looked at."""
    client_id, key = identity(azure, kind)
    add_credential(azure, key, kind, "right", subject=annotated(patient, client_id))
    document = patient.examined()
    assert (document["outcome"], document["findings"], document["notLookedAt"]) == ("ok", [], [])
    assert {check["status"] for check in document["checks"]} == {"ok"}


def test_missing(patient: Patient, azure: Azure) -> None:
    """An identity that trusts others only comes to trust the account's tokens."""
    client_id, key = identity(azure, "managed identity")
    add_credential(azure, key, "managed identity", "another")
    annotated(patient, client_id)
    patient.fixed("credential-missing")


def test_issuer(patient: Patient, azure: Azure) -> None:
    """An issuer without its slash is another one."""
    client_id, key = identity(azure, "application")
    add_credential(azure, key, "application", "wrong", subject=annotated(patient, client_id), issuer=ISSUER[:-1])
    assert f"they differ from byte {len(ISSUER)} on" in patient.fixed("issuer-differs")["evidence"]


def test_subject(patient: Patient, azure: Azure) -> None:
    """A subject of another case is another one."""
    client_id, key = identity(azure, "managed identity")
    add_credential(
        azure, key, "managed identity", "wrong", subject=annotated(patient, client_id).replace(":app", ":App")
    )
    patient.fixed("subject-differs")


@pytest.mark.parametrize("kind", KINDS)
def test_audience(patient: Patient, azure: Azure, kind: str) -> None:
    """A credential for another audience is replaced."""
    client_id, key = identity(azure, kind)
    wrong = f"{names.DEFAULT_AUDIENCE}/"
    add_credential(azure, key, kind, "wrong", subject=annotated(patient, client_id), audience=wrong)
    patient.fixed("audience-differs")
    assert len(azure.credentials[key]) == 1


def test_full(patient: Patient, azure: Azure) -> None:
    """Of twenty credentials one of an account that is gone makes room."""
    client_id, key = identity(azure, "application")
    gone = f"system:serviceaccount:{patient.namespace}:gone"
    add_credential(azure, key, "application", "gone", subject=gone)
    for number in range(19):
        add_credential(azure, key, "application", f"other-{number}", subject=f"system:serviceaccount:else:{number}")
    annotated(patient, client_id)
    patient.fixed("credentials-full")
    held = azure.credentials[key]
    assert len(held) == 20
    assert gone not in [credential.get("properties", credential)["subject"] for credential in held]


def test_identity_missing(patient: Patient, azure: Azure) -> None:
    """A client id that is nobody's becomes that of a new application."""
    annotated(patient, "6f3e1a52-2a14-4c1f-8c4f-7a3c5b0b1d11")
    patient.fixed("identity-missing")
    assert len(azure.applications) == 1


def test_invalid_client_id(patient: Patient, azure: Azure) -> None:
    """A client id that cannot be one, which somebody wrote with kubectl, gives way to that of a new application."""
    annotate = ("annotate", "--overwrite", "serviceaccount", "app", f"{names.CLIENT_ID}=not an id")
    assert patient.plane.kubectl(*annotate, "-n", patient.namespace).returncode == 0
    patient.apply(deployment())
    patient.fixed("pod-refused")
    assert len(azure.applications) == 1


def test_no_client_id(patient: Patient, azure: Azure) -> None:
    """An account without a client id gets an application, and is trusted by it."""
    patient.plane.create_service_account(patient.namespace, "bare")
    patient.apply(deployment(serviceAccountName="bare"))
    assert patient.one("no-client-id")["subject"] == f"ServiceAccount {patient.namespace}/bare"
    patient.fixed("no-client-id")
    (application,) = azure.applications
    assert patient.get("serviceaccounts", "bare")["metadata"]["annotations"][names.CLIENT_ID] == application["appId"]
    assert [finding for finding in patient.examined()["findings"] if "bare" in finding["subject"]] == []


def test_clock(patient: Patient, azure: Azure) -> None:
    """The API server's clock is compared with Azure's, which judges its tokens."""
    client_id, key = identity(azure, "application")
    add_credential(azure, key, "application", "right", subject=annotated(patient, client_id))
    azure.faults.clock_ahead = 600
    finding = patient.one("clock-skew")
    assert "behind Azure's" in finding["what"]
    assert [line.partition(" 2")[0] for line in finding["evidence"]] == ["API server", "Azure"]
    azure.faults.clock_ahead = 0
    assert patient.examined()["findings"] == []


def test_denied(patient: Patient, azure: Azure) -> None:
    """Where Graph may not be read, that is reported, and the rest is looked at."""
    client_id, _ = identity(azure, "application")
    annotated(patient, client_id)
    azure.permissions.clear()
    document = patient.examined()
    assert document["findings"] == []
    assert [gap["what"] for gap in document["notLookedAt"]] == [f"federated credentials of {client_id}"]
