"""Admissions of manifests by the webhook's own code."""

import copy
from pathlib import Path
from typing import Any

import pytest

from azure_workload_identity import names
from azwi_cli.offline import admissions
from azwi_cli.offline.admissions import AdmissionContext
from tests.azwi_cli.commands.test_mutate import ACCOUNT, DEPLOYMENT, TEMPLATE, ran
from tests.test_cases import FOLDERS, given_by, read
from webhook.accounts.files import accounts_in
from webhook.admission.identity import Account


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_golden_cases(folder: Path) -> None:
    """Every golden case ends offline as it does at the server, as a pod and in a Deployment."""
    given, pod = given_by(folder), read(folder / "pod.yaml")
    accounts = accounts_in([read(folder / "serviceaccount.yaml")])

    def find(namespace: str, name: str) -> Account | None:
        return accounts.get((namespace, name))

    context = AdmissionContext(find, lambda _: given.namespace_labelled, given.policy(), given.namespace)
    expected, response = read(folder / "expected.yaml"), read(folder / "response.yaml")
    documents: list[Any] = [pod, {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": pod}}]
    for document in documents:
        before = copy.deepcopy(document)
        in_namespace = {**document, "metadata": {**(document.get("metadata") or {}), "namespace": given.namespace}}
        [admission] = admissions.mutate(in_namespace, context).admissions
        assert (str(admission.outcome.decision), str(admission.outcome.reason)) == (
            response["decision"],
            response["reason"],
        )
        result = admissions.mutate(document, context)
        after = result.after().get("spec", {}).get("template") if document["kind"] == "Deployment" else result.after()
        assert after == (expected or pod)
        assert document == before


def test_namespace_label() -> None:
    """A Namespace among the documents opts its pods in, where the server is set up so."""
    namespace = {"kind": "Namespace", "metadata": {"name": "default", "labels": {names.USE_LABEL: "true"}}}
    pod = {"kind": "Pod", "metadata": {"name": "x"}, "spec": {**TEMPLATE["spec"]}}
    done = ran(namespace, ACCOUNT, pod, arguments=("--opt-in", "namespace-label", "--explain"))
    assert "injected" in done.stdout


@pytest.mark.parametrize("namespace", ["Not A Name", "a/b"])
def test_impossible_namespace(namespace: str) -> None:
    """A namespace that cannot be one is refused: on the command line as wrong usage, in a manifest as its fault."""
    done = ran(DEPLOYMENT, arguments=("-n", namespace))
    assert done.exit_code == 2
    assert "cannot be its name in Kubernetes" in done.stderr
    metadata = {**DEPLOYMENT["metadata"], "namespace": namespace}
    done = ran({**DEPLOYMENT, "metadata": metadata})
    assert done.exit_code == 1
    assert "is not a namespace's name" in done.stderr
