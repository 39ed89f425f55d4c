"""Webhooks that are not there, not alone, or not called."""

import json
from pathlib import Path

import pytest

from azure_workload_identity import names
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID
from testbed.cluster.server import TENANT_ID, Server, configuration, register, scope
from testbed.processes import until
from tests.cluster.support.patient import Patient, account, deployment


def test_several_webhooks(patient: Patient) -> None:
    """Of two webhooks for the same pods the one that nobody serves is the one to remove."""
    second = configuration("second", "", b"", namespaceSelector={"matchLabels": scope("main")})
    second["webhooks"][0]["clientConfig"] = {"service": {"name": "gone", "namespace": "default", "path": "/"}}
    second["webhooks"][0]["failurePolicy"] = "Ignore"
    patient.plane.apply(second)
    try:
        finding = patient.one("several-webhooks")
        assert finding["severity"] == "warning"
        assert patient.one("service-missing")["subject"] == "MutatingWebhookConfiguration second"
        patient.fixed("several-webhooks")
        assert patient.found("service-missing") == []
    finally:
        patient.plane.kubectl("delete", "mutatingwebhookconfiguration", "second", "--ignore-not-found")


def test_service_missing(patient: Patient) -> None:
    """What is left of an installation that went is removed."""
    left = configuration("left-behind", "", b"")
    left["webhooks"][0]["clientConfig"] = {"service": {"name": "gone", "namespace": "default"}}
    patient.plane.apply(left)
    assert patient.fixed("service-missing")["severity"] == "error"


def test_namespace_not_watched(patient: Patient, plane: ControlPlane) -> None:
    """A namespace that no webhook is sent pods of is reported, and labelled as the webhook wants it."""
    elsewhere = Patient(plane, plane.create_namespace(), patient.directory)
    plane.create_service_account(elsewhere.namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    elsewhere.apply(deployment())
    elsewhere.fixed("namespace-not-watched")
    stored = plane.request("GET", f"/api/v1/namespaces/{elsewhere.namespace}")
    assert stored["metadata"]["labels"].items() >= scope("main").items()


def test_namespace_excluded(patient: Patient, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace that a webhook excludes by its name, which no label can change, is taken out of its selector."""
    namespace = plane.create_namespace(scope("second"))
    plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    excluded = Patient(plane, namespace, patient.directory)
    excluded.apply(deployment())
    expression = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [namespace]}
    second = configuration("a-second", "https://127.0.0.1:1/", b"")
    second["webhooks"][0]["namespaceSelector"] = {"matchLabels": scope("second"), "matchExpressions": [expression]}
    del second["webhooks"][0]["clientConfig"]["caBundle"]
    second["webhooks"][0]["failurePolicy"] = "Ignore"
    plane.apply(second)
    try:
        monkeypatch.setenv("KUBE_EDITOR", f"sed -i s/-.{namespace}$/-\\ other/")
        finding = excluded.fixed("namespace-not-watched")
        assert finding["fix"].endswith(" edit mutatingwebhookconfiguration a-second")
    finally:
        plane.kubectl("delete", "mutatingwebhookconfiguration", "a-second")


def test_several_managers(patient: Patient, server: Server) -> None:
    """A caBundle that several managers own becomes one's."""
    mine = configuration("main", server.url + names.MUTATE_PATH, server.ca_pem)
    for manager in ("argocd", "somebody"):
        text = json.dumps(mine)
        apply = ("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-f", "-")
        assert patient.plane.kubectl(*apply, stdin=text).returncode == 0
    finding = patient.fixed("cabundle-contested")
    assert any(line.startswith("argocd (Apply)") for line in finding["evidence"])


ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "workload-identity-webhook"


@pytest.mark.skipif(not CHART.exists(), reason="the chart is not in this tree")
def test_not_installed(patient: Patient, server: Server) -> None:
    """Where no webhook is installed the printed command installs it; as a second one it is uninstalled."""
    patient.apply(account({names.CLIENT_ID: CLIENT_ID, names.TENANT_ID: TENANT_ID}))
    patient.plane.kubectl("delete", "mutatingwebhookconfiguration", "main")
    (patient.directory / "charts").symlink_to(CHART.parent)
    flags = f"--kubeconfig={patient.plane.kubeconfig}"
    try:
        installed = patient.fixed("not-installed")
        assert "helm" in patient.fixed("webhook-present", "azwi", "--pre")["fix"]
        patient.run(installed["fix"])
        patient.plane.apply(configuration("main", server.url + names.MUTATE_PATH, server.ca_pem))
        assert "helm" in patient.fixed("several-webhooks")["fix"]
    finally:
        patient.run(f"helm {flags} uninstall azwi --namespace azwi-system --ignore-not-found")
        register(patient.plane, server, "main")


def test_forbidden(patient: Patient) -> None:
    """Somebody who may see nothing gets what could not be looked at, instead of a failure."""
    kubeconfig = patient.plane.kubeconfig_for(patient.namespace, "app")
    document = json.loads(patient.doctor("-o", "json", kubeconfig=kubeconfig).stdout)
    assert document["findings"] == []
    unreadable = {gap["what"] for gap in document["notLookedAt"]}
    assert {"webhook configurations", "ServiceAccounts", "pods", "NetworkPolicies"} <= unreadable


def test_accounts_unread(patient: Patient) -> None:
    """Accounts that may not be read are not taken for missing ones, or for ones without identity."""
    patient.apply(deployment())
    create = patient.plane.kubectl
    resources = ("--verb=get,list", "--resource=deployments.apps,pods")
    create("create", "role", "reader", *resources, "-n", patient.namespace)
    create("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={patient.namespace}:app", "-n",
           patient.namespace)  # fmt: skip
    kubeconfig = patient.plane.kubeconfig_for(patient.namespace, "app")
    until(lambda: patient.plane.may("list", "deployments.apps", "-n", patient.namespace, kubeconfig=kubeconfig))
    document = json.loads(patient.doctor("-o", "json", kubeconfig=kubeconfig).stdout)
    assert document["findings"] == []
    unreadable = {gap["what"] for gap in document["notLookedAt"]}
    assert "ServiceAccounts" in unreadable
    assert "deployments" not in unreadable


def test_nowhere(patient: Patient) -> None:
    """A namespace, pod or account that is not there is a failure that says so."""
    for words in (["-n", "nowhere"], ["--pod", "nothing"], ["--service-account", "nobody"]):
        done = patient.doctor(*words)
        assert done.exit_code == 1
        assert done.stderr.startswith("azwi: there is no "), done.stderr
