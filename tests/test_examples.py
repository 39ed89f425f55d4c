"""The examples do what their comments say."""

from typing import Final

import jsonpatch
import pytest
import yaml

from azure_workload_identity.types import JsonObject
from testbed.program import ROOT, TENANT, review
from webhook.accounts.files import FileAccounts
from webhook.admission.admit import admit
from webhook.admission.identity import IdentityMapping
from webhook.admission.review import Review
from webhook.config.command_line import load
from webhook.config.policies import build

EXAMPLES: Final = ROOT / "examples"


def mutated(name: str, *flags: str) -> tuple[JsonObject, list[str]]:
    """Admit the pod of an example: the pod as stored, and the codes of its warnings."""
    documents = list(yaml.safe_load_all((EXAMPLES / f"{name}.yaml").read_text()))
    pod = next(document for document in documents if document["kind"] == "Pod")
    policy = build(
        load([f"--service-accounts={EXAMPLES}", *flags], {"AZURE_TENANT_ID": TENANT}), IdentityMapping(), None
    )
    accounts = FileAccounts(EXAMPLES)
    parsed = Review.parse(review(pod, pod["metadata"]["namespace"]))
    outcome = admit(parsed, accounts.cached, policy)
    after: JsonObject = jsonpatch.apply_patch(pod, list(outcome.operations))
    return after, [warning.code for warning in outcome.warnings]


def client_id(container: JsonObject) -> str:
    """Return the client id that a container is given."""
    return next(str(entry["value"]) for entry in container["env"] if entry["name"] == "AZURE_CLIENT_ID")


@pytest.mark.parametrize("name", ["quickstart", "proxy-redirect", "proxy-environment"])
def test_labelled_examples(name: str) -> None:
    """A labelled example is mutated without a warning."""
    pod, warnings = mutated(name)
    assert client_id(pod["spec"]["containers"][0]) == "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"
    assert warnings == []


def test_service_account_only() -> None:
    """The example without a label is mutated when ServiceAccounts opt in, and only then."""
    pod, _ = mutated("service-account-only", "--opt-in=service-account")
    assert client_id(pod["spec"]["containers"][0]) == "2e6a9c41-7b0d-4f3e-8c52-9d1a6b7e0f34"
    untouched, _ = mutated("service-account-only")
    assert "volumes" not in untouched["spec"]


def test_two_identities() -> None:
    """In the example of two identities each container has its own."""
    pod, warnings = mutated("two-identities")
    reader, writer = pod["spec"]["containers"]
    assert client_id(reader) != client_id(writer)
    assert warnings == ["shadowed-variable"]


def test_proxy_modes() -> None:
    """The example of redirection has the init container, that of the environment has the variable."""
    redirect, _ = mutated("proxy-redirect")
    assert [container["name"] for container in redirect["spec"]["initContainers"]] == ["azwi-proxy-init", "azwi-proxy"]
    environment, _ = mutated("proxy-environment")
    assert [container["name"] for container in environment["spec"]["initContainers"]] == ["azwi-proxy"]
    variables = {entry["name"] for entry in environment["spec"]["containers"][0]["env"]}
    assert "AZURE_POD_IDENTITY_AUTHORITY_HOST" in variables
